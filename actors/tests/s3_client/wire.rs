//! What a client sends beside the bytes: the digests that the settings ask for, and no others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
};

use bytes::Bytes;
use wharf_actors::storage::s3::client::{Attributes, Config};
use wharf_s3_testbed::Bed;

use crate::rig::{KEY, clients, config, pattern, pieces, rigs_with, siblings};

/// The headers of one request, to which the answer is 200 and an ETag, and its body.
fn overhear(listener: &TcpListener) -> (BTreeMap<String, String>, Vec<u8>) {
    let (mut socket, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let answer = b"HTTP/1.1 200 OK\r\nETag: \"tag\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    socket.write_all(answer).unwrap();
    (headers, body)
}

#[tokio::test]
async fn digests_are_sent_when_the_settings_ask_for_them() {
    let bed = Bed::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let listener = Arc::new(listener);
    for (payload_hash, part_checksum) in [(false, false), (true, false), (false, true)] {
        let mut config = config(&bed, endpoint.clone());
        (config.payload_hash, config.part_checksum) = (payload_hash, part_checksum);
        for (name, client) in clients(&config).await {
            for is_part in [false, true] {
                let listener = Arc::clone(&listener);
                let heard = thread::spawn(move || overhear(&listener));
                let body = vec![Bytes::from("a"), Bytes::from("bc")];
                let tag = match is_part {
                    true => client.upload_part(KEY, "id", 1, body).await.unwrap(),
                    false => client.put_object(KEY, body, Attributes::default(), false).await.unwrap(),
                };
                assert_eq!(tag.quoted(), "\"tag\"");
                let (headers, body) = heard.join().unwrap();
                let header = |name: &str| headers.get(name).map(String::as_str);
                assert_eq!(body, b"abc");
                // FIPS 180-2 appendix B.1, RFC 1321 section A.5.
                let sha256 = match payload_hash {
                    true => "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                    false => "UNSIGNED-PAYLOAD",
                };
                assert_eq!(header("x-amz-content-sha256"), Some(sha256), "{name}");
                assert_eq!(header("content-md5"), part_checksum.then_some("kAFQmDzST7DWlj99KOF/cg=="), "{name}");
                let others = headers.keys().filter(|name| name.contains("checksum") || name.contains("trailer"));
                assert_eq!(others.count(), 0, "{name}: {headers:?}");
                assert_eq!((header("content-encoding"), header("transfer-encoding")), (None, None));
            }
        }
    }
}

#[tokio::test]
async fn digests_are_right() {
    for (payload_hash, part_checksum) in [(false, false), (true, false), (false, true), (true, true)] {
        let change = |config: &mut Config| {
            (config.payload_hash, config.part_checksum) = (payload_hash, part_checksum);
        };
        for rig in rigs_with(Default::default, change).await {
            let bytes = pattern(100_000, 1);
            rig.client.put_object(KEY, pieces(&bytes), Attributes::default(), false).await.unwrap();
            assert_eq!(rig.bed.objects()[KEY].bytes, bytes);
            let id = rig.client.create_multipart(KEY, Attributes::default()).await.unwrap();
            let tag = rig.client.upload_part(KEY, &id, 1, pieces(&bytes)).await.unwrap();
            rig.client.complete(KEY, &id, &[(1, tag)]).await.unwrap();
            assert_eq!(rig.bed.objects()[KEY].bytes, bytes);
        }
    }
}

#[tokio::test]
async fn a_sibling_has_the_same_credentials() {
    let bed = Bed::start();
    for (name, sibling) in siblings(&config(&bed, bed.endpoint())).await {
        sibling.put_object(name, vec![Bytes::from("x")], Attributes::default(), false).await.unwrap();
        assert_eq!(bed.objects()[name].bytes, "x");
    }
}
