//! The limits of a request's head: what fits is served, one byte more is refused, and the server goes on.

mod support;

use support::{Client, Server, head};

/// A request whose head is exactly so long.
fn head_of(server: &Server, length: usize) -> String {
    let empty = head("POST", &server.base, &[("Upload-Length", "5"), ("Content-Length", "0"), ("X-Filler", "x")]);
    let filler = "x".repeat(length - empty.len() + 1);
    let head = head("POST", &server.base, &[("Upload-Length", "5"), ("Content-Length", "0"), ("X-Filler", &filler)]);
    assert_eq!(head.len(), length);
    head
}

/// Asserts that a request is refused with this status, and that its connection ends.
#[track_caller]
fn refused(client: &mut Client, status: u16) {
    let response = client.answer();
    assert_eq!(response.status, status, "{response:?}");
    assert!(client.closed());
}

/// `server.head_max_bytes`, in one piece and byte by byte.
#[test]
fn a_head_has_a_largest_size() {
    for limit in [4096, 65_536] {
        let server = Server::start(&[
            "--set",
            &format!("server.head_max_bytes={limit}"),
            "--set",
            "tus.metadata_max_bytes=2048",
        ]);
        let mut client = server.connect();
        for length in [limit - 1, limit] {
            client.send(head_of(&server, length));
            assert_eq!(client.answer().status, 201);
        }
        for length in [limit + 1, limit * 3] {
            let mut client = server.connect();
            client.send(head_of(&server, length));
            refused(&mut client, 431);
        }
        let mut client = server.connect();
        let long = head_of(&server, limit + 1);
        let (start, end) = long.as_bytes().split_at(limit - 100);
        client.send(start);
        client.send_slowly(end);
        refused(&mut client, 431);
        assert_eq!(server.count(), 2, "{:?}", server.names());
        server.unharmed();
    }
}

/// A head may have 96 lines besides the first.
#[test]
fn a_head_has_a_largest_number_of_headers() {
    let server = Server::start(&[]);
    let request = |count: usize| {
        let lines = (0..count - 4).map(|number| format!("X-{number}: x\r\n")).collect::<String>();
        let head = head("POST", &server.base, &[("Upload-Length", "5"), ("Content-Length", "0")]);
        head.strip_suffix("\r\n").expect("an empty line").to_owned() + &lines + "\r\n"
    };
    let mut client = server.connect();
    client.send(request(96));
    assert_eq!(client.answer().status, 201);
    client.send(request(97));
    refused(&mut client, 431);
    assert_eq!(server.count(), 1, "{:?}", server.names());
    server.unharmed();
}

/// `tus.metadata_max_bytes`.
#[test]
fn metadata_has_a_largest_size() {
    let server = Server::start(&["--set", "tus.metadata_max_bytes=256"]);
    let metadata = |length: usize| format!("{} YQ==", "k".repeat(length - 5));
    let fits = metadata(256);
    let response = server.post(&[("Upload-Length", "5"), ("Upload-Metadata", &fits)], b"");
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(server.head(&response.path()).the("Upload-Metadata"), fits);
    let response = server.post(&[("Upload-Length", "5"), ("Upload-Metadata", &metadata(257))], b"");
    response.refused(431, "ERR_METADATA_TOO_LARGE");
    assert_eq!(response.header("Location"), None);
    assert_eq!(server.count(), 1, "{:?}", server.names());
    server.unharmed();
}

/// A number that would change nothing is refused: no head is ever longer than 64 KiB.
#[test]
fn a_limit_that_could_not_be_kept_is_refused() {
    let server = Server::start(&[]);
    let (status, written) = server.refused_start(&server.beside("other"), &["--set", "server.head_max_bytes=65537"]);
    assert!(!status.success());
    assert!(written.contains("server.head_max_bytes: must be from 4096 to 65536"), "{written}");
}
