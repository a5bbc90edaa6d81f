//! Objects: put, read, described, deleted and listed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use wharf_actors::storage::s3::client::{Attributes, ErrorKind};
use wharf_s3_testbed::Calls;

use crate::rig::{KEY, attributes, clients, coded, config, failure, pattern, pieces, read, rigs, rigs_with};

#[tokio::test]
async fn an_object_is_read_back_as_it_was_put() {
    for rig in rigs().await {
        let bytes = pattern(300_000, 1);
        let tag = rig.client.put_object(KEY, pieces(&bytes), attributes(), false).await.unwrap();
        let held = rig.bed.objects().remove(KEY).unwrap();
        assert_eq!(held.bytes, bytes, "{}", rig.name);
        assert_eq!(held.content_type.as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(held.metadata, attributes().metadata);
        assert_eq!(tag.bare(), held.e_tag);

        let head = rig.client.head_object(KEY).await.unwrap();
        assert_eq!((head.size, &head.etag), (300_000, &tag));
        assert_eq!(head.attributes, attributes());
        let age = SystemTime::now().duration_since(head.modified).unwrap();
        assert!(age < Duration::from_secs(600), "{age:?}");

        let object = rig.client.get_object(KEY, None).await.unwrap();
        assert_eq!(object.head, head);
        let (read, error) = read(object).await;
        assert!(error.is_none());
        assert_eq!(read, bytes);
    }
}

#[tokio::test]
async fn an_object_may_be_empty_and_carry_nothing() {
    for rig in rigs().await {
        for body in [vec![], vec![Bytes::new()]] {
            rig.client.put_object(KEY, body, Attributes::default(), false).await.unwrap();
            assert_eq!(rig.client.head_object(KEY).await.unwrap().size, 0);
            let object = rig.client.get_object(KEY, None).await.unwrap();
            assert!(object.head.attributes.metadata.is_empty());
            assert_eq!(read(object).await.0, b"");
        }
    }
}

#[tokio::test]
async fn a_taken_key_is_left_alone_when_asked_to() {
    for rig in rigs().await {
        let put = |text: &'static str, only_if_absent| {
            rig.client.put_object(KEY, vec![Bytes::from(text)], Attributes::default(), only_if_absent)
        };
        put("first", true).await.unwrap();
        assert_eq!(failure(put("second", true).await), coded(ErrorKind::Precondition, "PreconditionFailed"));
        assert_eq!(rig.bed.objects()[KEY].bytes, "first");
        put("third", false).await.unwrap();
        assert_eq!(rig.bed.objects()[KEY].bytes, "third");
    }
}

#[tokio::test]
async fn what_is_not_fit_for_a_header_is_not_sent() {
    for rig in rigs().await {
        for (name, value) in
            [("filename", "menü"), ("filename", "a\nb"), ("filename", " a"), ("file name", "a"), ("", "a")]
        {
            let metadata = [(name.to_owned(), value.to_owned())].into();
            let attributes = Attributes { metadata, content_type: None };
            let put = rig.client.put_object(KEY, vec![], attributes.clone(), false).await.unwrap_err();
            assert_eq!(put.kind, ErrorKind::Invalid, "{name:?} {value:?}");
            let created = rig.client.create_multipart(KEY, attributes).await.unwrap_err();
            assert_eq!(created.kind, ErrorKind::Invalid, "{name:?} {value:?}");
            assert!(!created.may_retry() && !created.may_have_been_applied());
        }
        let attributes = Attributes { content_type: Some("text/\u{7f}".to_owned()), ..Attributes::default() };
        assert_eq!(failure(rig.client.put_object(KEY, vec![], attributes, false).await), (ErrorKind::Invalid, None));
        assert_eq!(rig.bed.calls(), Calls::default());
    }
}

#[tokio::test]
async fn ranges_are_cut_to_the_object_or_refused() {
    for rig in rigs().await {
        rig.bed.put_object(KEY, "0123456789");
        for (range, bytes) in [((2, 4), "234"), ((7, 9), "789"), ((9, u64::from(u32::MAX)), "9"), ((0, 0), "0")] {
            let object = rig.client.get_object(KEY, Some(range)).await.unwrap();
            assert_eq!(object.head.size, 10, "{range:?}");
            assert_eq!(read(object).await.0, bytes.as_bytes(), "{range:?}");
        }
        let behind = rig.client.get_object(KEY, Some((10, 12))).await;
        assert_eq!(failure(behind), coded(ErrorKind::Invalid, "InvalidRange"));
    }
}

#[tokio::test]
async fn what_is_missing_has_a_name() {
    for rig in rigs().await {
        assert_eq!(failure(rig.client.get_object(KEY, None).await), coded(ErrorKind::NoSuchKey, "NoSuchKey"));
        let head = rig.client.head_object(KEY).await.unwrap_err();
        assert_eq!(head.kind, ErrorKind::NoSuchKey);
        assert_eq!(head.operation, "HeadObject");
        assert!(!head.may_retry() && !head.may_have_been_applied());
    }
    for rig in rigs_with(Default::default, |config| config.bucket = "another".to_owned()).await {
        let missing = coded(ErrorKind::NoSuchBucket, "NoSuchBucket");
        assert_eq!(failure(rig.client.get_object(KEY, None).await), missing);
        assert_eq!(failure(rig.client.put_object(KEY, vec![], Attributes::default(), false).await), missing);
        assert_eq!(failure(rig.client.list_objects("", None, 1).await), missing);
        assert_eq!(failure(rig.client.create_multipart(KEY, Attributes::default()).await), missing);
    }
}

#[tokio::test]
async fn wrong_keys_are_denied() {
    for rig in rigs().await {
        let right = config(&rig.bed, rig.bed.endpoint());
        let keys = right.keys.clone().unwrap();
        let mut wrong_secret = right.clone();
        wrong_secret.keys.as_mut().unwrap().secret = "wrong".to_owned();
        let mut wrong_id = right.clone();
        wrong_id.keys.as_mut().unwrap().id = "wrong".to_owned();
        assert!(!format!("{right:?}").contains(&keys.secret), "a secret would be logged");
        for (config, code) in [(wrong_secret, "SignatureDoesNotMatch"), (wrong_id, "InvalidAccessKeyId")] {
            for (_, client) in clients(&config).await {
                assert_eq!(failure(client.get_object(KEY, None).await), coded(ErrorKind::Denied, code));
                // An answer to HEAD has no body to read a code from.
                assert_eq!(client.head_object(KEY).await.unwrap_err().kind, ErrorKind::Denied);
            }
        }
    }
}

#[tokio::test]
async fn deleted_objects_are_gone_and_missing_ones_no_matter() {
    for rig in rigs().await {
        let keys = [KEY, "a&<>\"'", "b/.info", "kept"];
        keys.iter().for_each(|key| rig.bed.put_object(key, "x"));
        let doomed = [KEY, "never there", "a&<>\"'", "b/.info"].map(str::to_owned);
        rig.client.delete_objects(doomed.to_vec()).await.unwrap();
        assert_eq!(rig.bed.objects().into_keys().collect::<Vec<_>>(), ["kept"]);
        rig.client.delete_objects(doomed.to_vec()).await.unwrap();
        assert_eq!(rig.bed.calls().count("DeleteObjects"), 2);
        rig.client.delete_objects(vec![]).await.unwrap();
        assert_eq!(rig.bed.calls().count("DeleteObjects"), 2);
        rig.client.delete_objects((0..1000).map(|number| format!("k{number}")).collect()).await.unwrap();
        let too_many = rig.client.delete_objects((0..1001).map(|number| format!("k{number}")).collect()).await;
        assert_eq!(too_many.unwrap_err().kind, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn objects_are_listed_in_pages_by_their_keys() {
    for rig in rigs().await {
        let keys = ["p/ %41", "p/&<>", "p/a b+c", "p/z\u{1}", "p/ä"];
        keys.iter().enumerate().for_each(|(size, key)| rig.bed.put_object(key, vec![0; size]));
        ["o", "q/a"].iter().for_each(|key| rig.bed.put_object(key, ""));
        let mut listed = Vec::new();
        let mut pages = 0;
        let mut after = None;
        loop {
            let page = rig.client.list_objects("p/", after, 2).await.unwrap();
            assert!(page.entries.len() <= 2);
            listed.extend(page.entries.into_iter().map(|entry| (entry.key, entry.size)));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<_> = (0..).zip(keys).map(|(size, key)| (key.to_owned(), size)).collect();
        assert_eq!(listed, expected);
        assert_eq!(pages, 3);
        let behind = rig.client.list_objects("p/", Some("p/b".to_owned()), 1000).await.unwrap();
        assert_eq!(behind.entries.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["p/z\u{1}", "p/ä"]);
        assert_eq!(behind.next, None);
        let nothing = rig.client.list_objects("nothing", None, 10).await.unwrap();
        assert_eq!((nothing.entries.len(), nothing.next), (0, None));
    }
}
