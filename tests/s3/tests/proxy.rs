//! Each fault of the proxy, as a client and as the server behind it see it.

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use support::{KEY, MIB, Multipart, config, parts, pattern, refusal, unanswered, until};
use wharf_s3_testbed::{Bed, Fault, Kind, Operation, Proxy};

/// A bed, a proxy before it and a client of the proxy.
fn rig() -> (Bed, Proxy, Client) {
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    let client = Client::from_conf(config(&bed, &proxy.endpoint()).build());
    (bed, proxy, client)
}

fn put(client: &Client, bed: &Bed) -> aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder {
    client.put_object().bucket(bed.bucket()).key(KEY).body(ByteStream::from_static(b"hello, proxy"))
}

fn get(client: &Client, bed: &Bed) -> aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder {
    client.get_object().bucket(bed.bucket()).key(KEY)
}

#[tokio::test]
async fn without_faults_everything_passes_unchanged() {
    let (bed, proxy, client) = rig();
    let upload = Multipart::create(&client, &bed).await;
    let tag = upload.put(1, pattern(6 * MIB, 1)).await;
    assert_eq!(upload.listed().await, [1]);
    upload.complete(parts([(1, &*tag)])).send().await.unwrap();
    let read = get(&client, &bed).range("bytes=1-5000000").send().await.unwrap();
    assert_eq!(read.body.collect().await.unwrap().into_bytes(), pattern(6 * MIB, 1)[1..=5_000_000]);
    client.head_object().bucket(bed.bucket()).key(KEY).send().await.unwrap();
    client.delete_object().bucket(bed.bucket()).key(KEY).send().await.unwrap();
    let counts = proxy.counts();
    assert_eq!(counts.requests(Operation::UploadPart), 1);
    assert_eq!(counts.requests.values().sum::<u64>(), 7);
    assert_eq!(counts.faulty(), 0);
    proxy.clear();
    assert_eq!(proxy.counts().requests(Operation::UploadPart), 0);
}

#[tokio::test]
async fn an_answer_of_its_own_reaches_the_client_and_nothing_the_server() {
    let (bed, proxy, client) = rig();
    let cases = [
        (Kind::SLOW_DOWN, "SlowDown", 503),
        (Kind::UNAVAILABLE, "ServiceUnavailable", 503),
        (Kind::INTERNAL_ERROR, "InternalError", 500),
    ];
    for (kind, code, status) in cases {
        proxy.script(vec![Fault::new(Operation::PutObject, kind)]);
        assert_eq!(refusal(put(&client, &bed).send().await), (code.to_owned(), status));
        assert_eq!(proxy.counts().faults[&(Operation::PutObject, code)], 1);
    }
    assert_eq!(bed.calls().count("PutObject"), 0);
    put(&client, &bed).send().await.unwrap();
}

#[tokio::test]
async fn a_large_body_is_taken_before_its_refusal() {
    let (bed, proxy, client) = rig();
    let upload = Multipart::create(&client, &bed).await;
    proxy.script(vec![Fault::new(Operation::UploadPart, Kind::SLOW_DOWN).times(3)]);
    for _ in 0..3 {
        let outcome = upload.part(1, pattern(8 * MIB, 1)).send().await;
        assert_eq!(refusal(outcome), ("SlowDown".to_owned(), 503));
    }
    upload.put(1, vec![1]).await;
    assert_eq!(bed.calls().count("UploadPart"), 1);
}

#[tokio::test]
async fn a_reset_before_leaves_the_server_untouched() {
    let (bed, proxy, client) = rig();
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::ResetBefore)]);
    assert!(unanswered(&put(&client, &bed).send().await));
    assert_eq!(bed.calls().count("PutObject"), 0);
    put(&client, &bed).send().await.unwrap();
    assert_eq!(bed.calls().count("PutObject"), 1);
}

#[test]
fn a_reset_is_one_and_not_a_close() {
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    for kind in [Kind::ResetBefore, Kind::ResetAfter] {
        proxy.script(vec![Fault::any(kind)]);
        let mut stream = TcpStream::connect(proxy.endpoint().trim_start_matches("http://")).unwrap();
        write!(stream, "GET /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_reset_after_loses_the_answer_of_an_applied_request() {
    let (bed, proxy, client) = rig();
    proxy.script(vec![
        Fault::new(Operation::PutObject, Kind::ResetAfter),
        Fault::new(Operation::CompleteMultipartUpload, Kind::ResetAfter),
    ]);
    assert!(unanswered(&put(&client, &bed).send().await));
    assert_eq!(bed.objects()[KEY].bytes, "hello, proxy");
    let upload = Multipart::create(&client, &bed).await;
    let tag = upload.put(1, vec![1]).await;
    assert!(unanswered(&upload.complete(parts([(1, &*tag)])).send().await));
    assert_eq!(bed.objects()[KEY].bytes, vec![1]);
    assert_eq!(refusal(upload.list().send().await), ("NoSuchUpload".to_owned(), 404));
}

#[tokio::test]
async fn a_cut_answer_ends_in_the_middle_of_its_body() {
    let (bed, proxy, client) = rig();
    let body = pattern(300_000, 4);
    bed.put_object(KEY, body.clone());
    proxy.script(vec![
        Fault::new(Operation::GetObject, Kind::CutAnswer),
        Fault::new(Operation::HeadObject, Kind::CutAnswer),
    ]);
    let mut read = get(&client, &bed).send().await.unwrap();
    assert_eq!(read.content_length(), Some(300_000));
    let mut bytes = Vec::new();
    while let Some(chunk) = read.body.next().await {
        let Ok(chunk) = chunk else { break };
        bytes.extend_from_slice(&chunk);
    }
    assert_eq!(bytes, body[..150_000]);
    assert!(unanswered(&client.head_object().bucket(bed.bucket()).key(KEY).send().await));
}

#[tokio::test]
async fn a_delay_holds_up_the_request_or_its_answer() {
    let (bed, proxy, client) = rig();
    let hour = Duration::from_secs(3600);
    let met = |kind| proxy.counts().faults.get(&(Operation::PutObject, kind)).copied() == Some(1);
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::Delay(hour))]);
    let delayed = tokio::spawn(put(&client, &bed).key("delayed").send());
    until("the request is delayed", async || met("Delay")).await;
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::DelayAnswer(hour))]);
    let unanswered = tokio::spawn(put(&client, &bed).key("unanswered").send());
    until("the request is applied", async || bed.objects().contains_key("unanswered")).await;
    assert!(met("DelayAnswer") && !unanswered.is_finished() && !delayed.is_finished());
    assert_eq!(bed.objects().len(), 1);
    [delayed, unanswered].iter().for_each(tokio::task::JoinHandle::abort);
    let brief = Duration::from_millis(1);
    for kind in [Kind::Delay(brief), Kind::DelayAnswer(brief)] {
        proxy.script(vec![Fault::new(Operation::PutObject, kind)]);
        put(&client, &bed).send().await.unwrap();
    }
    assert_eq!(bed.objects()[KEY].bytes, "hello, proxy");
}

#[tokio::test]
async fn a_truncated_request_is_not_applied() {
    let (bed, proxy, client) = rig();
    let upload = Multipart::create(&client, &bed).await;
    proxy.script(vec![
        Fault::new(Operation::UploadPart, Kind::TruncateRequest),
        Fault::new(Operation::PutObject, Kind::TruncateRequest),
    ]);
    assert!(unanswered(&upload.part(1, pattern(6 * MIB, 1)).send().await));
    assert!(unanswered(&put(&client, &bed).send().await));
    assert_eq!(bed.multipart_uploads()[0].parts.len(), 0);
    assert!(bed.objects().is_empty());
    let received = || bed.calls().received.get("UploadPart").copied().unwrap_or(0);
    until("the server sees the broken request end", async || received() > 0).await;
    assert!(received() <= 3 * MIB as u64, "{}", received());
    assert_eq!(bed.calls().count("UploadPart"), 1);
}

#[tokio::test]
async fn an_error_in_a_200_comes_of_applied_and_of_unapplied_requests() {
    let (bed, proxy, client) = rig();
    let upload = Multipart::create(&client, &bed).await;
    let tag = upload.put(1, vec![1]).await;
    let fault = |applied| Fault::new(Operation::CompleteMultipartUpload, Kind::ErrorInOk { applied });
    proxy.script(vec![fault(false), fault(true)]);
    let error = ("InternalError".to_owned(), 200);
    assert_eq!(refusal(upload.complete(parts([(1, &*tag)])).send().await), error);
    assert!(bed.objects().is_empty());
    assert_eq!(upload.listed().await, [1]);
    assert_eq!(refusal(upload.complete(parts([(1, &*tag)])).send().await), error);
    assert_eq!(bed.objects()[KEY].bytes, vec![1]);
    assert!(bed.multipart_uploads().is_empty());
}

#[tokio::test]
async fn parts_may_be_hidden_from_a_list() {
    let (bed, proxy, client) = rig();
    let upload = Multipart::create(&client, &bed).await;
    for number in 1..=3 {
        upload.put(number, vec![1]).await;
    }
    let fault = |all| Fault::new(Operation::ListParts, Kind::HideParts { all });
    proxy.script(vec![fault(false), fault(true)]);
    assert_eq!(upload.listed().await, [1, 2]);
    assert_eq!(upload.listed().await, [0; 0]);
    assert_eq!(upload.listed().await, [1, 2, 3]);
}

#[tokio::test]
async fn faults_find_the_part_and_the_key_that_they_are_for() {
    let (bed, proxy, client) = rig();
    let upload = Multipart::create(&client, &bed).await;
    proxy.script(vec![
        Fault::new(Operation::UploadPart, Kind::INTERNAL_ERROR).part(2),
        Fault::new(Operation::PutObject, Kind::INTERNAL_ERROR).key_suffix(".part"),
    ]);
    upload.put(1, vec![1]).await;
    assert_eq!(refusal(upload.part(2, vec![2]).send().await).1, 500);
    upload.put(3, vec![3]).await;
    assert_eq!(upload.listed().await, [1, 3]);
    put(&client, &bed).key("a.info").send().await.unwrap();
    assert_eq!(refusal(put(&client, &bed).key("a.part").send().await).1, 500);
    put(&client, &bed).key("a.part").send().await.unwrap();
}

#[tokio::test]
async fn held_requests_wait_for_their_release() {
    let (bed, proxy, client) = rig();
    proxy.script(vec![Fault::new(Operation::PutObject, Kind::Hold)]);
    let held = tokio::spawn(put(&client, &bed).send());
    until("the request is held", async || proxy.held() == 1).await;
    assert!(bed.objects().is_empty());
    proxy.release();
    held.await.unwrap().unwrap();
    assert_eq!(bed.objects()[KEY].bytes, "hello, proxy");
    assert_eq!(proxy.held(), 0);
}

#[tokio::test]
async fn retries_get_through_random_faults_until_they_are_calmed() {
    let (bed, proxy, _) = rig();
    let retries = RetryConfig::standard().with_max_attempts(20).with_initial_backoff(Duration::from_millis(1));
    let client = Client::from_conf(config(&bed, &proxy.endpoint()).retry_config(retries).build());
    proxy.random(42, 0.4);
    for index in 0..40 {
        let request = client.put_object().bucket(bed.bucket()).key(format!("k{index}"));
        request.body(pattern(50_000, index).into()).send().await.unwrap();
    }
    assert!(proxy.counts().faulty() > 10, "{:?}", proxy.counts());
    for index in 0..40 {
        assert_eq!(bed.objects()[&format!("k{index}")].bytes, pattern(50_000, index));
    }
    proxy.calm();
    let before = proxy.counts().faulty();
    for _ in 0..20 {
        put(&client, &bed).send().await.unwrap();
    }
    assert_eq!(proxy.counts().faulty(), before);
}
