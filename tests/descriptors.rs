//! What the server does without file descriptors. A process of its own, because the limit is the process's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::sync::mpsc;
use std::time::Duration;

use actix_web::{App, HttpResponse, web};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use slog::{Drain, Logger, OwnedKVList, Record, o};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use wharf::server::wire::Limits;
use wharf::server::{Config, Expect, Patience, bind, serve};

const DEADLINE: Duration = Duration::from_secs(20);

/// Hands on the messages of the log.
struct Told(mpsc::SyncSender<String>);

impl Drain for Told {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), slog::Never> {
        let _ = self.0.try_send(record.msg().to_string());
        Ok(())
    }
}

#[actix_web::test]
async fn accepting_pauses_while_no_descriptor_is_free() {
    let (tell, told) = mpsc::sync_channel(16);
    let limits = Limits {
        head_max_bytes: 8192,
        head_timeout: DEADLINE,
        write_timeout: DEADLINE,
        linger: Duration::from_secs(1),
    };
    let patience = tokio::sync::watch::channel(Patience { keep_alive: DEADLINE, limits }).1;
    let config = Config { arbiters: 2, max_connections: 0, patience };
    let listener = bind("127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let app = || App::new().default_service(web::to(HttpResponse::Ok));
    let expect = || -> Expect { Box::new(|request| Box::pin(async move { Ok(request) })) };
    let running = serve(config, listener, Logger::root(Told(tell), o!()), app, expect).await.unwrap();

    let socket = TcpSocket::new_v4().unwrap();
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: hard }).unwrap();
    let files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!files.is_empty());

    let mut client = socket.connect(running.address().unwrap()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let message = tokio::task::spawn_blocking(move || told.recv_timeout(DEADLINE)).await.unwrap();
    assert_eq!(message.unwrap(), "accepting connections paused");
    assert_eq!(running.connections(), 0);

    drop(files);
    let mut answer = String::new();
    timeout(DEADLINE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    running.cut().await;
    running.stop();
}
