//! Events posted to servers that do all that servers do.

use std::time::Duration;

use super::*;
use crate::hooks::{
    EventKind, HookError, HookFailure, Verdict,
    bed::{Certificates, PATIENCE, Reply, Server, attempts, closed_port, notice},
    client::{ClientCertificate, Tls},
};

/// An answer may be so long here.
const MAX_RESPONSE_BYTES: usize = 100;

/// Time for servers that never answer.
const SHORT: Duration = Duration::from_millis(200);

fn config(port: u16) -> Endpoint {
    Endpoint {
        url: format!("http://127.0.0.1:{port}/hook?a=b"),
        forward_headers: Vec::new(),
        max_response_bytes: MAX_RESPONSE_BYTES,
        attempts: attempts(PATIENCE),
        tls: Tls::default(),
    }
}

async fn called(endpoint: Endpoint) -> Result<Verdict, HookError> {
    Http::new(endpoint, None).unwrap().call(notice(EventKind::PreCreate)).await
}

/// What comes of an event that is answered so, and how often it was posted.
async fn outcome(replies: Vec<Reply>, timeout: Duration) -> (Result<Verdict, HookError>, usize) {
    let mut server = Server::start(replies).await;
    let result = called(Endpoint { attempts: attempts(timeout), ..config(server.port) }).await;
    (result, server.count())
}

#[actix_rt::test]
async fn an_event_is_posted_and_the_answer_read() {
    let mut server = Server::start(vec![Reply::json("{\"StopUpload\":true}")]).await;
    let forward_headers = vec!["cookie".to_owned(), "AUTHORIZATION".to_owned(), "X-Absent".to_owned()];
    let http = Http::new(Endpoint { forward_headers, ..config(server.port) }, None).unwrap();
    let notice = notice(EventKind::PostReceive);
    assert!(http.call(Arc::clone(&notice)).await.unwrap().stop_upload);
    let seen = server.request().await;
    assert!(seen.head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!(seen.field("Content-Type"), Some("application/json"));
    assert_eq!(seen.field("X-Wharf-Event-Id"), Some(&*notice.event_id));
    assert_eq!(seen.field("Host"), Some(&*format!("127.0.0.1:{}", server.port)));
    assert_eq!(seen.field("Authorization"), Some("Bearer t"));
    assert!(seen.head.contains("Cookie: a=1\r\nCookie: b=2\r\n"), "{}", seen.head);
    assert_eq!((seen.field("X-Absent"), seen.field("X-Wharf-Signature")), (None, None));
    assert_eq!(seen.body, notice.json);
    // The next event goes the same way.
    http.call(notice).await.unwrap();
    assert_eq!((seen.connection, server.request().await.connection), (0, 0));
}

#[actix_rt::test]
async fn the_url_has_a_user_unless_the_clients_is_handed_on() {
    let mut server = Server::start(vec![Reply::json("{}")]).await;
    let url = format!("http://a:b@127.0.0.1:{}/", server.port);
    called(Endpoint { url: url.clone(), ..config(server.port) }).await.unwrap();
    assert_eq!(server.request().await.field("Authorization"), Some("Basic YTpi"));
    let forward_headers = vec!["Authorization".to_owned()];
    called(Endpoint { url, forward_headers, ..config(server.port) }).await.unwrap();
    assert_eq!(server.request().await.field("Authorization"), Some("Bearer t"));
}

#[actix_rt::test]
async fn an_event_is_signed_in_each_try() {
    let mut server = Server::start(vec![Reply::whole("503 Busy", ""), Reply::json("{}")]).await;
    let http = Http::new(config(server.port), Some(b"key")).unwrap();
    http.call(notice(EventKind::PreCreate)).await.unwrap();
    for _ in 0..2 {
        let seen = server.request().await;
        let (id, timestamp) = (seen.field("X-Wharf-Event-Id").unwrap(), seen.field("X-Wharf-Timestamp").unwrap());
        let expected = Signer::new(b"key").unwrap().sign(id, timestamp.parse().unwrap(), &seen.body);
        assert_eq!(seen.field("X-Wharf-Signature"), Some(&*expected));
    }
}

#[actix_rt::test]
async fn answers_that_are_taken() {
    let exact = format!("{{}}{}", " ".repeat(MAX_RESPONSE_BYTES - 2));
    let chunked =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    for reply in [
        Reply::json("{}"),
        Reply::json(&exact),
        Reply::whole("201 Created\r\ncontent-type: Application/JSON; charset=utf-8", "{}"),
        Reply::Answer(chunked.to_owned()),
        Reply::Close("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}".to_owned()),
    ] {
        assert_eq!(outcome(vec![reply.clone()], PATIENCE).await, (Ok(Verdict::default()), 1), "{reply:?}");
    }
}

#[actix_rt::test]
async fn answers_that_are_failures_for_good() {
    use HookFailure::{Failed, Nonsense, TooLong};
    const JSON: &str = "200 OK\r\nContent-Type: application/json";
    let long = "x".repeat(MAX_RESPONSE_BYTES + 1);
    let chunks = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (reply, failure, said) in [
        (Reply::whole("404 Not Found", "no"), Failed, Some("no")),
        (Reply::whole("429 Slow", ""), Failed, None),
        (Reply::whole("302 Found\r\nLocation: /", ""), Failed, None),
        (Reply::whole("403 No", &long), Failed, Some(&long[..MAX_RESPONSE_BYTES])),
        (Reply::whole(JSON, ""), Nonsense, None),
        (Reply::whole("204 No Content", ""), Nonsense, None),
        (Reply::whole("200 OK", "{}"), Nonsense, None),
        (Reply::whole("200 OK\r\nContent-Type: text/json", "{}"), Nonsense, None),
        (Reply::whole(JSON, "{\"RejectUpload\":1}"), Nonsense, Some("{\"RejectUpload\":1}")),
        (Reply::whole(JSON, "<html>"), Nonsense, Some("<html>")),
        (Reply::whole(JSON, &long), TooLong, None),
        (Reply::Endless(chunks, "5\r\n     \r\n"), TooLong, None),
        (Reply::Close("SSH-2.0-OpenSSH_9.9\r\n".to_owned()), Nonsense, None),
        (Reply::Endless("HTTP/1.1 200 OK\r\n", "X: y\r\n"), Nonsense, None),
        (Reply::Endless("HTTP/1.1 200 OK\r\nX: ", "y"), Nonsense, None),
    ] {
        let (result, tries) = outcome(vec![reply.clone()], PATIENCE).await;
        let error = result.expect_err(&format!("{reply:?}"));
        assert_eq!((error.failure, error.said.as_deref(), tries), (failure, said, 1), "{reply:?}: {error}");
    }
}

#[actix_rt::test]
async fn what_may_pass_is_tried_three_times() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{}";
    let failing = [
        (Reply::whole("500 Oh", "my"), HookFailure::Failed, Some("my")),
        (Reply::whole("503 Busy", ""), HookFailure::Failed, None),
        (Reply::Close(String::new()), HookFailure::Unreachable, None),
        (Reply::Reset, HookFailure::Unreachable, None),
        (Reply::Close(cut.to_owned()), HookFailure::Unreachable, None),
    ];
    for (reply, failure, said) in failing.clone() {
        let (result, tries) = outcome(vec![reply.clone()], PATIENCE).await;
        let error = result.expect_err(&format!("{reply:?}"));
        assert_eq!((error.failure, error.said.as_deref(), tries), (failure, said, 3), "{reply:?}: {error}");
    }
    let mut server = Server::start(vec![failing[0].0.clone(), failing[2].0.clone(), Reply::json("{}")]).await;
    assert_eq!(called(config(server.port)).await, Ok(Verdict::default()));
    let ids = [server.request().await, server.request().await, server.request().await];
    let ids = ids.map(|seen| seen.field("X-Wharf-Event-Id").unwrap().to_owned());
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
}

#[actix_rt::test]
async fn nobody_there_is_a_failure() {
    let error = called(config(closed_port().await)).await.unwrap_err();
    assert_eq!(error.failure, HookFailure::Unreachable, "{error}");
    assert!(error.cause.contains("2 tries before"), "{error}");
    let url = "http://no-such-host.invalid/".to_owned();
    let error = called(Endpoint { url, ..config(1) }).await.unwrap_err();
    assert_eq!(error.failure, HookFailure::Unreachable, "{error}");
}

#[actix_rt::test]
async fn no_answer_in_time_is_a_failure() {
    let body = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n";
    for reply in [
        Reply::Hang,
        Reply::Drip(body, ""),
        Reply::Drip(body, " "),
        Reply::Drip("HTTP/1.1 200 OK\r\nContent-Type: ", "x"),
    ] {
        let mut server = Server::start(vec![reply.clone()]).await;
        let config = Endpoint { max_response_bytes: 1_000_000, attempts: attempts(SHORT), ..config(server.port) };
        let error = called(config).await.unwrap_err();
        assert_eq!((error.failure, server.count()), (HookFailure::TimedOut, 1), "{reply:?}: {error}");
    }
}

#[actix_rt::test]
async fn a_call_that_is_given_up_ends_its_request() {
    let mut server = Server::start(vec![Reply::Hang]).await;
    let http = Http::new(config(server.port), None).unwrap();
    let call = http.call(notice(EventKind::PreCreate));
    tokio::select! {
        _ = call => panic!("there was an answer"),
        _ = server.request() => {}
    }
    server.left().await;
}

#[actix_rt::test]
async fn who_is_trusted_by_tls() {
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    let ca_file = Some(certificates.ca_file());
    for (host, ca_file, verify, is_trusted) in [
        ("localhost", ca_file.clone(), true, true),
        ("localhost", None, true, false),
        ("localhost", Some(stranger.ca_file()), true, false),
        ("elsewhere", ca_file, true, false),
        ("elsewhere", None, false, true),
    ] {
        let acceptor = certificates.acceptor(host, false, b"http/1.1");
        let server = Server::start_with(vec![Reply::json("{}")], Some(acceptor)).await;
        let tls = Tls { ca_file: ca_file.or(Some(stranger.ca_file())), client_certificate: None, verify };
        let url = format!("https://localhost:{}/", server.port);
        let result = called(Endpoint { url, tls, ..config(server.port) }).await;
        match result {
            Ok(_) => assert!(is_trusted, "{host} {verify}"),
            Err(error) => assert_eq!((error.failure, is_trusted), (HookFailure::Unreachable, false), "{error}"),
        }
    }
}

#[actix_rt::test]
async fn a_hook_may_ask_for_a_certificate() {
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor("localhost", true, b"http/1.1");
    let server = Server::start_with(vec![Reply::json("{}")], Some(acceptor)).await;
    for (client_certificate, is_let_in) in [(Some(certificates.issue("wharf")), true), (None, false)] {
        let tls = Tls { ca_file: Some(certificates.ca_file()), client_certificate, verify: true };
        let url = format!("https://localhost:{}/", server.port);
        assert_eq!(called(Endpoint { url, tls, ..config(server.port) }).await.is_ok(), is_let_in);
    }
}

#[actix_rt::test]
async fn what_cannot_be_set_up_is_said() {
    let fine = config(1);
    let missing = std::path::PathBuf::from("/nowhere/ca.pem");
    let tls = |tls: Tls| Endpoint { url: "https://localhost/".to_owned(), tls, ..fine.clone() };
    let shown = ClientCertificate { certificate: missing.clone(), key: missing.clone() };
    for (endpoint, field) in [
        (Endpoint { url: "localhost".into(), ..fine.clone() }, "url"),
        (Endpoint { forward_headers: vec!["X-Wharf-Signature".into()], ..fine.clone() }, "forward_headers"),
        (tls(Tls { ca_file: Some(missing), ..Tls::default() }), "ca_file"),
        (tls(Tls { client_certificate: Some(shown), verify: false, ca_file: None }), "client_certificate"),
    ] {
        assert_eq!(Http::new(endpoint, None).map(|_| ()).unwrap_err().field, field);
    }
    assert_eq!(Http::new(fine.clone(), Some(b"")).map(|_| ()).unwrap_err().field, "signing_key");
    let secret = Endpoint { url: "http://a:open@sesame/".into(), ..fine };
    assert!(!format!("{secret:?}").contains("open"));
}
