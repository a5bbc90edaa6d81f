//! Multipart uploads from their beginning to either end.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use wharf_actors::storage::s3::client::{Attributes, ETag, ErrorKind, ListedPart};
use wharf_s3_testbed::{Options, UploadIds};

use crate::rig::{KEY, MIB, Rig, attributes, coded, failure, pattern, pieces, rigs, rigs_with};

async fn create(rig: &Rig, key: &str) -> String {
    rig.client.create_multipart(key, Attributes::default()).await.unwrap()
}

async fn put(rig: &Rig, id: &str, number: u16, bytes: &Bytes) -> ETag {
    rig.client.upload_part(KEY, id, number, pieces(bytes)).await.unwrap()
}

#[tokio::test]
async fn completed_parts_become_the_object() {
    let reserved = || Options { upload_ids: UploadIds::Reserved, ..Options::default() };
    for rig in rigs_with(reserved, |_| {}).await {
        let source = pattern(6 * MIB, 1);
        rig.bed.put_object("the source/ä+", source.clone());
        let (first, last) = (pattern(5 * MIB, 2), pattern(77, 3));
        let id = rig.client.create_multipart(KEY, attributes()).await.unwrap();
        let last_tag = put(&rig, &id, 7, &last).await;
        let first_tag = put(&rig, &id, 1, &first).await;
        let range = (100, 100 + 5 * MIB as u64 - 1);
        let copied_tag = rig.client.copy_part(KEY, &id, 2, "the source/ä+", range).await.unwrap();

        let listed = |number, size, etag: &ETag| ListedPart { number, size, etag: etag.clone() };
        let page = rig.client.list_parts(KEY, &id, None).await.unwrap();
        let all =
            [listed(1, 5 * MIB as u64, &first_tag), listed(2, 5 * MIB as u64, &copied_tag), listed(7, 77, &last_tag)];
        assert_eq!(page.entries, all, "{}", rig.name);
        assert_eq!(page.next, None);
        assert_eq!(rig.client.list_parts(KEY, &id, Some(1)).await.unwrap().entries, all[1..]);

        let parts = [(1, first_tag), (2, copied_tag), (7, last_tag)];
        let tag = rig.client.complete(KEY, &id, &parts).await.unwrap();
        let object = rig.bed.objects().remove(KEY).unwrap();
        let copied = source.slice(100..100 + 5 * MIB);
        assert_eq!(object.bytes, [first, copied, last].concat());
        assert_eq!(object.e_tag, tag.bare());
        assert_eq!(object.metadata, attributes().metadata);
        assert_eq!(object.content_type, attributes().content_type);
        assert!(rig.bed.multipart_uploads().is_empty());
    }
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    for rig in rigs().await {
        let id = create(&rig, KEY).await;
        for number in 1..=1001 {
            rig.client.upload_part(KEY, &id, number, vec![Bytes::from_static(b"x")]).await.unwrap();
        }
        let first = rig.client.list_parts(KEY, &id, None).await.unwrap();
        assert_eq!((first.entries.len(), first.next), (1000, Some(1000)));
        let second = rig.client.list_parts(KEY, &id, first.next).await.unwrap();
        assert_eq!(second.entries.iter().map(|part| part.number).collect::<Vec<_>>(), [1001]);
        assert_eq!(second.next, None);
    }
}

#[tokio::test]
async fn an_upload_that_has_ended_is_no_upload() {
    for rig in rigs().await {
        let gone = coded(ErrorKind::NoSuchUpload, "NoSuchUpload");
        let x = Bytes::from_static(b"x");
        let completed = create(&rig, KEY).await;
        let tag = put(&rig, &completed, 1, &x).await;
        let parts = [(1, tag)];
        rig.client.complete(KEY, &completed, &parts).await.unwrap();
        let aborted = create(&rig, KEY).await;
        put(&rig, &aborted, 1, &x).await;
        rig.client.abort(KEY, &aborted).await.unwrap();
        let expired = create(&rig, KEY).await;
        assert!(rig.bed.abort_upload(&expired));
        for id in [completed, aborted, expired] {
            assert_eq!(failure(rig.client.upload_part(KEY, &id, 1, vec![x.clone()]).await), gone);
            assert_eq!(failure(rig.client.copy_part(KEY, &id, 1, KEY, (0, 0)).await), gone);
            assert_eq!(failure(rig.client.list_parts(KEY, &id, None).await), gone);
            assert_eq!(failure(rig.client.complete(KEY, &id, &parts).await), gone);
            assert_eq!(failure(rig.client.abort(KEY, &id).await), gone);
        }
        assert_eq!(rig.bed.objects()[KEY].bytes, "x");
    }
}

/// Also when S3 says 200 first, and so when it is done.
#[tokio::test]
async fn parts_that_do_not_fit_are_refused_for_good() {
    for rig in rigs().await {
        for delay in [None, Some(Duration::from_millis(20))] {
            rig.bed.delay_complete(delay);
            let id = create(&rig, KEY).await;
            let first = put(&rig, &id, 1, &pattern(100, 1)).await;
            let second = put(&rig, &id, 2, &pattern(100, 2)).await;
            let complete = |parts: Vec<(u16, &ETag)>| {
                let parts: Vec<_> = parts.into_iter().map(|(number, tag)| (number, tag.clone())).collect();
                rig.client.complete(KEY, &id, &parts)
            };
            let invalid = |code| coded(ErrorKind::Invalid, code);
            let small = complete(vec![(1, &first), (2, &second)]).await.unwrap_err();
            assert!(!small.may_retry() && !small.may_have_been_applied());
            assert_eq!((small.kind, small.code), invalid("EntityTooSmall"), "{delay:?}");
            assert_eq!(failure(complete(vec![(1, &second)]).await), invalid("InvalidPart"), "{delay:?}");
            assert_eq!(failure(complete(vec![(2, &second), (1, &first)]).await), invalid("InvalidPartOrder"));
            complete(vec![(2, &second)]).await.unwrap();
            assert_eq!(rig.bed.objects()[KEY].bytes, pattern(100, 2));
        }
    }
}

#[tokio::test]
async fn a_copy_without_a_source_is_refused() {
    for rig in rigs().await {
        let id = create(&rig, KEY).await;
        let copied = rig.client.copy_part(KEY, &id, 1, "nothing", (0, 9)).await;
        assert_eq!(failure(copied), coded(ErrorKind::NoSuchKey, "NoSuchKey"));
        rig.bed.put_object("small", "0123");
        assert_eq!(rig.client.copy_part(KEY, &id, 1, "small", (2, 9)).await.unwrap_err().kind, ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn uploads_under_way_are_listed_in_pages() {
    for rig in rigs().await {
        let mut expected = Vec::new();
        for number in 0..1001 {
            let key = format!("p/&+ {}", number / 2);
            let id = create(&rig, &key).await;
            expected.push((key, id));
        }
        create(&rig, "q").await;
        expected.sort();
        let first = rig.client.list_multiparts("p/", None).await.unwrap();
        assert_eq!(first.entries.len(), 1000);
        assert!(first.next.is_some());
        let second = rig.client.list_multiparts("p/", first.next).await.unwrap();
        assert_eq!(second.next, None);
        let mut listed: Vec<_> =
            first.entries.into_iter().chain(second.entries).map(|entry| (entry.key, entry.id)).collect();
        listed.sort();
        assert_eq!(listed, expected);
    }
}
