//! A client of each kind, each with a server of its own and a proxy before it.
#![allow(clippy::unwrap_used, reason = "a helper of tests")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
#[cfg(feature = "rusoto")]
use wharf_actors::storage::s3::client::rusoto::Rusoto;
use wharf_actors::storage::s3::client::{Attributes, Client, ClientError, Config, ErrorKind, Keys, Object, aws::Aws};
use wharf_s3_testbed::{Bed, Options, Proxy};

pub(crate) const KEY: &str = "uploads/ä b+c";
pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) struct Rig {
    pub(crate) name: &'static str,
    pub(crate) bed: Bed,
    pub(crate) proxy: Proxy,
    pub(crate) client: Arc<dyn Client>,
}

/// How a client reaches a bed by the given URL.
pub(crate) fn config(bed: &Bed, endpoint: String) -> Config {
    Config {
        bucket: bed.bucket().to_owned(),
        region: Some(bed.region().to_owned()),
        endpoint: Some(endpoint),
        path_style: true,
        keys: Some(Keys { id: bed.access_key().to_owned(), secret: bed.secret_key().to_owned() }),
        payload_hash: false,
        part_checksum: false,
        connect_timeout: Duration::from_secs(30),
        attempt_timeout: Duration::from_secs(60),
        slowest_bytes_per_second: 1024,
    }
}

/// One client of each kind.
pub(crate) async fn clients(config: &Config) -> Vec<(&'static str, Arc<dyn Client>)> {
    vec![
        ("aws", Arc::new(Aws::connect(config.clone()).await)),
        #[cfg(feature = "rusoto")]
        ("rusoto", Arc::new(Rusoto::connect(config.clone()))),
    ]
}

/// What opened the connections of one client of each kind is gone: they have others, and the same credentials.
pub(crate) async fn siblings(config: &Config) -> Vec<(&'static str, Arc<dyn Client>)> {
    vec![
        ("aws", Arc::new(Aws::connect(config.clone()).await.sibling())),
        #[cfg(feature = "rusoto")]
        ("rusoto", Arc::new(Rusoto::connect(config.clone()).sibling())),
    ]
}

pub(crate) async fn rigs() -> Vec<Rig> {
    rigs_with(Options::default, |_| {}).await
}

pub(crate) async fn rigs_with(options: impl Fn() -> Options, change: impl Fn(&mut Config)) -> Vec<Rig> {
    let mut rigs = Vec::new();
    loop {
        let bed = Bed::start_with(options()).unwrap();
        let proxy = Proxy::start(&bed.endpoint());
        let mut config = config(&bed, proxy.endpoint());
        change(&mut config);
        let clients = clients(&config).await;
        let count = clients.len();
        let (name, client) = clients.into_iter().nth(rigs.len()).unwrap();
        rigs.push(Rig { name, bed, proxy, client });
        if rigs.len() == count {
            return rigs;
        }
    }
}

/// Bytes in which no two places look alike.
pub(crate) fn pattern(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(next).collect()
}

/// The bytes in pieces of which one is empty.
pub(crate) fn pieces(bytes: &Bytes) -> Vec<Bytes> {
    let middle = bytes.len() / 3;
    vec![bytes.slice(..middle), Bytes::new(), bytes.slice(middle..)]
}

pub(crate) fn attributes() -> Attributes {
    let metadata = [("filename", "men?.txt"), ("empty", ""), ("x", "a  b,c;d=\"e\"")];
    let metadata: BTreeMap<_, _> = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Attributes { metadata, content_type: Some("text/plain; charset=utf-8".to_owned()) }
}

/// All of a body; what came before an error, and the error.
pub(crate) async fn read(object: Object) -> (Vec<u8>, Option<ClientError>) {
    let mut body = object.body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => return (bytes, Some(error)),
        }
    }
    (bytes, None)
}

/// What a failed call is known for.
#[track_caller]
pub(crate) fn failure<T: std::fmt::Debug>(outcome: Result<T, ClientError>) -> (ErrorKind, Option<String>) {
    let error = outcome.unwrap_err();
    (error.kind, error.code)
}

pub(crate) fn coded(kind: ErrorKind, code: &str) -> (ErrorKind, Option<String>) {
    (kind, Some(code.to_owned()))
}

/// A server that hears one request after the other, and answers each by its number and its words. Its URL.
pub(crate) fn serve(answer: impl Fn(usize, &str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (number, socket) in listener.incoming().enumerate() {
            let mut socket = socket.unwrap();
            let mut reader = BufReader::new(socket.try_clone().unwrap());
            let (mut words, mut length) = (String::new(), 0);
            while !words.ends_with("\r\n\r\n") {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 {
                    break;
                }
                words.push_str(&line);
                let length_in = line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned);
                length = length_in.map_or(length, |value| value.trim().parse().unwrap());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            words.push_str(&String::from_utf8(body).unwrap());
            let (status, body) = answer(number, &words);
            let length = body.len();
            let head = format!("HTTP/1.1 {status} Hm\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            socket.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    url
}
