//! What the bed demands of multipart uploads.

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use support::{KEY, MIB, Multipart, client, parts, pattern, refusal, until};
use wharf_s3_testbed::{Bed, Lag, Options, UploadIds};

fn named(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

#[tokio::test]
async fn completed_parts_become_the_object_with_its_metadata_and_type() {
    let bed = Bed::start();
    let client = client(&bed);
    let request = client.create_multipart_upload().bucket(bed.bucket()).key(KEY);
    let created = request.metadata("filename", "men?.txt").content_type("text/plain").send().await.unwrap();
    let upload_id = created.upload_id().unwrap().to_owned();
    let upload = Multipart { client: client.clone(), bucket: bed.bucket().to_owned(), upload_id };
    let (first, second) = (pattern(5 * MIB, 1), pattern(77, 2));
    let second_tag = upload.put(2, second.clone()).await;
    let first_tag = upload.put(1, first.clone()).await;
    let open = bed.multipart_uploads();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].key, KEY);
    assert_eq!(open[0].upload_id, upload.upload_id);
    assert_eq!(open[0].parts[&2].bytes, second);
    assert!(bed.objects().is_empty());

    let done = upload.complete(parts([(1, &*first_tag), (2, &*second_tag)])).send().await.unwrap();
    let object = bed.objects().remove(KEY).unwrap();
    assert_eq!(object.bytes, [first, second].concat());
    assert_eq!(object.content_type.as_deref(), Some("text/plain"));
    assert_eq!(object.metadata["filename"], "men?.txt");
    assert_eq!(done.e_tag(), Some(format!("\"{}\"", object.e_tag).as_str()));
    assert!(object.e_tag.ends_with("-2"), "{}", object.e_tag);
    assert!(bed.multipart_uploads().is_empty());
    assert_eq!(bed.calls().count("UploadPart"), 2);
    assert_eq!(bed.calls().received["UploadPart"], 5 * MIB as u64 + 77);
}

#[tokio::test]
async fn the_e_tag_of_an_upload_is_the_digest_of_its_parts_digests() {
    let bed = Bed::start();
    bed.minimum_part_size(1);
    let upload = Multipart::create(&client(&bed), &bed).await;
    // MD5("a") and MD5("b"); the digest of both digests in a row was computed with md5sum.
    assert_eq!(upload.put(1, b"a".to_vec()).await, "\"0cc175b9c0f1b6a831c399e269772661\"");
    assert_eq!(upload.put(2, b"b".to_vec()).await, "\"92eb5ffee6ae2fec3ad71c777531578f\"");
    let tags = [(1, "0cc175b9c0f1b6a831c399e269772661"), (2, "92eb5ffee6ae2fec3ad71c777531578f")];
    let done = upload.complete(parts(tags)).send().await.unwrap();
    assert_eq!(done.e_tag(), Some("\"96e024ba2074fe77e8e965ba43a704be-2\""));
}

#[tokio::test]
async fn a_finished_or_aborted_upload_is_no_upload() {
    let bed = Bed::start();
    let client = client(&bed);
    let gone = named("NoSuchUpload", 404);
    let finished = Multipart::create(&client, &bed).await;
    let tag = finished.put(1, vec![1]).await;
    finished.complete(parts([(1, &*tag)])).send().await.unwrap();
    let aborted = Multipart::create(&client, &bed).await;
    aborted.put(1, vec![1]).await;
    aborted.abort().send().await.unwrap();
    let removed = Multipart::create(&client, &bed).await;
    assert!(bed.abort_upload(&removed.upload_id));
    for upload in [finished, aborted, removed] {
        assert_eq!(refusal(upload.part(2, vec![2]).send().await), gone);
        assert_eq!(refusal(upload.list().send().await), gone);
        assert_eq!(refusal(upload.complete(parts([(1, &*tag)])).send().await), gone);
        assert_eq!(refusal(upload.abort().send().await), gone);
    }
    assert_eq!(bed.objects()[KEY].bytes, vec![1]);
    assert!(bed.multipart_uploads().is_empty());
}

#[tokio::test]
async fn an_upload_id_belongs_to_its_key() {
    let bed = Bed::start();
    let client = client(&bed);
    let upload = Multipart::create(&client, &bed).await;
    let other = client.list_parts().bucket(bed.bucket()).key("other").upload_id(&upload.upload_id);
    assert_eq!(refusal(other.send().await), named("NoSuchUpload", 404));
}

#[tokio::test]
async fn completing_wants_parts_in_order_that_exist_and_are_unchanged() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    let first = upload.put(1, pattern(5 * MIB, 1)).await;
    let stale = upload.put(2, vec![1]).await;
    let second = upload.put(2, vec![2]).await;
    let cases = [
        (vec![], "MalformedXML"),
        (vec![(2, &*second), (1, &*first)], "InvalidPartOrder"),
        (vec![(1, &*first), (1, &*first)], "InvalidPartOrder"),
        (vec![(1, &*first), (2, &*stale)], "InvalidPart"),
        (vec![(1, &*first), (3, &*second)], "InvalidPart"),
    ];
    for (list, code) in cases {
        assert_eq!(refusal(upload.complete(parts(list)).send().await), named(code, 400));
    }
    assert_eq!(upload.listed().await, [1, 2], "a refusal ends nothing");
    upload.complete(parts([(1, &*first), (2, &*second)])).send().await.unwrap();
    assert_eq!(bed.objects()[KEY].bytes, [pattern(5 * MIB, 1), vec![2]].concat());
}

#[tokio::test]
async fn all_parts_but_the_last_have_five_mebibytes() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    let small = upload.put(1, pattern(5 * MIB - 1, 1)).await;
    let last = upload.put(2, vec![]).await;
    let outcome = upload.complete(parts([(1, &*small), (2, &*last)])).send().await;
    assert_eq!(refusal(outcome), named("EntityTooSmall", 400));
    // Parts that aren't named are dropped, so that the small one is the last.
    upload.complete(parts([(1, &*small)])).send().await.unwrap();
    assert_eq!(bed.objects()[KEY].size, 5 * MIB as u64 - 1);
}

#[tokio::test]
async fn part_numbers_go_from_one_to_ten_thousand() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    for number in [0, 10_001] {
        assert_eq!(refusal(upload.part(number, vec![1]).send().await), named("InvalidArgument", 400));
    }
    for number in [10_000, 1] {
        upload.put(number, vec![1]).await;
    }
    assert_eq!(upload.listed().await, [1, 10_000]);
}

#[tokio::test]
async fn completing_may_demand_that_nothing_is_there() {
    let bed = Bed::start();
    bed.put_object(KEY, "old");
    let upload = Multipart::create(&client(&bed), &bed).await;
    let tag = upload.put(1, vec![1]).await;
    let outcome = upload.complete(parts([(1, &*tag)])).if_none_match("*").send().await;
    assert_eq!(refusal(outcome), named("PreconditionFailed", 412));
    assert_eq!(bed.objects()[KEY].bytes, "old");
    assert_eq!(bed.multipart_uploads().len(), 1);
}

#[tokio::test]
async fn completing_may_state_the_size() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    let tag = upload.put(1, vec![1, 2]).await;
    let wrong = upload.complete(parts([(1, &*tag)])).mpu_object_size(3).send().await;
    assert_eq!(refusal(wrong), named("InvalidRequest", 400));
    upload.complete(parts([(1, &*tag)])).mpu_object_size(2).send().await.unwrap();
}

#[tokio::test]
async fn a_delayed_completion_hides_its_error_behind_a_200() {
    let bed = Bed::start();
    bed.delay_complete(Some(Duration::from_millis(20)));
    let upload = Multipart::create(&client(&bed), &bed).await;
    let tag = upload.put(1, vec![1]).await;
    assert_eq!(refusal(upload.complete(parts([(1, "0")])).send().await), named("InvalidPart", 200));
    let done = upload.complete(parts([(1, &*tag)])).send().await.unwrap();
    assert_eq!(done.e_tag(), Some(format!("\"{}\"", bed.objects()[KEY].e_tag).as_str()));
}

#[tokio::test]
async fn parts_are_listed_in_pages_by_number_with_size_and_tag() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    for number in [5, 3, 11, 1, 4] {
        upload.put(number, vec![0; number as usize]).await;
    }
    let (mut marker, mut all, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = upload.list().max_parts(2).set_part_number_marker(marker).send().await.unwrap();
        all.extend(page.parts().iter().map(|part| (part.part_number().unwrap(), part.size().unwrap())));
        pages += 1;
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_part_number_marker().map(str::to_owned);
    }
    assert_eq!(all, [(1, 1), (3, 3), (4, 4), (5, 5), (11, 11)]);
    assert_eq!(pages, 3);
    let stored = bed.multipart_uploads().remove(0);
    let listed = upload.list().send().await.unwrap();
    assert_eq!(listed.parts()[0].e_tag(), Some(format!("\"{}\"", stored.parts[&1].e_tag).as_str()));
}

#[tokio::test]
async fn a_lag_hides_new_parts_from_the_list_only() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    upload.put(1, vec![1]).await;
    bed.lag_list_parts(Lag::Calls(2));
    let tag = upload.put(2, vec![2]).await;
    assert_eq!(upload.listed().await, [0; 0]);
    assert_eq!(upload.listed().await, [0; 0]);
    assert_eq!(upload.listed().await, [1, 2]);
    upload.put(3, vec![3]).await;
    assert_eq!(upload.listed().await, [1, 2]);
    bed.lag_list_parts(Lag::Time(Duration::from_secs(3600)));
    assert_eq!(upload.listed().await, [0; 0]);
    bed.lag_list_parts(Lag::Time(Duration::from_millis(1)));
    until("old parts are listed", async || upload.listed().await == [1, 2, 3]).await;
    bed.lag_list_parts(Lag::None);
    assert_eq!(upload.listed().await, [1, 2, 3]);
    upload.complete(parts([(2, &*tag)])).send().await.unwrap();
}

#[tokio::test]
async fn copied_parts_obey_the_rules_of_their_source() {
    let bed = Bed::start();
    let source = pattern(6 * MIB, 3);
    bed.put_object("a b/ü", source.clone());
    bed.put_object("small", vec![7; 5 * MIB]);
    let upload = Multipart::create(&client(&bed), &bed).await;
    let copy = |number, key: &str, range: Option<&str>| {
        let request = upload.client.upload_part_copy().bucket(bed.bucket()).key(KEY).upload_id(&upload.upload_id);
        let request = request.part_number(number).copy_source(format!("{}/{key}", bed.bucket()));
        request.set_copy_source_range(range.map(str::to_owned)).send()
    };
    let whole = copy(1, "a%20b/%C3%BC", None).await.unwrap();
    let ranged = copy(2, "a%20b/%C3%BC", Some("bytes=1-9")).await.unwrap();
    for range in ["bytes=0-", "bytes=-5", "0-5", "bytes=9-1", "bytes=0-6291456"] {
        assert_eq!(refusal(copy(3, "a%20b/%C3%BC", Some(range)).await), named("InvalidArgument", 400), "{range}");
    }
    assert_eq!(refusal(copy(3, "small", Some("bytes=0-1")).await), named("InvalidRequest", 400));
    assert_eq!(refusal(copy(3, "none", None).await), named("NoSuchKey", 404));
    let tag = |copied: &aws_sdk_s3::operation::upload_part_copy::UploadPartCopyOutput| {
        copied.copy_part_result().unwrap().e_tag().unwrap().to_owned()
    };
    upload.complete(parts([(1, &*tag(&whole)), (2, &*tag(&ranged))])).send().await.unwrap();
    assert_eq!(bed.objects()[KEY].bytes, [&source[..], &source[1..10]].concat());
}

#[tokio::test]
async fn uploads_are_listed_in_pages_by_key_and_age() {
    let bed = Bed::start();
    let client = client(&bed);
    let mut made = Vec::new();
    for key in ["p/b", "p/a", "p/b", "q", "p/a", "p/b"] {
        let created = client.create_multipart_upload().bucket(bed.bucket()).key(key).send().await.unwrap();
        made.push((key.to_owned(), created.upload_id().unwrap().to_owned()));
    }
    // A stable sort: equal keys stay in the order in which they were begun.
    made.sort_by(|(one, _), (other, _)| one.cmp(other));
    for limit in 1..7 {
        let (mut key_marker, mut id_marker, mut all) = (None, None, Vec::new());
        loop {
            let request = client.list_multipart_uploads().bucket(bed.bucket()).prefix("p/").max_uploads(limit);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = request.send().await.unwrap();
            assert!(page.uploads().len() <= limit as usize && all.len() < made.len(), "the pages end");
            let entries = page.uploads().iter();
            all.extend(
                entries.map(|upload| (upload.key().unwrap().to_owned(), upload.upload_id().unwrap().to_owned())),
            );
            if page.is_truncated() != Some(true) {
                break;
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            id_marker = page.next_upload_id_marker().map(str::to_owned);
        }
        assert_eq!(all, made[..5], "{limit}");
    }
    let behind = client.list_multipart_uploads().bucket(bed.bucket()).key_marker("p/a").send().await.unwrap();
    assert_eq!(behind.uploads().len(), 4, "a key marker alone passes over all uploads of its key");
}

#[tokio::test]
async fn parts_that_are_under_way_together_are_counted() {
    let bed = Bed::start();
    let upload = Multipart::create(&client(&bed), &bed).await;
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let mut streams = Vec::new();
    for number in 1..=3 {
        let signed = upload.part(number, Vec::new()).presigned(expiry.clone()).await.unwrap();
        let (host, target) = signed.uri().trim_start_matches("http://").split_once('/').unwrap();
        let mut stream = TcpStream::connect(bed.address()).unwrap();
        write!(stream, "PUT /{target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\nx").unwrap();
        streams.push(stream);
    }
    until("three parts are under way", async || bed.calls().peak_parts == 3).await;
    assert!(bed.multipart_uploads()[0].parts.is_empty());
    // The first two break off; the third is sent to its end.
    let mut last = streams.pop().unwrap();
    drop(streams);
    last.write_all(b"y").unwrap();
    until("the third part is stored", async || bed.multipart_uploads()[0].parts.len() == 1).await;
    assert_eq!(bed.multipart_uploads()[0].parts[&3].bytes, "xy");
}

#[tokio::test]
async fn upload_ids_may_hold_reserved_characters() {
    let bed = Bed::start_with(Options { upload_ids: UploadIds::Reserved, ..Options::default() }).unwrap();
    let upload = Multipart::create(&client(&bed), &bed).await;
    assert!(["+", "/", "="].iter().all(|mark| upload.upload_id.contains(mark)), "{}", upload.upload_id);
    let tag = upload.put(1, vec![1]).await;
    upload.complete(parts([(1, &*tag)])).send().await.unwrap();
    assert_eq!(bed.objects()[KEY].bytes, vec![1]);
}

#[tokio::test]
async fn a_sink_keeps_lengths_and_rules_but_no_bytes_of_parts() {
    let bed = Bed::start_with(Options { sink: true, ..Options::default() }).unwrap();
    let client = client(&bed);
    let upload = Multipart::create(&client, &bed).await;
    let first = upload.put(1, pattern(5 * MIB, 1)).await;
    let second = upload.put(2, vec![1, 2, 3]).await;
    assert_ne!(first, second);
    assert_eq!(bed.multipart_uploads()[0].parts[&1].bytes.len(), 0);
    let wrong = upload.complete(parts([(1, &*second), (2, &*first)])).send().await;
    assert_eq!(refusal(wrong), named("InvalidPart", 400));
    upload.complete(parts([(1, &*first), (2, &*second)])).send().await.unwrap();
    assert_eq!(bed.objects()[KEY].size, 5 * MIB as u64 + 3);
    let read = client.get_object().bucket(bed.bucket()).key(KEY).send().await.unwrap();
    assert_eq!(read.body.collect().await.unwrap().into_bytes(), vec![0; 5 * MIB + 3]);
    client.put_object().bucket(bed.bucket()).key("info").body(b"{}".to_vec().into()).send().await.unwrap();
    assert_eq!(bed.objects()["info"].bytes, "{}");
}
