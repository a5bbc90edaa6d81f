//! The server room over real sockets: framing, faults, time-outs, seats and shutdown, with an app that tells what it saw.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::Response;
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use slog::{Logger, o};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use wharf::server::wire::Limits;
use wharf::server::{BodyError, Config, Drained, Expect, Fault, Incoming, Patience, Running, bind, serve};

#[path = "wire/answers.rs"]
mod answers;

/// No wait in here should come near this.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a handler waits for, and what tells that it has begun or was dropped.
#[derive(Clone)]
struct Gates {
    begun: Arc<Semaphore>,
    open: Arc<Semaphore>,
    dropped: Arc<Semaphore>,
}

impl Gates {
    fn new() -> Self {
        let gate = || Arc::new(Semaphore::new(0));
        Self { begun: gate(), open: gate(), dropped: gate() }
    }
}

struct DropGuard(Arc<Semaphore>);

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

async fn pass(gate: &Semaphore) {
    timeout(DEADLINE, gate.acquire()).await.unwrap().unwrap().forget();
}

/// A body in pieces that come one by one; an empty one stands for a failure.
fn pieces(texts: [&'static str; 2]) -> impl Stream<Item = io::Result<Bytes>> {
    stream::iter(texts).then(async |text| {
        tokio::task::yield_now().await;
        if text.is_empty() { Err(io::Error::other("the store fails")) } else { Ok(Bytes::from(text)) }
    })
}

/// Tells method, target, body length and trailers. Some paths do something else besides.
async fn tell(request: HttpRequest, gates: web::Data<Gates>) -> HttpResponse {
    let mut incoming = request.extensions_mut().remove::<Incoming>().unwrap();
    if let Some(Fault::Malformed(reason) | Fault::HeadTooLarge(reason)) = incoming.fault() {
        return HttpResponse::BadRequest().body(reason);
    }
    match request.path() {
        "/early" => return HttpResponse::NotFound().body("early"),
        "/panic" => panic!("the handler's panic"),
        "/stream" => return HttpResponse::Ok().streaming(pieces(["one", "two"])),
        "/broken" => return HttpResponse::Ok().streaming(pieces(["one", ""])),
        "/big" => return HttpResponse::Ok().body(vec![b'x'; 64 << 20]),
        "/hold" => {
            let _guard = DropGuard(Arc::clone(&gates.dropped));
            gates.begun.add_permits(1);
            pass(&gates.open).await;
        }
        _ => {}
    }
    let mut bytes = 0;
    loop {
        match incoming.read(usize::MAX).await {
            Ok(Some(piece)) => bytes += piece.len() as u64,
            Ok(None) => break,
            Err(BodyError::Fault(Fault::Malformed(reason))) => return HttpResponse::BadRequest().body(reason),
            Err(_) => return HttpResponse::BadRequest().body("cut"),
        }
    }
    let trailers = incoming.into_trailers();
    let trailers = trailers.iter().map(|(name, value)| format!(" {name}={}", value.escape_ascii()));
    let trailers = trailers.collect::<String>();
    HttpResponse::Ok().body(format!("{} {} {bytes}{trailers}", request.method(), request.uri()))
}

fn expect() -> Expect {
    Box::new(|request| {
        Box::pin(async move {
            if request.path() == "/refuse" { Err(Response::new(actix_http::StatusCode::CONFLICT)) } else { Ok(request) }
        })
    })
}

fn patience() -> Patience {
    let limits = Limits {
        head_max_bytes: 8192,
        head_timeout: DEADLINE,
        write_timeout: DEADLINE,
        linger: Duration::from_secs(1),
    };
    Patience { keep_alive: DEADLINE, limits }
}

fn config() -> Config {
    config_with(patience())
}

fn config_with(patience: Patience) -> Config {
    Config { arbiters: 2, max_connections: 0, patience: watch::channel(patience).1 }
}

async fn start(config: Config, gates: &Gates) -> Running {
    let listener = bind("127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let logger = Logger::root(slog::Discard, o!());
    let gates = web::Data::new(gates.clone());
    let app = move || App::new().app_data(gates.clone()).default_service(web::to(tell));
    serve(config, listener, logger, app, expect).await.unwrap()
}

/// Serves with the usual configuration, and stops it once the test is over.
async fn with_server(test: impl AsyncFnOnce(SocketAddr)) {
    let running = start(config(), &Gates::new()).await;
    test(running.address().unwrap()).await;
    running.cut().await;
    assert_eq!(running.connections(), 0);
    running.stop();
}

/// A client that shows the bytes as they are.
struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), received: Vec::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads more; false at the end of the stream.
    async fn receive(&mut self) -> bool {
        timeout(DEADLINE, self.stream.read_buf(&mut self.received)).await.unwrap().unwrap() > 0
    }

    /// The next answer: status line, other head lines, and body.
    async fn answer(&mut self) -> (String, String, String) {
        loop {
            let text = String::from_utf8(self.received.clone()).unwrap();
            if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                let (status, lines) = head.split_once("\r\n").unwrap_or((head, ""));
                let length = lines.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length = length.map_or(0, |length| length.parse().unwrap());
                if rest.len() >= length {
                    self.received.drain(..head.len() + 4 + length);
                    return (status.to_owned(), lines.to_owned(), rest[..length].to_owned());
                }
            }
            assert!(self.receive().await, "the connection ended in {text:?}");
        }
    }

    async fn body(&mut self) -> String {
        let (status, _, body) = self.answer().await;
        assert!(status.ends_with(" 200 OK"), "{status} {body}");
        body
    }

    async fn assert_ends(&mut self) {
        while self.receive().await {}
        assert_eq!(String::from_utf8_lossy(&self.received), "");
    }
}

const GET: &str = "GET /g HTTP/1.1\r\nHost: a\r\n\r\n";

#[actix_web::test]
async fn pipelined_requests_are_told_apart_however_they_are_cut() {
    let stream = format!(
        "PATCH /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{GET}\
         POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nUpload-Checksum: sha1 Zm9v\r\nX: \r\n\r\n{GET}"
    );
    let expected = ["PATCH /p 5", "GET /g 0", "POST /c 5 upload-checksum=sha1 Zm9v x=", "GET /g 0"];
    with_server(async |address| {
        for size in [1, 7, 64, 10_000] {
            let mut client = Client::connect(address).await;
            client.stream.set_nodelay(true).unwrap();
            for piece in stream.as_bytes().chunks(size) {
                client.send(piece).await;
            }
            for expected in expected {
                assert_eq!(client.body().await, expected, "pieces of {size}");
            }
        }
    })
    .await;
}

#[actix_web::test]
async fn more_requests_than_may_wait_are_all_answered() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.send(GET.repeat(2000)).await;
        for _ in 0..2000 {
            assert_eq!(client.body().await, "GET /g 0");
        }
    })
    .await;
}

#[actix_web::test]
async fn a_long_body_is_counted_by_both_readers() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        let chunk = format!("{:x}\r\n{}\r\n", 70_000, "x".repeat(70_000));
        client.send("PATCH /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..50 {
            client.send(&chunk).await;
        }
        client.send(format!("0\r\nA: b\r\n\r\n{GET}")).await;
        assert_eq!(client.body().await, "PATCH /p 3500000 a=b");
        assert_eq!(client.body().await, "GET /g 0");
    })
    .await;
}

#[actix_web::test]
async fn malformed_bodies_get_400_and_nothing_after_them_is_read() {
    with_server(async |address| {
        for (body, reason) in [
            ("xyz\r\n", "invalid chunk size"),
            ("5\nhello\r\n0\r\n\r\n", "invalid chunk size"),
            ("3\r\nabcd\r\n0\r\n\r\n", "chunk longer than its size"),
            ("0\r\n\nGET /g HTTP/1.1\r\nHost: a\r\n\r\n\r\n", "control character in the trailer section"),
            ("0\r\nA: b\r\n c\r\n\r\n", "folded trailer line"),
            (&format!("1;{}\r\n", "x".repeat(1 << 20)), "chunk extension too long"),
            (&format!("0\r\nA: {}\r\n", "x".repeat(1 << 20)), "trailer section too long"),
            (&format!("{}\r\n", "f".repeat(17)), "chunk size too large"),
        ] {
            let mut client = Client::connect(address).await;
            let head = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
            client.send(format!("{GET}{head}{body}{GET}")).await;
            assert_eq!(client.body().await, "GET /g 0");
            let (status, _, body) = client.answer().await;
            assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 400 Bad Request", reason));
            client.assert_ends().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn refused_heads_get_400_and_nothing_after_them_is_read() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(100_000));
    with_server(async |address| {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nUpgrade: websocket\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a b\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
            "GET / HTTP/1.1\r\nHost: a b\r\nConnection: keep-alive\r\n\r\n",
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "\x16\x03\x01\x02",
            &long,
        ] {
            let mut client = Client::connect(address).await;
            client.send(format!("{GET}{head}{GET}{GET}")).await;
            assert_eq!(client.body().await, "GET /g 0");
            let (status, lines, body) = client.answer().await;
            assert!(status.ends_with(" 400 Bad Request"), "{head:?}: {status}");
            assert!(!body.is_empty() && lines.contains("connection: close"), "{head:?}: {lines}");
            client.assert_ends().await;
        }
    })
    .await;
}

/// RFC 9110 7.8: a server may ignore an Upgrade field. Clients that would rather speak HTTP/2 offer it (Java's, curl's).
#[actix_web::test]
async fn an_offered_upgrade_is_ignored() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        let offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
        client.send(format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{offer}\r\nhello{GET}")).await;
        let (status, lines, body) = client.answer().await;
        assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "POST /p 5"));
        assert!(lines.contains("connection: close"), "{lines}");
        client.assert_ends().await;
    })
    .await;
}

#[actix_web::test]
async fn http_1_0_is_served_without_host_and_without_100() {
    with_server(async |address| {
        for method in ["PATCH", "POST"] {
            let mut client = Client::connect(address).await;
            client.send(format!("{method} /p HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi")).await;
            let (status, _, body) = client.answer().await;
            assert_eq!((status, body), ("HTTP/1.0 200 OK".to_owned(), format!("{method} /p 2")));
            client.assert_ends().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn the_expect_hook_decides_on_100() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        let head = |path| {
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        };
        client.send(head("/c")).await;
        assert_eq!(client.answer().await.0, "HTTP/1.1 100 Continue");
        client.send(format!("0\r\nA: b\r\n\r\n{}", head("/refuse"))).await;
        assert_eq!(client.body().await, "POST /c 0 a=b");
        // The client may send the refused body all the same, so nothing more can be read.
        let (status, lines, _) = client.answer().await;
        assert_eq!(status, "HTTP/1.1 409 Conflict");
        assert!(lines.contains("connection: close"), "{lines}");
        client.send(format!("0\r\nA: c\r\n\r\n{GET}")).await;
        client.assert_ends().await;
    })
    .await;
}

#[actix_web::test]
async fn a_body_that_nobody_wants_has_the_linger_time_only() {
    with_server(async |address| {
        for body in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhe", "Content-Length: 5\r\n\r\nhe"] {
            let mut client = Client::connect(address).await;
            client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\n{body}")).await;
            let (status, lines, _) = client.answer().await;
            assert_eq!(status, "HTTP/1.1 404 Not Found");
            assert!(lines.contains("connection: close"), "{lines}");
            client.assert_ends().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_body_that_nobody_wants_but_has_come_costs_no_connection() {
    with_server(async |address| {
        for body in ["Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "Content-Length: 5\r\n\r\nhello"] {
            let mut client = Client::connect(address).await;
            client.send(format!("POST /early HTTP/1.1\r\nHost: a\r\n{body}{GET}")).await;
            assert_eq!(client.answer().await.0, "HTTP/1.1 404 Not Found");
            assert_eq!(client.body().await, "GET /g 0");
        }
    })
    .await;
}

#[actix_web::test]
async fn a_second_head_has_its_time_out_too() {
    let mut patience = patience();
    patience.limits.head_timeout = Duration::from_millis(100);
    let running = start(config_with(patience), &Gates::new()).await;
    let mut client = Client::connect(running.address().unwrap()).await;
    client.send(format!("{GET}GET /g HT")).await;
    assert_eq!(client.body().await, "GET /g 0");
    client.assert_ends().await;
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}

#[actix_web::test]
async fn a_client_that_does_not_read_is_dropped() {
    let mut patience = patience();
    patience.limits.write_timeout = Duration::from_millis(100);
    let running = start(config_with(patience), &Gates::new()).await;
    let mut client = Client::connect(running.address().unwrap()).await;
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.receive().await);
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}

#[actix_web::test]
async fn limits_that_change_count_for_connections_that_come_later() {
    let (sender, receiver) = watch::channel(patience());
    let running = start(Config { patience: receiver, ..config() }, &Gates::new()).await;
    let head = format!("GET /g HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(6000));
    let mut early = Client::connect(running.address().unwrap()).await;
    early.send(&head).await;
    assert_eq!(early.body().await, "GET /g 0");
    let mut smaller = patience();
    smaller.limits.head_max_bytes = 4096;
    sender.send_replace(smaller);
    // Each arbiter hears of it by itself: ask until all have.
    let mut in_a_row = 0;
    while in_a_row < 20 {
        let mut late = Client::connect(running.address().unwrap()).await;
        late.send(&head).await;
        in_a_row = if late.answer().await.2 == "GET /g 0" { 0 } else { in_a_row + 1 };
    }
    early.send(&head).await;
    assert_eq!(early.body().await, "GET /g 0", "a connection keeps what it began with");
    drop(early);
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}

#[actix_web::test]
async fn a_panic_costs_its_connection_only() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.assert_ends().await;
        for _ in 0..8 {
            let mut client = Client::connect(address).await;
            client.send(GET).await;
            assert_eq!(client.body().await, "GET /g 0");
        }
    })
    .await;
}

#[actix_web::test]
async fn connections_beyond_the_maximum_wait_for_a_seat() {
    let running = start(Config { max_connections: 2, ..config() }, &Gates::new()).await;
    let mut first = Client::connect(running.address().unwrap()).await;
    let mut second = Client::connect(running.address().unwrap()).await;
    for client in [&mut first, &mut second] {
        client.send(GET).await;
        assert_eq!(client.body().await, "GET /g 0");
    }
    let mut third = Client::connect(running.address().unwrap()).await;
    third.send(GET).await;
    for client in [&mut first, &mut second] {
        client.send(GET).await;
        assert_eq!(client.body().await, "GET /g 0");
    }
    assert_eq!(running.connections(), 2);
    drop(first);
    assert_eq!(third.body().await, "GET /g 0");
    assert_eq!(running.connections(), 2);
    running.cut().await;
    running.stop();
}

#[actix_web::test]
async fn a_drain_closes_idle_connections_and_lets_requests_finish() {
    let gates = Gates::new();
    let running = start(config(), &gates).await;
    let mut idle = Client::connect(running.address().unwrap()).await;
    idle.send(GET).await;
    assert_eq!(idle.body().await, "GET /g 0");
    let mut busy = Client::connect(running.address().unwrap()).await;
    busy.send("PATCH /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh").await;
    pass(&gates.begun).await;

    assert!(matches!(running.drain(Duration::ZERO).await, Drained::Remaining(1..=2)));
    idle.assert_ends().await;
    // Each arbiter lets go of the listener in its own time.
    let refused = async {
        loop {
            if let Err(error) = TcpStream::connect(running.address().unwrap()).await {
                break error.kind();
            }
        }
    };
    assert_eq!(timeout(DEADLINE, refused).await.unwrap(), std::io::ErrorKind::ConnectionRefused);

    gates.open.add_permits(1);
    busy.send(format!("i{GET}")).await;
    let (status, lines, body) = busy.answer().await;
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "PATCH /hold 2"));
    assert!(lines.contains("connection: close"), "{lines}");
    busy.assert_ends().await;
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    assert_eq!(running.connections(), 0);
    running.stop();
}

#[actix_web::test]
async fn a_cut_drops_the_handlers_that_remain() {
    let gates = Gates::new();
    let running = start(config(), &gates).await;
    let mut busy = Client::connect(running.address().unwrap()).await;
    busy.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    pass(&gates.begun).await;
    assert_eq!(running.drain(Duration::ZERO).await, Drained::Remaining(1));
    assert_eq!(gates.dropped.available_permits(), 0);
    running.cut().await;
    pass(&gates.dropped).await;
    busy.assert_ends().await;
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}
