//! The page to upload with, as a browser asks for it: who gets it, with which headers, and when it is not there.

mod support;

use support::{Response, Server};

const BROWSER: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const FILES: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/app.js", "text/javascript; charset=utf-8"),
    ("/page/style.css", "text/css; charset=utf-8"),
    ("/page/icon.svg", "image/svg+xml"),
];

#[track_caller]
fn browse(server: &Server, method: &str, path: &str, further: &[(&str, &str)]) -> Response {
    server.request(method, path, &[&[BROWSER, ("Tus-Resumable", "")], further].concat(), b"")
}

/// What a program gets that says nothing special.
#[track_caller]
fn fetch(server: &Server, method: &str, path: &str) -> Response {
    server.request(method, path, &[("Accept", "*/*"), ("Tus-Resumable", "")], b"")
}

#[track_caller]
fn is_greeting(response: &Response) {
    assert_eq!((response.status, response.the("Content-Type")), (200, "text/plain; charset=utf-8"));
    assert!(response.text().starts_with("Welcome to wharf\n"), "{}", response.text());
}

/// The values of a directive of the policy.
#[track_caller]
fn directive<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let policy = response.the("Content-Security-Policy").split("; ");
    let mut found = policy.filter_map(|directive| directive.strip_prefix(name)?.strip_prefix(' '));
    let values = found.next().unwrap_or_else(|| panic!("no {name}: {response:?}"));
    assert!(found.next().is_none(), "{name} twice: {response:?}");
    values.split(' ').collect()
}

#[test]
fn a_browser_gets_the_page_and_its_files() {
    let server = Server::start(&[]);
    for (path, content_type) in FILES {
        let response = browse(&server, "GET", path, &[]);
        assert_eq!((response.status, response.the("Content-Type")), (200, content_type), "{path}");
        assert_eq!(response.the("X-Content-Type-Options"), "nosniff");
        assert_eq!(response.the("Referrer-Policy"), "no-referrer");
        assert_eq!(response.the("Content-Length"), response.body.len().to_string());
        assert!(!response.body.is_empty() && !response.text().contains("data-wharf"), "{path}");
    }
    let page = browse(&server, "GET", "/", &[]).text();
    assert!(page.contains("data-uploads=\"./files/\" data-download data-termination>"), "{page}");
}

/// Whatever the page names is served, and nothing comes from elsewhere.
#[test]
fn the_page_needs_nothing_but_its_own_files() {
    let server = Server::start(&[]);
    let page = browse(&server, "GET", "/", &[]).text();
    let named: Vec<&str> = [" src=\"", " href=\""].iter().flat_map(|name| page.split(name).skip(1)).collect();
    assert!(named.len() >= 4, "{page}");
    for rest in named {
        let path = rest.split('"').next().expect("a value");
        assert!(FILES.iter().any(|(file, _)| file.trim_start_matches('/') == path), "{path}");
    }
}

#[test]
fn the_policy_lets_no_foreign_or_inline_script_run() {
    let server = Server::start(&[]);
    for (path, _) in FILES {
        let response = browse(&server, "GET", path, &[]);
        assert_eq!(directive(&response, "default-src"), ["'none'"]);
        for name in ["script-src", "style-src", "connect-src"] {
            assert_eq!(directive(&response, name), ["'self'"], "{path}");
        }
        for name in ["base-uri", "form-action", "frame-ancestors"] {
            assert_eq!(directive(&response, name), ["'none'"], "{path}");
        }
        assert!(!response.the("Content-Security-Policy").contains("unsafe"));
    }
}

#[test]
fn head_says_what_get_would_bring() {
    let server = Server::start(&[]);
    for (path, _) in FILES {
        let mut client = server.connect();
        let [head, get] =
            ["HEAD", "GET"].map(|method| client.request(method, path, &[BROWSER, ("X-Request-ID", "same")], b""));
        assert!(head.body.is_empty() && !get.body.is_empty());
        let but_date = |response: &Response| -> Vec<(String, String)> {
            let headers = response.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
            headers.cloned().collect()
        };
        assert_eq!((head.status, but_date(&head)), (get.status, but_date(&get)), "{path}");
    }
}

#[test]
fn what_a_browser_has_is_not_sent_again() {
    let server = Server::start(&[]);
    for (path, _) in FILES {
        let first = browse(&server, "GET", path, &[]);
        assert_eq!(first.the("Cache-Control"), "no-cache");
        for method in ["GET", "HEAD"] {
            for known in [first.the("ETag"), &format!("\"x\", W/{}", first.the("ETag"))] {
                let again = browse(&server, method, path, &[("If-None-Match", known)]);
                assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
                assert_eq!(again.the("ETag"), first.the("ETag"));
                assert_eq!(again.header("Vary"), first.header("Vary"));
            }
            let other = browse(&server, method, path, &[("If-None-Match", "\"other\"")]);
            assert_eq!(other.status, 200, "{path}");
        }
    }
    // Another server's page is another.
    let limited = Server::start(&["--set", "tus.max_size_bytes=100"]);
    let tags = [&server, &limited].map(|server| browse(server, "GET", "/", &[]).the("ETag").to_owned());
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn programs_still_get_a_line_of_text() {
    let server = Server::start(&[]);
    is_greeting(&fetch(&server, "GET", "/"));
    is_greeting(&server.request("GET", "/", &[], b""));
    is_greeting(&browse(&server, "GET", "/elsewhere", &[]));
    for response in [fetch(&server, "GET", "/"), browse(&server, "GET", "/", &[]), fetch(&server, "HEAD", "/")] {
        assert_eq!(response.the("Vary"), "Accept", "{response:?}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let refused = browse(&server, method, "/page/app.js", &[]);
        assert_eq!((refused.status, refused.the("Allow")), (405, "GET, HEAD"), "{method}");
    }
}

#[test]
fn each_of_both_can_be_switched_off() {
    let only_page = Server::start(&["--set", "server.greeting=false"]);
    for response in [browse(&only_page, "GET", "/", &[]), fetch(&only_page, "GET", "/")] {
        assert_eq!((response.status, response.the("Content-Type")), (200, "text/html; charset=utf-8"));
        assert_eq!(response.header("Vary"), None, "there is but one form");
    }
    assert_eq!(browse(&only_page, "GET", "/elsewhere", &[]).status, 404);

    let only_greeting = Server::start(&["--set", "server.page=false"]);
    for (path, _) in FILES {
        is_greeting(&browse(&only_greeting, "GET", path, &[]));
    }
    assert_eq!(browse(&only_greeting, "GET", "/", &[]).header("Vary"), None);

    let neither = Server::start(&["--set", "server.page=false", "--set", "server.greeting=false"]);
    for (path, _) in FILES {
        browse(&neither, "GET", path, &[]).refused(404, "ERR_UPLOAD_NOT_FOUND");
    }
}

#[test]
fn the_page_knows_where_uploads_go() {
    for (base_path, told, connect) in [
        ("/a/b&c/", "./a/b&amp;c/", vec!["'self'"]),
        ("x:y", "./x:y/", vec!["'self'"]),
        ("/page/files/", "./page/files/", vec!["'self'"]),
        ("https://up.example:8443/files", "https://up.example:8443/files/", vec!["'self'", "https://up.example:8443"]),
    ] {
        let server = Server::start(&["--base-path", base_path]);
        let page = browse(&server, "GET", "/", &[]);
        assert!(page.text().contains(&format!("data-uploads=\"{told}\"")), "{}", page.text());
        assert_eq!(directive(&page, "connect-src"), connect);
    }
}

#[test]
fn uploads_win_where_the_page_would_be() {
    for (base_path, hidden) in [("/", "/"), ("/page/", "/page/app.js")] {
        let server = Server::start(&["--base-path", base_path]);
        let response = browse(&server, "GET", hidden, &[]);
        assert_ne!(response.header("Content-Type"), Some("text/html; charset=utf-8"));
        assert_eq!(response.status / 100, 4, "{base_path}: {response:?}");
        assert_eq!(server.content(&server.uploaded(b"hello")), b"hello");
    }
    let server = Server::start(&["--base-path", "/page/"]);
    is_greeting(&browse(&server, "GET", "/", &[]));
}

#[test]
fn the_page_is_told_what_the_server_can_do() {
    let server = Server::start(&[
        "--set",
        "tus.max_size_bytes=1000",
        "--set",
        "tus.download=false",
        "--set",
        "tus.termination=false",
    ]);
    let page = browse(&server, "GET", "/", &[]).text();
    assert!(page.contains("<main data-uploads=\"./files/\" data-max-size=\"1000\">"), "{page}");
}
