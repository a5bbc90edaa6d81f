//! The server's end and its start: nothing received is lost, and no two servers share a port or a directory.

mod support;

use std::net::TcpStream;

use support::{OFFSET_TYPE, Server, Signal, head, wait_until};

/// An idle server ends at once with success, on either signal, though connections are kept alive.
#[test]
fn an_idle_server_ends_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&["--set", "timeouts.shutdown_secs=600"]);
        let mut idle = server.connect();
        assert_eq!(idle.request("POST", &server.base, &[("Upload-Length", "5")], b"").status, 201);
        let mut silent = server.connect();
        server.signal(signal);
        assert!(server.ended().success());
        assert!(idle.closed() && silent.closed());
    }
}

/// A PATCH that is still running when its time is up is answered, and its bytes are there after the restart.
#[test]
fn a_running_patch_is_ended_with_its_bytes_kept() {
    let mut server = Server::start(&["--set", "timeouts.shutdown_secs=1"]);
    let path = server.create(11);
    let mut client = server.stalled_patch(&path, 0, 11, b"hello");
    server.signal(Signal::TERM);
    let response = client.answer();
    response.refused(503, "ERR_SERVER_SHUTDOWN");
    assert!(response.closes() && client.closed());
    assert!(server.ended().success());
    server.start_again();
    assert_eq!(server.offset(&path), 5);
    server.patched(&path, 5, b" world");
    assert_eq!(server.content(&path), b"hello world");
}

/// A PATCH that ends in time is finished as if nothing had happened; nobody new is let in meanwhile.
#[test]
fn a_running_patch_may_finish_in_time() {
    let mut server = Server::start(&["--set", "timeouts.shutdown_secs=600"]);
    let path = server.create(11);
    let mut client = server.stalled_patch(&path, 0, 11, b"hello");
    server.signal(Signal::TERM);
    wait_until("the server accepts no more", || TcpStream::connect(server.address).is_err());
    client.send(" world");
    client.answer().appended(11);
    assert!(client.closed(), "no further request");
    assert!(server.ended().success());
    server.start_again();
    assert_eq!(server.content(&path), b"hello world");
}

/// Checksum: what cannot be verified any more is not kept.
#[test]
fn a_running_checked_patch_leaves_nothing() {
    let mut server = Server::start(&["--set", "timeouts.shutdown_secs=1"]);
    let path = server.create(11);
    let digest = ("Upload-Checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=");
    let headers = [OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "11"), digest, ("Expect", "100-continue")];
    let mut client = server.connect();
    client.send(head("PATCH", &path, &headers));
    assert_eq!(client.interim(), 100);
    client.send("hello");
    server.signal(Signal::TERM);
    client.answer().refused(503, "ERR_SERVER_SHUTDOWN");
    assert!(server.ended().success());
    server.start_again();
    assert_eq!(server.offset(&path), 0);
    server.patch_with(&path, 0, &[digest], b"hello world").appended(11);
}

/// Many uploads at once: each is answered, and each offset is what its client sent.
#[test]
fn many_running_patches_are_ended_alike() {
    let mut server = Server::start(&["--set", "timeouts.shutdown_secs=1"]);
    let uploads: Vec<_> = (1..=20_u64)
        .map(|count| {
            let path = server.create(100);
            let client = server.stalled_patch(&path, 0, 100, &vec![7; count as usize]);
            (path, client, count)
        })
        .collect();
    server.signal(Signal::TERM);
    let expected: Vec<_> = uploads
        .into_iter()
        .map(|(path, mut client, count)| {
            client.answer().refused(503, "ERR_SERVER_SHUTDOWN");
            (path, count)
        })
        .collect();
    assert!(server.ended().success());
    server.start_again();
    for (path, count) in expected {
        assert_eq!(server.offset(&path), count);
    }
}

/// A second server on the same port ends with an error that names it; the first goes on.
#[test]
fn a_second_server_on_the_port_is_refused() {
    let server = Server::start(&[]);
    let other = tempfile::tempdir().unwrap();
    let address = server.address.to_string();
    let (status, written) = server.refused_start(other.path(), &["--bind", &address]);
    assert!(!status.success() && status.code().is_some(), "{status}: {written}");
    assert!(written.contains(&address), "{written}");
    server.unharmed();
}

/// A second server on the same directory ends with an error that names it; the first goes on.
#[test]
fn a_second_server_on_the_directory_is_refused() {
    let mut server = Server::start(&[]);
    // Nothing in S3 keeps a second server away.
    if !server.is_on_disk() {
        return;
    }
    for _ in 0..2 {
        let (status, written) = server.refused_start(&server.dir(), &[]);
        assert!(!status.success() && status.code().is_some(), "{status}: {written}");
        assert!(written.contains(server.dir().to_str().unwrap()), "{written}");
        server.unharmed();
        server.kill();
        server.start_again();
    }
}

/// A start that cannot succeed says what is wrong and where.
#[test]
fn a_start_with_what_cannot_be_is_refused() {
    let server = Server::start(&[]);
    let other = tempfile::tempdir().unwrap();
    for (flags, word) in [
        (["--set", "tus.max_size_byte=1"], "tus.max_size_byte"),
        (["--set", "tus.max_size_bytes=many"], "tus.max_size_bytes"),
        (["--bind", "127.0.0.1:99999"], "server.bind"),
        (["--config", "no-such-file.toml"], "no-such-file.toml"),
    ] {
        let (status, written) = server.refused_start(other.path(), &flags);
        assert!(!status.success() && status.code().is_some(), "{flags:?}: {status}: {written}");
        assert!(written.contains(word), "{word} is not in {written}");
    }
    let file = server.beside("outside.txt");
    let (status, written) = server.refused_start(&file, &[]);
    assert!(!status.success() && written.contains("outside.txt"), "{status}: {written}");
    server.unharmed();
}
