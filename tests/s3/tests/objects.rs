//! What the bed demands of requests for objects, and of requests at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, Delete, MetadataDirective, ObjectIdentifier};
use support::{KEY, client, config, pattern, refusal};
use wharf_s3_testbed::{Bed, Calls, Options};

fn named(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

#[tokio::test]
async fn an_object_is_read_back_as_it_was_put() {
    let bed = Bed::start();
    let client = client(&bed);
    let body = pattern(100_000, 1);
    let put = client.put_object().bucket(bed.bucket()).key(KEY).body(body.clone().into());
    let put = put.content_type("image/png").metadata("name", "v 1").send().await.unwrap();
    let head = client.head_object().bucket(bed.bucket()).key(KEY).send().await.unwrap();
    assert_eq!(head.content_length(), Some(100_000));
    assert_eq!(head.content_type(), Some("image/png"));
    assert_eq!(head.metadata().unwrap()["name"], "v 1");
    assert_eq!(head.e_tag(), put.e_tag());
    let got = client.get_object().bucket(bed.bucket()).key(KEY).send().await.unwrap();
    assert_eq!(got.content_type(), Some("image/png"));
    assert_eq!(got.metadata().unwrap()["name"], "v 1");
    assert_eq!(got.last_modified(), head.last_modified());
    assert_eq!(got.body.collect().await.unwrap().into_bytes(), body);
    assert_eq!(bed.calls().sent, 100_000);
    bed.clear();
    assert!(bed.objects().is_empty());
    assert_eq!(bed.calls(), Calls::default());
    assert_eq!(refusal(client.get_object().bucket(bed.bucket()).key(KEY).send().await), named("NoSuchKey", 404));
    assert_eq!(refusal(client.head_object().bucket(bed.bucket()).key(KEY).send().await), named("NotFound", 404));
}

#[tokio::test]
async fn ranges_are_cut_to_the_object_or_refused() {
    let bed = Bed::start();
    bed.put_object(KEY, "0123456789");
    let client = client(&bed);
    let get = |range: &'static str| client.get_object().bucket(bed.bucket()).key(KEY).range(range).send();
    let cases = [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=7-99", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
    ];
    for (range, content_range, bytes) in cases {
        let got = get(range).await.unwrap();
        assert_eq!(got.content_range(), Some(content_range));
        assert_eq!(got.content_length(), Some(bytes.len() as i64));
        assert_eq!(got.body.collect().await.unwrap().into_bytes(), bytes);
    }
    assert_eq!(refusal(get("bytes=10-").await), named("InvalidRange", 416));
}

#[tokio::test]
async fn conditions_of_reads_are_kept() {
    let bed = Bed::start();
    bed.put_object(KEY, "x");
    let client = client(&bed);
    let tag = format!("\"{}\"", bed.objects()[KEY].e_tag);
    let now = SystemTime::now();
    let (past, future) = (now - Duration::from_secs(60), now + Duration::from_secs(60));
    let get = || client.get_object().bucket(bed.bucket()).key(KEY);
    let failed = named("PreconditionFailed", 412);
    assert_eq!(refusal(get().if_match("\"other\"").send().await), failed);
    assert_eq!(refusal(get().if_unmodified_since(DateTime::from(past)).send().await), failed);
    assert_eq!(refusal(get().if_none_match(&tag).send().await).1, 304);
    assert_eq!(refusal(get().if_modified_since(DateTime::from(future)).send().await).1, 304);
    get().if_match(&tag).if_unmodified_since(DateTime::from(past)).send().await.unwrap();
    get().if_none_match("\"other\"").if_modified_since(DateTime::from(future)).send().await.unwrap();
    get().if_match(&tag).if_modified_since(DateTime::from(past)).send().await.unwrap();
    get().if_unmodified_since(DateTime::from(future)).send().await.unwrap();
    let head = client.head_object().bucket(bed.bucket()).key(KEY).if_none_match(&tag).send().await;
    assert_eq!(refusal(head).1, 304);
}

#[tokio::test]
async fn a_put_may_demand_that_nothing_is_there() {
    let bed = Bed::start();
    let client = client(&bed);
    let put =
        |bytes: &'static [u8]| client.put_object().bucket(bed.bucket()).key(KEY).body(ByteStream::from_static(bytes));
    put(b"first").if_none_match("*").send().await.unwrap();
    assert_eq!(refusal(put(b"second").if_none_match("*").send().await), named("PreconditionFailed", 412));
    assert_eq!(refusal(put(b"second").if_match("\"other\"").send().await), named("PreconditionFailed", 412));
    assert_eq!(bed.objects()[KEY].bytes, "first");
    put(b"second").if_match(format!("\"{}\"", bed.objects()[KEY].e_tag)).send().await.unwrap();
    assert_eq!(bed.objects()[KEY].bytes, "second");
}

#[tokio::test]
async fn bodies_must_have_the_digests_that_are_stated() {
    let bed = Bed::start();
    let client = client(&bed);
    let put = || client.put_object().bucket(bed.bucket()).key(KEY).body(ByteStream::from_static(b"hello"));
    let bad = named("BadDigest", 400);
    assert_eq!(refusal(put().content_md5("MDEyMzQ1Njc4OWFiY2RlZg==").send().await), bad);
    assert_eq!(refusal(put().content_md5("short").send().await), named("InvalidDigest", 400));
    assert_eq!(refusal(put().checksum_crc32("AAAAAA==").send().await), bad);
    assert_eq!(refusal(put().checksum_sha1("AAAAAAAAAAAAAAAAAAAAAAAAAAA=").send().await), bad);
    assert!(bed.objects().is_empty());
    // MD5, SHA-1 and SHA-256 of "hello", by openssl.
    put().content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap();
    let done = put().checksum_sha1("qvTGHdzF6KLavt4PO0gs2a6pQ00=").send().await.unwrap();
    assert_eq!(done.checksum_sha1(), Some("qvTGHdzF6KLavt4PO0gs2a6pQ00="));
    put().checksum_sha256("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=").send().await.unwrap();
    for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme] {
        put().checksum_algorithm(algorithm).send().await.unwrap();
    }
    assert_eq!(bed.objects()[KEY].bytes, "hello");
}

#[tokio::test]
async fn payloads_may_be_unsigned_or_sent_in_signed_chunks_with_a_trailer() {
    let bed = Bed::start();
    let unsigned = client(&bed);
    let put = unsigned.put_object().bucket(bed.bucket()).key("unsigned").body(ByteStream::from_static(b"hello"));
    put.customize().disable_payload_signing().send().await.unwrap();
    let supported = RequestChecksumCalculation::WhenSupported;
    let streaming = Client::from_conf(config(&bed, &bed.endpoint()).request_checksum_calculation(supported).build());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let body = ByteStream::from_path(file).await.unwrap();
    let done = streaming.put_object().bucket(bed.bucket()).key("streamed").body(body).send().await.unwrap();
    assert_eq!(done.checksum_crc32().map(str::len), Some(8), "the trailer's checksum was computed");
    assert_eq!(bed.objects()["unsigned"].bytes, "hello");
    assert_eq!(bed.objects()["streamed"].bytes, std::fs::read(file).unwrap());
}

#[tokio::test]
async fn metadata_has_two_kibibytes() {
    let bed = Bed::start();
    let client = client(&bed);
    let put = |length: usize| client.put_object().bucket(bed.bucket()).key(KEY).metadata("name", "v".repeat(length));
    put(2044).send().await.unwrap();
    assert_eq!(refusal(put(2045).send().await), named("MetadataTooLarge", 400));
    let create = client.create_multipart_upload().bucket(bed.bucket()).key(KEY).metadata("name", "v".repeat(2045));
    assert_eq!(refusal(create.send().await), named("MetadataTooLarge", 400));
}

#[tokio::test]
async fn deleting_what_is_not_there_is_fine() {
    let bed = Bed::start();
    let client = client(&bed);
    for key in ["a", "b", "c"] {
        bed.put_object(key, "x");
    }
    for _ in 0..2 {
        client.delete_object().bucket(bed.bucket()).key("a").send().await.unwrap();
    }
    let identifiers = ["b", "none"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(identifiers.to_vec())).build().unwrap();
    let done = client.delete_objects().bucket(bed.bucket()).delete(delete).send().await.unwrap();
    assert_eq!(done.deleted().iter().map(|one| one.key().unwrap()).collect::<Vec<_>>(), ["b", "none"]);
    assert_eq!(bed.objects().keys().collect::<Vec<_>>(), ["c"]);
    let many = (0..1001).map(|key| ObjectIdentifier::builder().key(key.to_string()).build().unwrap()).collect();
    let delete = Delete::builder().set_objects(Some(many)).build().unwrap();
    let refused = client.delete_objects().bucket(bed.bucket()).delete(delete).send().await;
    assert_eq!(refusal(refused), named("MalformedXML", 400));
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_metadata() {
    let bed = Bed::start();
    let client = client(&bed);
    let put = client.put_object().bucket(bed.bucket()).key("a b").body(ByteStream::from_static(b"hello"));
    put.metadata("name", "old").content_type("text/plain").send().await.unwrap();
    let copy = |key| client.copy_object().bucket(bed.bucket()).key(key).copy_source(format!("{}/a%20b", bed.bucket()));
    copy("kept").send().await.unwrap();
    copy("replaced").metadata_directive(MetadataDirective::Replace).metadata("name", "new").send().await.unwrap();
    assert_eq!(refusal(copy("a b").send().await), named("InvalidRequest", 400));
    let objects = bed.objects();
    assert_eq!(objects["kept"], objects["a b"]);
    assert_eq!(objects["replaced"].metadata["name"], "new");
    assert_eq!(objects["replaced"].content_type, None);
    assert_eq!(objects["replaced"].bytes, "hello");
}

#[tokio::test]
async fn objects_are_listed_in_pages_with_common_prefixes() {
    let bed = Bed::start();
    let client = client(&bed);
    for key in ["a/1", "a/2", "b", "c/x", "d"] {
        bed.put_object(key, key);
    }
    let (mut token, mut all) = (None, Vec::new());
    loop {
        let request = client.list_objects_v2().bucket(bed.bucket()).delimiter("/").max_keys(2);
        let page = request.set_continuation_token(token).send().await.unwrap();
        assert!(page.key_count().unwrap() <= 2);
        all.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
        all.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        if page.is_truncated() != Some(true) {
            break;
        }
        token = page.next_continuation_token().map(str::to_owned);
    }
    assert_eq!(all, ["a/", "b", "c/", "d"]);
    let after = client.list_objects_v2().bucket(bed.bucket()).prefix("a/").start_after("a/1").send().await.unwrap();
    assert_eq!(after.contents().len(), 1);
    assert_eq!((after.contents()[0].key(), after.contents()[0].size()), (Some("a/2"), Some(3)));
    let stray = client.list_objects_v2().bucket(bed.bucket()).continuation_token("a/1").send().await;
    assert_eq!(refusal(stray), named("InvalidArgument", 400));
}

#[tokio::test]
async fn buckets_are_made_once_and_must_exist() {
    let bed = Bed::start();
    let client = client(&bed);
    client.head_bucket().bucket(bed.bucket()).send().await.unwrap();
    assert_eq!(refusal(client.head_bucket().bucket("other").send().await).1, 404);
    let none = named("NoSuchBucket", 404);
    assert_eq!(refusal(client.put_object().bucket("other").key(KEY).send().await), none);
    assert_eq!(refusal(client.get_object().bucket("other").key(KEY).send().await), none);
    assert_eq!(refusal(client.create_multipart_upload().bucket("other").key(KEY).send().await), none);
    assert_eq!(refusal(client.list_objects_v2().bucket("other").send().await), none);
    assert_eq!(refusal(client.list_multipart_uploads().bucket("other").send().await), none);
    client.create_bucket().bucket("other").send().await.unwrap();
    assert_eq!(refusal(client.create_bucket().bucket("other").send().await), named("BucketAlreadyOwnedByYou", 409));
    client.put_object().bucket("other").key(KEY).send().await.unwrap();
    assert!(bed.objects().is_empty(), "another bucket's objects are its own");
}

#[tokio::test]
async fn only_the_right_keys_and_region_get_in() {
    let bed = Bed::start();
    let keys = |access: &str, secret: &str| Credentials::new(access, secret, None, None, "test");
    let base = || config(&bed, &bed.endpoint());
    let cases = [
        (base().credentials_provider(keys("OTHER", bed.secret_key())), named("InvalidAccessKeyId", 403)),
        (base().credentials_provider(keys(bed.access_key(), "wrong")), named("SignatureDoesNotMatch", 403)),
        (base().region(Region::new("eu-central-1")), named("AuthorizationHeaderMalformed", 400)),
    ];
    for (config, expected) in cases {
        let put = Client::from_conf(config.build()).put_object().bucket(bed.bucket()).key(KEY);
        assert_eq!(refusal(put.body(ByteStream::from_static(b"x")).send().await), expected);
    }
    let answer = raw(&bed, &format!("GET /{}/x HTTP/1.1\r\nHost: 127.0.0.1\r\n", bed.bucket()));
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    assert!(bed.objects().is_empty());
    assert_eq!(bed.calls(), Calls::default());
}

#[tokio::test]
async fn a_bucket_may_be_named_by_the_host() {
    let bed = Bed::start();
    bed.put_object("k", "by host");
    let endpoint = format!("http://localhost:{}", bed.address().port());
    let client = Client::from_conf(config(&bed, &endpoint).force_path_style(false).build());
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let signed = client.get_object().bucket(bed.bucket()).key("k").presigned(expiry).await.unwrap();
    let (host, target) = signed.uri().trim_start_matches("http://").split_once('/').unwrap();
    assert_eq!(host, format!("{}.localhost:{}", bed.bucket(), bed.address().port()));
    let answer = raw(&bed, &format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nby host"), "{answer}");
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_not_the_signed_one_changes_nothing() {
    let bed = Bed::start();
    let client = client(&bed);
    let expiry = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let put = client.put_object().bucket(bed.bucket()).key("k").presigned(expiry).await.unwrap();
    let (host, target) = put.uri().trim_start_matches("http://").split_once('/').unwrap();
    let head = format!("PUT /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    let mut stream = TcpStream::connect(bed.address()).unwrap();
    write!(stream, "{head}Content-Length: 10\r\n\r\n12345").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    // The SHA-256 of nothing.
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let answer = raw(&bed, &format!("{head}x-amz-content-sha256: {digest}\r\nContent-Length: 1\r\n\r\nx"));
    assert!(answer.contains("<Code>XAmzContentSHA256Mismatch</Code>"), "{answer}");
    let answer = raw(&bed, &format!("{head}Content-Length: 5368709121\r\n"));
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("<Code>EntityTooLarge</Code>"), "{answer}");
    assert!(bed.objects().is_empty());
    let answer = raw(&bed, &format!("{head}Content-Length: 2\r\n\r\nok"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(bed.objects()["k"].bytes, "ok");
}

/// Sends a request, closing its head if need be, and reads the whole answer.
fn raw(bed: &Bed, request: &str) -> String {
    let mut stream = TcpStream::connect(bed.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let rest = if request.contains("\r\n\r\n") { "" } else { "Connection: close\r\n\r\n" };
    stream.write_all(format!("{request}{rest}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_bed_takes_the_port_that_it_is_given() {
    let port = Bed::start().address().port();
    let bed = Bed::start_with(Options { port, ..Options::default() }).unwrap();
    assert_eq!(bed.endpoint(), format!("http://127.0.0.1:{port}"));
    assert!(Bed::start_with(Options { port, ..Options::default() }).is_err());
}
