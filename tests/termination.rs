//! Termination.

mod support;

use support::Server;

/// Requests, DELETE: 204, resources are freed, and the URL is dead from then on.
#[test]
fn delete_ends_unfinished_and_finished_uploads() {
    let server = Server::start(&[]);
    assert!(server.announces("termination"));
    let unfinished = server.create(11);
    server.patched(&unfinished, 0, b"hello");
    for path in [server.create(5), unfinished, server.uploaded(b"hello"), server.create(0)] {
        let response = server.delete(&path);
        assert_eq!((response.status, response.body.as_slice()), (204, b"".as_slice()));
        assert_eq!(response.header("Tus-Resumable"), Some("1.0.0"));
        server.head(&path).gone();
        server.patch(&path, 5, b" world").gone();
        server.get(&path, &[]).gone();
        server.delete(&path).gone();
    }
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Requests, DELETE: an upload that never was is not found.
#[test]
fn delete_of_an_unknown_upload_is_not_found() {
    let server = Server::start(&[]);
    let path = format!("{}00000000000000000000000000000000", server.base);
    server.delete(&path).refused(404, "ERR_UPLOAD_NOT_FOUND");
}

/// Requests, DELETE: a restart brings nothing back, and other uploads stay.
#[test]
fn a_terminated_upload_stays_gone_after_a_restart() {
    let mut server = Server::start(&[]);
    let (gone, kept) = (server.create(5), server.create(5));
    server.patched(&kept, 0, b"hel");
    assert_eq!(server.delete(&gone).status, 204);
    server.kill();
    server.start_again();
    server.head(&gone).gone();
    assert_eq!(server.offset(&kept), 3);
    server.patched(&kept, 3, b"lo");
    assert_eq!(server.content(&kept), b"hello");
}

/// Requests, DELETE: two at once, and both are answered.
#[test]
fn of_many_deletes_at_once_one_ends_the_upload() {
    let server = Server::start(&[]);
    let path = server.uploaded(b"hello");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let deletes: Vec<_> = (0..8).map(|_| scope.spawn(|| server.delete(&path).status)).collect();
        deletes.into_iter().map(|delete| delete.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 204 | 404 | 410)), "{statuses:?}");
    assert_eq!(server.names(), Vec::<String>::new());
}

/// Termination: not announced means not done.
#[test]
fn termination_can_be_switched_off() {
    let server = Server::start(&["--set", "tus.termination=false"]);
    assert!(!server.announces("termination"));
    let path = server.uploaded(b"hello");
    let response = server.delete(&path);
    assert!(matches!(response.status, 405 | 501), "{response:?}");
    assert_eq!(server.content(&path), b"hello");
}
