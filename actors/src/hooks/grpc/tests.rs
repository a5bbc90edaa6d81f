//! Events told to servers that do all that servers do.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::{HeaderMap, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;

use super::messages::{Answer, Event, FileInfo, FileInfoChanges, HookRequest, HttpRequest, HttpResponse};
use super::*;
use crate::hooks::{
    Changes, EventKind, HookError, HookFailure, HookResponse, Verdict,
    bed::{Certificates, PATIENCE, attempts, closed_port, notice},
    client::Tls,
};

/// An answer may be so long here.
const MAX_RESPONSE_BYTES: usize = 100;

/// Time for servers that never answer.
const SHORT: Duration = Duration::from_millis(200);

/// What a server does about a call.
#[derive(Debug, Clone)]
enum Reply {
    /// Answers with this message.
    Message(Bytes),
    /// Announces a message of so many bytes, and sends none.
    Announce(u32),
    /// Fails with this code and these words; at once, or after it has begun to answer.
    Status(&'static str, &'static str, bool),
    /// Fails with a field that can't be read.
    Details,
    /// Answers with this status of HTTP.
    Http(u16),
    /// Ends the connection.
    Drop,
    /// Does nothing.
    Hang,
}

fn answer(answer: &Answer) -> Reply {
    Reply::Message(answer.encode_to_vec().into())
}

/// A call as it came.
struct Seen {
    path: String,
    fields: HeaderMap,
    request: HookRequest,
    connection: usize,
}

struct Server {
    port: u16,
    seen: mpsc::UnboundedReceiver<Seen>,
}

type Sent = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

impl Server {
    /// One that does this about the first calls, and the last of it about all others.
    async fn start(replies: Vec<Reply>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen_by, seen) = mpsc::unbounded_channel();
        let script = Script { replies: replies.into(), next: Arc::default(), seen: seen_by };
        actix_rt::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let (script, tls) = (script.clone(), tls.clone());
                actix_rt::spawn(async move {
                    match tls {
                        None => script.play(socket, connection).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                script.play(socket, connection).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, seen }
    }

    async fn call(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.seen.try_recv().ok()).count()
    }
}

#[derive(Clone)]
struct Script {
    replies: Arc<[Reply]>,
    next: Arc<AtomicUsize>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl Script {
    async fn play<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, socket: S, connection: usize) {
        let service = service_fn(move |request| self.clone().serve(request, connection));
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
    }

    async fn serve(self, request: Request<Incoming>, connection: usize) -> Result<Response<Sent>, std::io::Error> {
        let (head, body) = request.into_parts();
        let mut message = body.collect().await.unwrap().to_bytes();
        // Not compressed, and its length.
        assert_eq!((message.get_u8(), message.get_u32() as usize), (0, message.len()));
        let request = HookRequest::decode(message).unwrap();
        let seen = Seen { path: head.uri.path().to_owned(), fields: head.headers, request, connection };
        let _ = self.seen.send(seen);
        let turn = self.next.fetch_add(1, Ordering::Relaxed).min(self.replies.len() - 1);
        match self.replies[turn].clone() {
            Reply::Message(message) => Ok(ok(vec![framed(message.len(), &message), status("0", "")])),
            Reply::Announce(length) => Ok(ok(vec![framed(length as usize, b""), status("0", "")])),
            Reply::Status(code, words, false) => {
                let mut answer = ok(Vec::new());
                answer.headers_mut().extend(status(code, words).into_trailers().unwrap());
                Ok(answer)
            }
            Reply::Status(code, words, true) => Ok(ok(vec![status(code, words)])),
            Reply::Details => {
                let mut trailers = status("13", "").into_trailers().unwrap();
                trailers.insert("grpc-status-details-bin", HeaderValue::from_static("!!!"));
                Ok(ok(vec![Frame::trailers(trailers)]))
            }
            Reply::Http(status) => {
                let mut answer = ok(Vec::new());
                *answer.status_mut() = status.try_into().unwrap();
                Ok(answer)
            }
            Reply::Drop => Err(std::io::Error::other("on purpose")),
            Reply::Hang => std::future::pending().await,
        }
    }
}

fn ok(frames: Vec<Frame<Bytes>>) -> Response<Sent> {
    let frames: Vec<_> = frames.into_iter().map(Ok).collect();
    let mut answer = Response::new(StreamBody::new(stream::iter(frames)));
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    answer
}

fn framed(length: usize, message: &[u8]) -> Frame<Bytes> {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap());
    framed.put_slice(message);
    Frame::data(framed.freeze())
}

fn status(code: &'static str, words: &'static str) -> Frame<Bytes> {
    let fields = [("grpc-status", code), ("grpc-message", words)];
    Frame::trailers(
        fields.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).into_iter().collect(),
    )
}

fn config(port: u16) -> Endpoint {
    Endpoint {
        url: format!("http://127.0.0.1:{port}"),
        forward_headers: Vec::new(),
        max_response_bytes: MAX_RESPONSE_BYTES,
        attempts: attempts(PATIENCE),
        tls: Tls::default(),
    }
}

async fn called(endpoint: Endpoint) -> Result<Verdict, HookError> {
    Grpc::new(endpoint).unwrap().call(notice(EventKind::PreCreate)).await
}

async fn outcome(replies: Vec<Reply>) -> (Result<Verdict, HookError>, usize) {
    let mut server = Server::start(replies, None).await;
    (called(config(server.port)).await, server.count())
}

#[actix_rt::test]
async fn an_event_is_told_and_the_answer_read() {
    let rejected = Answer { reject_upload: true, ..Answer::default() };
    let mut server = Server::start(vec![answer(&rejected)], None).await;
    let forward_headers = vec!["cookie".to_owned(), "Authorization".to_owned()];
    let url = format!("http://a:b@127.0.0.1:{}", server.port);
    let grpc = Grpc::new(Endpoint { url, forward_headers, ..config(server.port) }).unwrap();
    let notice = notice(EventKind::PreCreate);
    assert!(grpc.call(Arc::clone(&notice)).await.unwrap().reject_upload);
    let seen = server.call().await;
    assert_eq!(seen.path, "/proto.HookHandler/InvokeHook");
    assert_eq!(seen.fields["content-type"], "application/grpc");
    assert_eq!(seen.fields["wharf-event-id"], notice.event_id);
    let lines = |name| seen.fields.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((lines("cookie"), lines("authorization")), (vec!["a=1", "b=2"], vec!["Bearer t"]));
    let texts = |entries: &[(&str, &str)]| {
        entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let upload = FileInfo {
        id: "a1b2".into(),
        size: 7,
        size_is_deferred: false,
        offset: 5,
        meta_data: texts(&[("filename", "\u{fc}.txt"), ("empty", "")]),
        is_partial: false,
        is_final: true,
        partial_uploads: vec!["p1".into(), "p2".into()],
        storage: texts(&[("Type", "filestore"), ("Path", "/d/a1b2")]),
    };
    let http_request = HttpRequest {
        method: "PATCH".into(),
        uri: "/files/a1b2?x=y".into(),
        remote_addr: "10.0.0.7:55492".into(),
        header: texts(&[("Authorization", "Bearer t"), ("Cookie", "a=1"), ("Host", "up.example")]),
    };
    let event = Event { upload: Some(upload), http_request: Some(http_request), cause: "because".into() };
    assert_eq!(seen.request, HookRequest { kind: "pre-create".into(), event: Some(event) });
    // The next event goes the same way.
    grpc.call(notice).await.unwrap();
    assert_eq!((seen.connection, server.call().await.connection), (0, 0));
}

#[actix_rt::test]
async fn the_url_may_have_a_user() {
    let mut server = Server::start(vec![answer(&Answer::default())], None).await;
    let url = format!("http://a:b@127.0.0.1:{}", server.port);
    called(Endpoint { url, ..config(server.port) }).await.unwrap();
    assert_eq!(server.call().await.fields["authorization"], "Basic YTpi");
}

/// Written out by the rules of protocol buffers, field by field, with tusd's numbers.
#[test]
fn messages_are_those_of_tusd() {
    let request = HookRequest {
        kind: "t".into(),
        event: Some(Event {
            upload: Some(FileInfo {
                id: "i".into(),
                size: 1,
                size_is_deferred: true,
                offset: 300,
                meta_data: [("k".to_owned(), "v".to_owned())].into(),
                is_partial: true,
                is_final: true,
                partial_uploads: vec!["p".into(), "q".into()],
                storage: [("s".to_owned(), "w".to_owned())].into(),
            }),
            http_request: Some(HttpRequest {
                method: "m".into(),
                uri: "u".into(),
                remote_addr: "r".into(),
                header: [("h".to_owned(), "x".to_owned())].into(),
            }),
            cause: String::new(),
        }),
    };
    let upload = b"\x0a\x01i\x10\x01\x18\x01\x20\xac\x02\x2a\x06\x0a\x01k\x12\x01v\x30\x01\x38\x01\x42\x01p\x42\x01q\x4a\x06\x0a\x01s\x12\x01w";
    let http = b"\x0a\x01m\x12\x01u\x1a\x01r\x22\x06\x0a\x01h\x12\x01x";
    let lengths = [upload.len(), http.len(), upload.len() + http.len() + 4].map(|length| u8::try_from(length).unwrap());
    let event = [&[0x0a, lengths[0]], &upload[..], &[0x12, lengths[1]], &http[..]].concat();
    assert_eq!(request.encode_to_vec(), [&b"\x0a\x01t\x12"[..], &[lengths[2]], &event].concat());

    let response = b"\x08\x93\x03\x12\x06\x0a\x01h\x12\x01x\x1a\x01b";
    let changes = b"\x0a\x01i\x12\x06\x0a\x01k\x12\x01v\x1a\x06\x0a\x01s\x12\x01w";
    let answer = [
        &[0x0a, u8::try_from(response.len()).unwrap()],
        &response[..],
        b"\x10\x01\x18\x01\x22",
        &[u8::try_from(changes.len()).unwrap()],
        changes,
        // Those from 101 on, and one that is not known.
        b"\xa8\x06\x01\xb0\x06\x01\xb8\x06\x07\x28\x05",
    ];
    let expected = Answer {
        http_response: Some(HttpResponse {
            status_code: 403,
            header: [("h".to_owned(), "x".to_owned())].into(),
            body: "b".into(),
        }),
        reject_upload: true,
        stop_upload: true,
        change_file_info: Some(FileInfoChanges {
            id: "i".into(),
            meta_data: [("k".to_owned(), "v".to_owned())].into(),
            storage: [("s".to_owned(), "w".to_owned())].into(),
        }),
        reject_termination: true,
        reject_access: true,
        cache_seconds: 7,
    };
    assert_eq!(Answer::decode(&*answer.concat()).unwrap(), expected);
}

#[test]
fn an_answer_says_what_it_says_in_json_but_for_empty_maps() {
    assert_eq!(Answer::default().verdict(), Ok(Verdict::default()));
    let empty = Answer {
        http_response: Some(HttpResponse::default()),
        change_file_info: Some(FileInfoChanges::default()),
        ..Answer::default()
    };
    assert_eq!(empty.verdict(), Ok(Verdict::default()));
    let texts = |value: &str| [("a".to_owned(), value.to_owned())].into();
    let full = Answer {
        http_response: Some(HttpResponse { status_code: 418, header: texts("1"), body: "tea".into() }),
        change_file_info: Some(FileInfoChanges { id: "i".into(), meta_data: texts("2"), storage: texts("3") }),
        reject_upload: true,
        stop_upload: true,
        reject_termination: true,
        reject_access: true,
        cache_seconds: 7,
    };
    let expected = Verdict {
        response: HookResponse { status: 418, body: "tea".into(), headers: texts("1") },
        reject_upload: true,
        reject_termination: true,
        reject_access: true,
        stop_upload: true,
        changes: Changes { id: Some("i".into()), metadata: Some(texts("2")), storage: Some(texts("3")) },
        cache_secs: 7,
    };
    assert_eq!(full.verdict(), Ok(expected));
}

#[actix_rt::test]
async fn failures_for_good() {
    use HookFailure::{Failed, Nonsense, TooLong};
    let smuggling =
        HttpResponse { header: [("Content-Length".to_owned(), "1".to_owned())].into(), ..HttpResponse::default() };
    let smuggling = Answer { http_response: Some(smuggling), ..Answer::default() };
    for (reply, failure, said) in [
        (Reply::Status("3", "no%20way", false), Failed, Some("no way")),
        (Reply::Status("13", "ouch", true), Failed, Some("ouch")),
        (Reply::Status("11", "of range", true), Failed, Some("of range")),
        (Reply::Status("16", "", false), Failed, None),
        (Reply::Http(404), Failed, None),
        (Reply::Details, Nonsense, None),
        (Reply::Message(Bytes::from_static(b"\xff\xff")), Nonsense, None),
        (Reply::Message(Bytes::from_static(b"\x0a\x02\x08")), Nonsense, None),
        (answer(&smuggling), Nonsense, None),
        (Reply::Message(vec![0; MAX_RESPONSE_BYTES + 1].into()), TooLong, None),
        (Reply::Announce(u32::MAX), TooLong, None),
    ] {
        let (result, tries) = outcome(vec![reply.clone()]).await;
        let error = result.expect_err(&format!("{reply:?}"));
        assert_eq!((error.failure, tries), (failure, 1), "{reply:?}: {error}");
        assert!(said.is_none() || error.said.as_deref() == said, "{error:?}");
    }
    let full = HttpResponse { body: "x".repeat(MAX_RESPONSE_BYTES - 4), ..HttpResponse::default() };
    let full = Answer { http_response: Some(full), ..Answer::default() };
    assert_eq!(full.encoded_len(), MAX_RESPONSE_BYTES);
    assert!(outcome(vec![answer(&full)]).await.0.is_ok());
}

#[actix_rt::test]
async fn what_may_pass_is_tried_three_times() {
    use HookFailure::{Failed, Unreachable};
    let failing = [
        (Reply::Status("14", "busy", false), Failed),
        (Reply::Status("8", "full", true), Failed),
        (Reply::Http(503), Failed),
        (Reply::Drop, Unreachable),
    ];
    for (reply, failure) in failing.clone() {
        let (result, tries) = outcome(vec![reply.clone()]).await;
        let error = result.expect_err(&format!("{reply:?}"));
        assert_eq!((error.failure, tries), (failure, 3), "{reply:?}: {error}");
    }
    let mut server =
        Server::start(vec![failing[0].0.clone(), failing[3].0.clone(), answer(&Answer::default())], None).await;
    assert_eq!(called(config(server.port)).await, Ok(Verdict::default()));
    let ids = [server.call().await, server.call().await, server.call().await];
    let ids = ids.map(|seen| seen.fields["wharf-event-id"].clone());
    assert!(ids[0] == ids[1] && ids[1] == ids[2], "{ids:?}");
}

#[actix_rt::test]
async fn no_answer_is_a_failure() {
    let mut server = Server::start(vec![Reply::Hang], None).await;
    let error = called(Endpoint { attempts: attempts(SHORT), ..config(server.port) }).await.unwrap_err();
    assert_eq!((error.failure, server.count()), (HookFailure::TimedOut, 1), "{error}");
    let error = called(config(closed_port().await)).await.unwrap_err();
    assert_eq!(error.failure, HookFailure::Unreachable, "{error}");
    assert!(error.cause.contains("2 tries before"), "{error}");
}

#[actix_rt::test]
async fn a_server_that_speaks_something_else_is_a_failure() {
    use crate::hooks::bed;
    let greeting = bed::Reply::Close("HTTP/1.1 400 Bad Request\r\n\r\n".to_owned());
    let server = bed::Server::start(vec![greeting]).await;
    assert_eq!(called(config(server.port)).await.unwrap_err().failure, HookFailure::Unreachable);
}

#[actix_rt::test]
async fn both_know_one_another_by_tls() {
    let certificates = Certificates::new();
    let acceptor = certificates.acceptor("localhost", true, b"h2");
    let server = Server::start(vec![answer(&Answer::default())], Some(acceptor)).await;
    let url = format!("https://localhost:{}", server.port);
    let stranger = Certificates::new();
    for (client_certificate, ca_file, is_fine) in [
        (Some(certificates.issue("wharf")), certificates.ca_file(), true),
        (None, certificates.ca_file(), false),
        (Some(certificates.issue("wharf")), stranger.ca_file(), false),
    ] {
        let tls = Tls { ca_file: Some(ca_file), client_certificate, verify: true };
        let result = called(Endpoint { url: url.clone(), tls, ..config(server.port) }).await;
        assert_eq!(result.is_ok(), is_fine, "{result:?}");
    }
}

#[actix_rt::test]
async fn what_cannot_be_set_up_is_said() {
    assert_eq!(Grpc::new(Endpoint { url: "localhost:80".into(), ..config(1) }).map(|_| ()).unwrap_err().field, "url");
    for name in ["grpc-timeout", "X-Data-Bin", "wharf-event-id", "User-Agent", "te"] {
        let endpoint = Endpoint { forward_headers: vec![name.to_owned()], ..config(1) };
        assert_eq!(Grpc::new(endpoint).map(|_| ()).unwrap_err().field, "forward_headers", "{name}");
    }
}
