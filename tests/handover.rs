//! A data directory that tusd began, and one that is handed back to it: names, modes and the fields of `.info`.

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _};

use support::{Response, Server};

const SINGLE: &str = r#""IsPartial":false,"IsFinal":false,"PartialUploads":null"#;
const PARTIAL: &str = r#""IsPartial":true,"IsFinal":false,"PartialUploads":null"#;

/// Puts an upload into the directory as tusd leaves it; `length` is `None` while deferred. Returns its path.
fn tusd_upload(server: &Server, id: &str, bytes: &str, length: Option<u64>, metadata: &str, roles: &str) -> String {
    let data = server.dir().join(id);
    fs::create_dir_all(data.parent().expect("a directory")).expect("a file of the test");
    fs::write(&data, bytes).expect("a file of the test");
    let json = description(server, id, length, metadata, roles);
    fs::write(server.dir().join(format!("{id}.info")), json + "}").expect("a file of the test");
    format!("{}{id}", server.base)
}

/// What tusd writes of an upload, without the last brace.
fn description(server: &Server, id: &str, length: Option<u64>, metadata: &str, roles: &str) -> String {
    let directory = server.dir().display().to_string();
    format!(
        r#"{{"ID":"{id}","Size":{},"SizeIsDeferred":{},"Offset":0,"MetaData":{metadata},{roles},"Storage":{{"InfoPath":"{directory}/{id}.info","Path":"{directory}/{id}","Type":"filestore"}}"#,
        length.unwrap_or(0),
        length.is_none(),
    )
}

#[track_caller]
fn described(server: &Server, path: &str, expected: &str) {
    let json =
        fs::read_to_string(server.dir().join(format!("{}.info", server.id_of(path)))).expect("a file of the test");
    assert!(json.starts_with(&format!("{expected},\"Wharf\":{{")) || json == format!("{expected}}}"), "{json}");
}

#[track_caller]
fn stands(response: &Response, offset: u64, length: &str) {
    assert_eq!((response.status, response.offset(), response.the("Upload-Length")), (200, offset, length));
}

/// An upload half done goes on where its file ends, with its metadata; tusd's leftover locks are in nobody's way.
#[test]
fn a_half_done_upload_goes_on() {
    let server = Server::start(&[]);
    let metadata = r#"{"empty":"","filename":"a \u0026 b.txt","filetype":"text/plain"}"#;
    let path = tusd_upload(&server, "6f0e00000000000000000000000000c4", "hello", Some(11), metadata, SINGLE);
    let data = server.file_of(&path);
    fs::write(data.with_extension("lock"), "1\n").unwrap();
    fs::write(data.with_extension("stop"), "").unwrap();
    let response = server.head(&path);
    stands(&response, 5, "11");
    assert_eq!(response.the("Upload-Metadata"), "empty,filename YSAmIGIudHh0,filetype dGV4dC9wbGFpbg==");
    server.patch(&path, 5, b" world!").refused(413, "ERR_UPLOAD_SIZE_EXCEEDED");
    server.patched(&path, 5, b" world");
    let response = server.get(&path, &[]);
    assert_eq!((response.status, response.body.as_slice()), (200, b"hello world".as_slice()));
    assert_eq!(response.the("Content-Type"), "text/plain");
    assert_eq!(response.the("Content-Disposition"), r#"inline;filename="a & b.txt""#);
    let id = server.id_of(&path);
    described(&server, &path, &description(&server, id, Some(11), metadata, SINGLE));
    assert_eq!(server.delete(&path).status, 204);
    assert!(!data.exists() && !data.with_extension("info").exists());
}

/// A complete upload is served, by its size alone.
#[test]
fn a_complete_upload_is_served() {
    let mut server = Server::start(&[]);
    server.stop();
    let path = tusd_upload(&server, "done", "hello", Some(5), "{}", SINGLE);
    let empty = tusd_upload(&server, "empty", "", Some(0), "null", SINGLE);
    server.start_again();
    stands(&server.head(&path), 5, "5");
    assert_eq!(server.head(&path).header("Upload-Metadata"), None);
    server.patch(&path, 5, b"").appended(5);
    assert_eq!((server.content(&path), server.content(&empty)), (b"hello".to_vec(), Vec::new()));
}

/// A deferred length is declared as ever, and written as tusd reads it.
#[test]
fn a_deferred_upload_gets_its_length() {
    let server = Server::start(&[]);
    let path = tusd_upload(&server, "open", "hello", None, "{}", SINGLE);
    let response = server.head(&path);
    assert_eq!((response.offset(), response.the("Upload-Defer-Length")), (5, "1"));
    server.get(&path, &[]).refused(400, "ERR_INCOMPLETE_UPLOAD");
    server.patch_with(&path, 5, &[("Upload-Length", "11")], b" wor").appended(9);
    described(&server, &path, &description(&server, "open", Some(11), "{}", SINGLE));
    server.patched(&path, 9, b"ld");
    assert_eq!(server.content(&path), b"hello world");
}

/// Partial uploads are joined; a final one that tusd made tells its partial ones, and takes no byte.
#[test]
fn partial_and_final_uploads_are_understood() {
    let server = Server::start(&[]);
    let hello = tusd_upload(&server, "a", "hello", Some(5), "{}", PARTIAL);
    let world = tusd_upload(&server, "b/c", " wo", Some(6), "{}", PARTIAL);
    let roles = r#""IsPartial":false,"IsFinal":true,"PartialUploads":["a","b/c"]"#;
    let joined = tusd_upload(&server, "ab", "hello world", Some(11), "{}", roles);
    assert_eq!(server.head(&hello).the("Upload-Concat"), "partial");
    let response = server.head(&joined);
    stands(&response, 11, "11");
    assert_eq!(response.the("Upload-Concat"), format!("final;{hello} {world}"));
    server.patch(&joined, 11, b"").refused(403, "ERR_MODIFY_FINAL");
    assert_eq!(server.content(&joined), b"hello world");
    server.patched(&world, 3, b"rld");
    let path = server.create_with(&[("Upload-Concat", &format!("final;{hello} {world}"))]);
    assert_eq!(server.content(&path), b"hello world");
    described(&server, &path, &description(&server, server.id_of(&path), Some(11), "{}", roles));
}

/// Ids that a hook chose may have slashes and escapes: each way to write the path finds the upload.
#[test]
fn an_id_with_slashes_is_found() {
    let server = Server::start(&[]);
    tusd_upload(&server, "users/7/r\u{e9}sum\u{e9} 1.pdf", "hello", Some(11), "{}", SINGLE);
    for path in [
        "users/7/r%C3%A9sum%C3%A9%201.pdf",
        "users%2F7%2fr%c3%a9sum%C3%A9%201%2Epdf",
        "/users/7/r%C3%A9sum%C3%A9%201.pdf/",
    ] {
        stands(&server.head(&format!("{}{path}", server.base)), 5, "11");
    }
    for path in ["users/7", "users", "7/r%C3%A9sum%C3%A9%201.pdf", "users//7/r%C3%A9sum%C3%A9%201.pdf"] {
        assert_eq!(server.head(&format!("{}{path}", server.base)).status, 404, "{path}");
    }
}

/// A directory that was moved: the path in `.info` leads nowhere, so the usual place counts.
#[test]
fn a_moved_directory_is_understood() {
    let server = Server::start(&[]);
    let path = tusd_upload(&server, "moved", "hello", Some(11), "{}", SINGLE);
    let info = server.dir().join("moved.info");
    let directory = server.dir().display().to_string();
    fs::write(&info, fs::read_to_string(&info).unwrap().replace(&directory, "/no/such/place")).unwrap();
    stands(&server.head(&path), 5, "11");
    server.patched(&path, 5, b" world");
    assert_eq!(server.content(&path), b"hello world");
}

/// Bytes that a hook placed elsewhere beneath the directory, by an absolute path or a relative one, are those that count.
#[test]
fn bytes_placed_elsewhere_in_the_directory_are_found() {
    let server = Server::start(&[]);
    let directory = server.dir().display().to_string();
    for (id, place) in [("absolute", format!("{directory}/in/a.bin")), ("relative", "in/r.bin".to_owned())] {
        let path = tusd_upload(&server, id, "", Some(11), "{}", SINGLE);
        fs::remove_file(server.file_of(&path)).unwrap();
        fs::create_dir_all(server.dir().join("in")).unwrap();
        fs::write(server.dir().join(&place), "hello").unwrap();
        let info = server.dir().join(format!("{id}.info"));
        let json = fs::read_to_string(&info).unwrap();
        fs::write(&info, json.replace(&format!("{directory}/{id}\""), &format!("{place}\""))).unwrap();
        stands(&server.head(&path), 5, "11");
        server.patched(&path, 5, b" world");
        assert_eq!(fs::read(server.dir().join(&place)).unwrap(), b"hello world", "{id}");
        assert_eq!(server.content(&path), b"hello world");
        assert_eq!(server.delete(&path).status, 204);
        assert!(!server.dir().join(&place).exists() && !info.exists());
    }
}

/// Either file alone is no upload.
#[test]
fn an_upload_needs_both_of_its_files() {
    let server = Server::start(&[]);
    let (bare, lost) = (
        tusd_upload(&server, "bare", "hello", Some(11), "{}", SINGLE),
        tusd_upload(&server, "lost", "hello", Some(11), "{}", SINGLE),
    );
    fs::remove_file(server.dir().join("bare.info")).unwrap();
    fs::remove_file(server.dir().join("lost")).unwrap();
    for path in [bare, lost] {
        server.head(&path).gone();
        server.patch(&path, 5, b" world").refused(404, "ERR_UPLOAD_NOT_FOUND");
        server.get(&path, &[]).refused(404, "ERR_UPLOAD_NOT_FOUND");
        server.delete(&path).refused(404, "ERR_UPLOAD_NOT_FOUND");
    }
}

/// What is handed back: tusd's fields in tusd's order, whatever the upload's state, and modes as configured.
#[test]
fn what_is_handed_back_is_what_tusd_reads() {
    let server = Server::start(&["--set", "storage.file_mode=0o600"]);
    let sent = ("Upload-Metadata", "filename YTxiPiYudHh0,empty");
    let metadata = r#"{"empty":"","filename":"a\u003cb\u003e\u0026.txt"}"#;
    let half = server.create_with(&[("Upload-Length", "11"), sent]);
    server.patched(&half, 0, b"hello");
    let open = server.create_with(&[("Upload-Defer-Length", "1")]);
    let part = server.uploaded_with(&[("Upload-Concat", "partial")], b"hello");
    let joined = server.create_with(&[("Upload-Concat", &format!("final;{part} {part}"))]);
    let roles = format!(r#""IsPartial":false,"IsFinal":true,"PartialUploads":["{0}","{0}"]"#, server.id_of(&part));
    for (path, length, metadata, roles) in [
        (&half, Some(11), metadata, SINGLE),
        (&open, None, "{}", SINGLE),
        (&part, Some(5), "{}", PARTIAL),
        (&joined, Some(10), "{}", roles.as_str()),
    ] {
        described(&server, path, &description(&server, server.id_of(path), length, metadata, roles));
        for file in [server.file_of(path), server.file_of(path).with_extension("info")] {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }
    assert_eq!(fs::read(server.file_of(&half)).unwrap(), b"hello");
}

/// tusd drops what it does not know when it writes an `.info` anew: the upload is still whole, and goes on.
#[test]
fn an_upload_that_came_back_from_tusd_goes_on() {
    let mut server = Server::start(&[]);
    let path = server.create_with(&[("Upload-Defer-Length", "1"), ("Upload-Metadata", "name aGVsbG8=,flag")]);
    server.patched(&path, 0, b"hello");
    server.stop();
    let id = server.id_of(&path).to_owned();
    let metadata = r#"{"flag":"","name":"hello"}"#;
    tusd_upload(&server, &id, "hello wo", Some(11), metadata, SINGLE);
    server.start_again();
    let response = server.head(&path);
    stands(&response, 8, "11");
    assert_eq!(response.the("Upload-Metadata"), "flag,name aGVsbG8=");
    server.patched(&path, 8, b"rld");
    assert_eq!(server.content(&path), b"hello world");
    server.restart();
    assert_eq!(server.content(&path), b"hello world");
}
