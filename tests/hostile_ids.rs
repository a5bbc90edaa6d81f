//! Ids, metadata and files in the storage directory that are meant to lead out of it, into the log or into a panic.

mod support;

use std::{fs, os::unix::fs::symlink};

use support::{OFFSET_TYPE, Server, head, wait_until};

/// Rests of a path that no upload can have.
const NO_IDS: &[&str] = &[
    "../outside.txt",
    "..%2foutside.txt",
    "%2e%2e/outside.txt",
    "%2e%2e%2Foutside.txt",
    ".%2e/outside.txt",
    "..%5coutside.txt",
    "..\\outside.txt",
    "%252e%252e%252foutside.txt",
    "%c0%ae%c0%ae/outside.txt",
    "..;/outside.txt",
    "sub/../../outside.txt",
    "%00",
    "a%00b",
    "%0a",
    "%0d%0aX-Evil:%201",
    "%7f",
    ".",
    "..",
    "%2e",
    "%2e%2e",
    "./",
    "../",
    "sub",
    "sub/",
    "sub/.",
    "sub//x",
    "/etc/passwd",
    "//",
    "%2fetc%2fpasswd",
    ".wharf",
    ".wharf/lock",
    ".wharf%2flock",
    "%2ewharf/lock",
    "sub/../.wharf/lock",
    ".wharf/",
    "%",
    "%z",
    "%zz",
    "%1",
    "%ff%fe",
    "a?b=/../c",
    "~",
    "*",
    "|",
    "$(id)",
    "`id`",
    "'",
    "a;b",
    "CON",
    "-rf",
];

/// The description of an upload as tusd writes it, with these members changed or added at its end.
fn description(id: &str, size: u64, storage: &str) -> String {
    format!(
        r#"{{"ID":"{id}","Size":{size},"SizeIsDeferred":false,"Offset":0,"MetaData":{{}},"IsPartial":false,"IsFinal":false,"PartialUploads":null,"Storage":{storage}}}"#
    )
}

/// Asserts that no request on this path finds anything, changes anything or fails the server.
#[track_caller]
fn unknown(server: &Server, path: &str) {
    for method in ["HEAD", "GET", "PATCH", "DELETE"] {
        let headers: &[_] = if method == "PATCH" { &[OFFSET_TYPE, ("Upload-Offset", "11")] } else { &[] };
        let mut client = server.connect();
        client.send(head(method, path, &[headers, &[("Content-Length", "0"), ("Connection", "close")]].concat()));
        client.finish();
        if let Some(response) = client.answer_or_close(method) {
            let shown = path.chars().take(80).collect::<String>();
            assert!(matches!(response.status, 400..=499), "{method} {shown}: {response:?}");
            assert!(!response.text().contains("outside.txt"), "{method} {shown}: {}", response.text());
            assert_eq!(response.header("Upload-Offset"), None, "{method} {shown}");
        }
    }
}

/// No id, however it is written, leads anywhere but to an upload.
#[test]
fn an_id_that_is_none_finds_nothing() {
    let server = Server::start(&[]);
    let upload = server.uploaded(b"hello");
    let id = server.id_of(&upload).to_owned();
    fs::create_dir(server.dir().join("sub")).unwrap();
    for bad in NO_IDS {
        unknown(&server, &format!("{}{bad}", server.base));
    }
    let spellings = [
        format!("{id}.info"),
        format!("{id}%00"),
        format!("{id}%00.info"),
        format!("{id}/x"),
        format!("../data/{id}"),
        format!("sub/../{id}"),
        format!("./{id}"),
        format!("%2e/{id}"),
        format!("sub/%2e%2e/{id}"),
        format!("{id}."),
        format!("{id}%20"),
        format!("{id}\\"),
        format!("{id}.lock"),
        format!("{id}.stop"),
    ];
    for bad in spellings {
        unknown(&server, &format!("{}{bad}", server.base));
    }
    for length in [250, 255, 256, 300, 4096, 5000, 30_000, 1 << 20] {
        unknown(&server, &format!("{}{}", server.base, "a".repeat(length)));
        unknown(&server, &format!("{}{}", server.base, "a/".repeat(length / 2) + "a"));
    }
    assert_eq!(server.content(&upload), b"hello");
    server.unharmed();
}

/// A symbolic link in the storage directory is no upload and no way out, wherever in the path it stands.
#[test]
fn links_out_of_the_directory_are_not_followed() {
    let server = Server::start(&[]);
    // A bucket has no links.
    if !server.is_on_disk() {
        return;
    }
    let outside = server.beside("outside.txt");
    let data = server.dir();
    fs::write(data.join("linked.info"), description("linked", 11, "null")).unwrap();
    symlink(&outside, data.join("linked")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("deep.info"), description("folder/deep", 11, "null")).unwrap();
    fs::write(elsewhere.path().join("deep"), "outside.txt").unwrap();
    symlink(elsewhere.path(), data.join("folder")).unwrap();
    fs::write(elsewhere.path().join("described.info"), description("described", 11, "null")).unwrap();
    symlink(elsewhere.path().join("described.info"), data.join("described.info")).unwrap();
    fs::write(data.join("described"), "outside.txt").unwrap();
    for id in ["linked", "folder/deep", "described"] {
        let path = format!("{}{id}", server.base);
        let responses = [server.head(&path), server.get(&path, &[]), server.patch(&path, 11, b"")];
        for response in responses {
            assert!(response.status >= 400 && !response.text().contains("outside.txt"), "{id}: {response:?}");
        }
        server.delete(&path);
        server.post(&[("Upload-Concat", &format!("final;{path}"))], b"");
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "outside.txt");
    assert_eq!(fs::read_to_string(elsewhere.path().join("deep")).unwrap(), "outside.txt");
    assert!(elsewhere.path().join("described.info").exists());
    server.unharmed();
}

/// A place outside the storage directory, written into an upload's description, is not believed.
#[test]
fn a_described_place_outside_the_directory_is_not_believed() {
    let server = Server::start(&[]);
    // Nothing in a bucket is looked for where its description says; `s3` shows it.
    if !server.is_on_disk() {
        return;
    }
    let outside = server.beside("outside.txt");
    for (id, place) in [
        ("absolute", outside.to_str().unwrap().to_owned()),
        ("relative", "../outside.txt".to_owned()),
        ("climbing", format!("{}/../outside.txt", server.dir().display())),
    ] {
        let storage = format!(r#"{{"InfoPath":"{place}","Path":"{place}","Type":"filestore"}}"#);
        fs::write(server.dir().join(format!("{id}.info")), description(id, 12, &storage)).unwrap();
        let path = format!("{}{id}", server.base);
        for response in [server.head(&path), server.get(&path, &[]), server.patch(&path, 11, b"X")] {
            assert!(response.status >= 400 && !response.text().contains("outside.txt"), "{id}: {response:?}");
        }
        server.delete(&path);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "outside.txt");
    }
    server.unharmed();
}

/// Files that are no descriptions make an error of that upload and of nothing else.
#[test]
fn damaged_files_in_the_directory_do_no_harm() {
    let server = Server::start(&["--set", "expiration.after_secs=3600", "--set", "expiration.interval_secs=1"]);
    let deep = "[".repeat(100_000);
    let text = [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "{}",
        "\u{0}",
        r#"{"ID":5}"#,
        r#"{"ID":"x","Size":-1}"#,
        r#"{"ID":"x","Size":1e300}"#,
        r#"{"ID":"x","Size":99999999999999999999}"#,
        r#"{"ID":"x","Size":5,"MetaData":[1]}"#,
        r#"{"ID":"../outside.txt","Size":5}"#,
        r#"{"ID":"x","Size":5,"IsFinal":true,"PartialUploads":["../outside.txt","x"]}"#,
        &deep,
    ];
    for (number, text) in text.iter().enumerate() {
        let name = format!("damaged{number}");
        let id = if server.is_on_disk() { name.clone() } else { format!("{name}+x") };
        // In S3 a description with another id is somebody else's.
        let text = text.replace(r#""ID":"x""#, &format!(r#""ID":"{id}""#));
        server.lay_out(&format!("{name}.info"), text);
        server.lay_out(&name, "hello");
        let path = format!("{}{id}", server.base);
        server.head(&path);
        server.patch(&path, 5, b"");
        server.get(&path, &[]);
        server.post(&[("Upload-Concat", &format!("final;{path}"))], b"");
        server.delete(&path);
        server.unharmed();
    }
    fs::create_dir(server.dir().join("folder")).unwrap();
    fs::create_dir(server.dir().join("folder.info")).unwrap();
    unknown(&server, &format!("{}folder", server.base));
    server.unharmed();
}

/// Headers, Upload-Metadata: whatever it holds, it is refused or kept, and HEAD's answer stays one answer.
#[test]
fn hostile_metadata_is_refused_or_kept() {
    let server = Server::start(&[]);
    let long = format!("key {}", "QUFB".repeat(100_000));
    let many = (0..5000).map(|number| format!("k{number} YQ==")).collect::<Vec<_>>().join(",");
    for value in [
        ",,,,",
        " ",
        "key",
        "key ",
        " dmFsdWU=",
        "key =",
        "key ====",
        "key Y",
        "key YQ",
        "key YR==",
        "key\tYQ==",
        "a b c",
        "\u{fc} YQ==",
        "key DQpYLUV2aWw6IDE=",
        "filename Li4vLi4vZXRjL3Bhc3N3ZA==",
        "constructor YQ==",
        "\"; YQ==",
        &long,
        &many,
    ] {
        let response = server.post(&[("Upload-Length", "0"), ("Upload-Metadata", value)], b"");
        assert!(response.status == 201 || response.status / 100 == 4, "{value:.40}: {response:?}");
        if response.status == 201 {
            let path = response.path();
            let head = server.head(&path);
            assert!(matches!(head.status, 200 | 204), "{value:.40}: {head:?}");
            assert_eq!(head.header("X-Evil"), None);
            assert_eq!(server.get(&path, &[]).status, 200, "{value:.40}");
        }
    }
    for raw in [b"key \x01\x02".as_slice(), b"k\xff\xfe YQ==", b"key \x7f"] {
        let mut client = server.connect();
        client.send(
            [
                b"POST /files/ HTTP/1.1\r\nHost: a\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 5\r\nUpload-Metadata: ",
                raw,
                b"\r\n\r\n",
            ]
            .concat(),
        );
        client.finish();
        let answer = client.answer_or_close("POST");
        assert!(answer.is_none_or(|answer| answer.status == 201 || answer.status / 100 == 4));
    }
    server.unharmed();
}

/// Values from outside are data in the log: each of its lines stays one object with what the server put there.
#[test]
fn hostile_values_cannot_forge_log_lines() {
    let server = Server::start(&[]);
    let forged = "filename CnsibXNnIjoiZm9yZ2VkIn0K,note CnsibXNnIjoiZm9yZ2VkIn0KGzJb";
    let headers = [
        ("Upload-Length", "5"),
        ("Upload-Metadata", forged),
        ("X-Request-ID", "a\"},{\"msg\":\"forged\u{1b}"),
        ("User-Agent", "\",\"msg\":\"forged"),
    ];
    let response = server.post(&headers, b"");
    assert!(matches!(response.status, 201 | 400), "{response:?}");
    let quoted = [("Upload-Length", "5"), ("X-Request-ID", "a\"},{\"msg\":\"forged")];
    assert_eq!(server.post(&quoted, b"").status, 201);
    unknown(&server, &format!("{}%0a%7b%22msg%22:%22forged%22%7d%0a", server.base));
    let path = server.create_with(&[("Upload-Length", "5"), ("Upload-Metadata", forged), ("X-Request-ID", "last-one")]);
    server.patched(&path, 0, b"hello");
    wait_until("the log has the last creation", || server.log().contains("last-one"));
    let log = server.log();
    let end = log.rfind('\n').expect("whole lines");
    for line in log[..end].lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_ne!(object["msg"], "forged", "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}
