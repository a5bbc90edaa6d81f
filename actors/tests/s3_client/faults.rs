//! What a client makes of answers that fail, lie, break off or don't come. It tries nothing twice.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::TcpListener, time::Duration};

use bytes::Bytes;
use wharf_actors::storage::s3::client::{Attributes, ClientError, Config, ETag, ErrorKind};
use wharf_s3_testbed::{Bed, Fault, Kind, Operation};

use crate::rig::{KEY, MIB, Rig, clients, config, pattern, read, rigs, rigs_with, serve};

async fn call(rig: &Rig, operation: Operation, id: &str) -> Result<(), ClientError> {
    let tag = ETag::new("\"900150983cd24fb0d6963f7d28e17f72\"");
    match operation {
        Operation::PutObject => {
            let body = vec![pattern(100_000, 1)];
            rig.client.put_object("other", body, Attributes::default(), false).await.map(drop)
        }
        Operation::GetObject => rig.client.get_object(KEY, None).await.map(drop),
        Operation::HeadObject => rig.client.head_object(KEY).await.map(drop),
        Operation::DeleteObjects => rig.client.delete_objects(vec![KEY.to_owned()]).await,
        Operation::ListObjects => rig.client.list_objects("", None, 10).await.map(drop),
        Operation::CreateMultipartUpload => rig.client.create_multipart(KEY, Attributes::default()).await.map(drop),
        Operation::UploadPart => rig.client.upload_part(KEY, id, 2, vec![pattern(100_000, 2)]).await.map(drop),
        Operation::UploadPartCopy => rig.client.copy_part(KEY, id, 2, KEY, (0, 1)).await.map(drop),
        Operation::ListParts => rig.client.list_parts(KEY, id, None).await.map(drop),
        Operation::CompleteMultipartUpload => rig.client.complete(KEY, id, &[(1, tag)]).await.map(drop),
        Operation::AbortMultipartUpload => rig.client.abort(KEY, id).await,
        _ => rig.client.list_multiparts("", None).await.map(drop),
    }
}

const OPERATIONS: [Operation; 12] = [
    Operation::PutObject,
    Operation::GetObject,
    Operation::HeadObject,
    Operation::DeleteObjects,
    Operation::ListObjects,
    Operation::CreateMultipartUpload,
    Operation::UploadPart,
    Operation::UploadPartCopy,
    Operation::ListParts,
    Operation::CompleteMultipartUpload,
    Operation::AbortMultipartUpload,
    Operation::ListMultipartUploads,
];

#[tokio::test]
async fn every_failure_of_every_call_is_told_from_the_others() {
    let faults = [
        (Kind::SLOW_DOWN, ErrorKind::Throttled, Some("SlowDown")),
        (Kind::UNAVAILABLE, ErrorKind::Unavailable, Some("ServiceUnavailable")),
        (Kind::INTERNAL_ERROR, ErrorKind::Unavailable, Some("InternalError")),
        (Kind::Answer(400, "RequestTimeout"), ErrorKind::Unavailable, Some("RequestTimeout")),
        (Kind::Answer(403, "AccessDenied"), ErrorKind::Denied, Some("AccessDenied")),
        (Kind::Answer(400, "InvalidArgument"), ErrorKind::Invalid, Some("InvalidArgument")),
        (Kind::Answer(412, "PreconditionFailed"), ErrorKind::Precondition, Some("PreconditionFailed")),
        (Kind::ResetBefore, ErrorKind::Unavailable, None),
        (Kind::ResetAfter, ErrorKind::Unavailable, None),
    ];
    for rig in rigs().await {
        for operation in OPERATIONS {
            for (fault, kind, code) in &faults {
                rig.bed.clear();
                rig.bed.put_object(KEY, "0123");
                let id = rig.client.create_multipart(KEY, Attributes::default()).await.unwrap();
                rig.client.upload_part(KEY, &id, 1, vec![Bytes::from("abc")]).await.unwrap();
                rig.proxy.script(vec![Fault::new(operation, fault.clone())]);
                let before = rig.proxy.counts().requests(operation);
                let error = call(&rig, operation, &id).await.unwrap_err();
                let what = format!("{} {operation:?} {fault:?}: {error:?}", rig.name);
                // Without a body HEAD has only the status to go by.
                if operation == Operation::HeadObject && error.code.is_none() {
                    let by_status = match fault {
                        Kind::Answer(503 | 400, _) => {
                            [ErrorKind::Unavailable, ErrorKind::Invalid].contains(&error.kind)
                        }
                        _ => error.kind == *kind,
                    };
                    assert!(by_status, "{what}");
                } else {
                    assert_eq!((error.kind, error.code.as_deref()), (*kind, *code), "{what}");
                }
                assert_eq!(rig.proxy.counts().requests(operation), before + 1, "tried again: {what}");
            }
        }
        assert_eq!(rig.proxy.counts().faulty(), (OPERATIONS.len() * faults.len()) as u64);
    }
}

#[tokio::test]
async fn what_may_be_tried_again_and_what_may_have_happened_follow_from_the_kind() {
    use ErrorKind::*;
    for (kind, retry, applied) in [
        (NoSuchKey, false, false),
        (NoSuchUpload, false, false),
        (NoSuchBucket, false, false),
        (Denied, false, false),
        (Precondition, false, false),
        (Invalid, false, false),
        (Throttled, true, false),
        (Unreachable, true, false),
        (Unavailable, true, true),
        (Corrupt, true, true),
    ] {
        let error = ClientError::new(kind, "PutObject", None, "cause");
        assert_eq!((error.may_retry(), error.may_have_been_applied()), (retry, applied), "{kind:?}");
    }
}

#[tokio::test]
async fn an_error_in_an_answer_of_200_is_an_error() {
    for rig in rigs().await {
        for applied in [true, false] {
            let id = rig.client.create_multipart(KEY, Attributes::default()).await.unwrap();
            let tag = rig.client.upload_part(KEY, &id, 1, vec![Bytes::from("abc")]).await.unwrap();
            rig.proxy.script(vec![
                Fault::new(Operation::CompleteMultipartUpload, Kind::ErrorInOk { applied }),
                Fault::new(Operation::UploadPartCopy, Kind::ErrorInOk { applied }),
            ]);
            rig.bed.put_object("source", "0123");
            let copied = rig.client.copy_part(KEY, &id, 2, "source", (0, 3)).await.unwrap_err();
            assert_eq!((copied.kind, copied.code.as_deref()), (ErrorKind::Unavailable, Some("InternalError")));
            assert!(!rig.bed.objects().contains_key(KEY));
            let error = rig.client.complete(KEY, &id, &[(1, tag)]).await.unwrap_err();
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Unavailable, Some("InternalError")));
            assert!(error.may_have_been_applied() && error.may_retry());
            assert_eq!(rig.bed.objects().contains_key(KEY), applied);
            rig.bed.clear();
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    for rig in rigs().await {
        let bytes = pattern(3 * MIB, 1);
        rig.bed.put_object(KEY, bytes.clone());
        rig.proxy.script(vec![Fault::new(Operation::GetObject, Kind::CutAnswer)]);
        let (read, error) = read(rig.client.get_object(KEY, None).await.unwrap()).await;
        let error = error.unwrap();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
        assert!(read.len() < bytes.len());
        assert_eq!(read, bytes[..read.len()]);

        let id = rig.client.create_multipart(KEY, Attributes::default()).await.unwrap();
        for operation in [
            Operation::ListObjects,
            Operation::ListParts,
            Operation::ListMultipartUploads,
            Operation::CreateMultipartUpload,
            Operation::CompleteMultipartUpload,
            Operation::UploadPartCopy,
        ] {
            rig.client.upload_part(KEY, &id, 1, vec![Bytes::from("abc")]).await.unwrap();
            rig.proxy.script(vec![Fault::new(operation, Kind::CutAnswer)]);
            let error = call(&rig, operation, &id).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unavailable, "{operation:?}: {error:?}");
            if operation == Operation::CompleteMultipartUpload {
                break;
            }
        }
        assert_eq!(rig.bed.objects()[KEY].bytes, "abc");
    }
}

#[tokio::test]
async fn a_request_that_breaks_off_changes_nothing() {
    for rig in rigs().await {
        rig.proxy.script(vec![Fault::new(Operation::PutObject, Kind::TruncateRequest)]);
        let error = rig.client.put_object(KEY, vec![pattern(MIB, 1)], Attributes::default(), false).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Corrupt), "{error:?}");
        assert!(rig.bed.objects().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let hasty = |config: &mut Config| {
        config.attempt_timeout = Duration::from_millis(300);
        config.slowest_bytes_per_second = u64::MAX;
    };
    for rig in rigs_with(Default::default, hasty).await {
        rig.bed.put_object(KEY, "0123");
        for operation in [Operation::HeadObject, Operation::UploadPart, Operation::CompleteMultipartUpload] {
            rig.proxy.script(vec![Fault::new(operation, Kind::Hold)]);
            let error = call(&rig, operation, "some-id").await.unwrap_err();
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Unavailable, None), "{error:?}");
            rig.proxy.calm();
        }
    }
}

#[tokio::test]
async fn a_request_that_nobody_takes_was_not_sent() {
    for rig in rigs().await {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (name, client) in clients(&config(&rig.bed, format!("http://{closed}"))).await {
            let error = client.head_object(KEY).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unreachable, "{name} {error:?}");
            assert!(error.may_retry() && !error.may_have_been_applied());
        }
    }
}

#[tokio::test]
async fn an_answer_without_sense_is_an_error() {
    let list = |inner: &str| format!("<?xml version=\"1.0\"?>\n<ListBucketResult>{inner}</ListBucketResult>");
    let entry = |size: &str, date: &str| {
        let (size, date) = (format!("<Size>{size}</Size>"), format!("<LastModified>{date}</LastModified>"));
        list(&format!("<Contents><Key>k</Key>{size}{date}</Contents>"))
    };
    let right = entry("1", "2024-01-01T00:00:00.000Z");
    for (body, is_right) in [
        (right.clone(), true),
        (entry("a lot", "2024-01-01T00:00:00.000Z"), false),
        (entry("-1", "2024-01-01T00:00:00.000Z"), false),
        (entry("1", "once"), false),
        (list("<IsTruncated>true</IsTruncated>"), false),
        (list("<Contents><Key>k</Key>"), false),
        ("no XML".to_owned(), false),
    ] {
        let bed = Bed::start();
        let said = body.clone();
        let endpoint = serve(move |_, _| (200, said.clone()));
        for (name, client) in clients(&config(&bed, endpoint)).await {
            match client.list_objects("", None, 10).await {
                Ok(page) => assert!(is_right && page.entries.len() == 1, "{name}: {body}: {page:?}"),
                Err(error) => {
                    assert!(!is_right, "{name}: {body}: {error:?}");
                    assert!(matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Corrupt), "{name}: {error:?}");
                }
            }
        }
    }
}
