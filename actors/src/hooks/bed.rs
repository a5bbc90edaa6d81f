//! What the tests of transports have in common: an event, a server that answers as it is told, certificates.

use std::{
    collections::BTreeMap,
    fs,
    future::pending,
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::interval,
};
use tokio_rustls::TlsAcceptor;

use super::{
    Call, Caller, Event, EventKind, Notice, UploadFacts,
    client::{Attempts, ClientCertificate},
};

/// Longer than any call takes that is to end by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// An event with something in each field.
pub(super) fn notice(kind: EventKind) -> Arc<Notice> {
    let texts = |entries: &[(&str, &str)]| {
        let owned = entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect::<BTreeMap<_, _>>()
    };
    let upload = UploadFacts {
        id: "a1b2".into(),
        size: 7,
        size_is_deferred: false,
        offset: 5,
        meta_data: texts(&[("filename", "\u{fc}.txt"), ("empty", "")]),
        is_partial: false,
        is_final: true,
        partial_uploads: Some(vec!["p1".into(), "p2".into()]),
        storage: Some(texts(&[("Type", "filestore"), ("Path", "/d/a1b2")])),
    };
    let caller = Caller {
        method: "PATCH".into(),
        uri: "/files/a1b2?x=y".into(),
        remote_addr: "10.0.0.7:55492".into(),
        header: [
            ("Authorization".to_owned(), vec!["Bearer t".to_owned()]),
            ("Cookie".to_owned(), vec!["a=1".to_owned(), "b=2".to_owned()]),
            ("Host".to_owned(), vec!["up.example".to_owned()]),
        ]
        .into(),
    };
    let event = Event { upload, caller: Arc::new(caller), cause: Some("because".into()) };
    Arc::new(Notice::new(Call { kind, event }).unwrap())
}

/// Three tries with a short pause, and this time for all of them.
pub(super) fn attempts(timeout: Duration) -> Attempts {
    Attempts { most: NonZeroU32::new(3).unwrap(), backoff: Duration::from_millis(1), timeout }
}

/// What a server does about a request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// Answers, and waits for the next one.
    Answer(String),
    /// Sends this, and closes.
    Close(String),
    /// Closes without having read.
    Reset,
    /// Does nothing.
    Hang,
    /// Sends the first, and then the second again and again, as fast as it goes.
    Endless(&'static str, &'static str),
    /// The same, but slowly.
    Drip(&'static str, &'static str),
}

impl Reply {
    /// A whole answer.
    pub(super) fn whole(head: &str, body: &str) -> Self {
        Self::Answer(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// An answer in JSON.
    pub(super) fn json(body: &str) -> Self {
        Self::whole("200 OK\r\nContent-Type: application/json", body)
    }
}

/// A request as it came.
#[derive(Debug)]
pub(super) struct Seen {
    /// The how manyth connection it came by, from 0 on.
    pub(super) connection: usize,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// The value of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// A server on this machine.
pub(super) struct Server {
    pub(super) port: u16,
    seen: mpsc::UnboundedReceiver<Seen>,
    gone: mpsc::UnboundedReceiver<()>,
}

impl Server {
    /// One that does this about the first requests, and the last of it about all others.
    pub(super) async fn start(replies: Vec<Reply>) -> Self {
        Self::start_with(replies, None).await
    }

    /// The same by TLS.
    pub(super) async fn start_with(replies: Vec<Reply>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen_by, seen) = mpsc::unbounded_channel();
        let (gone_by, gone) = mpsc::unbounded_channel();
        let script = Script { replies: replies.into(), next: Arc::default(), seen: seen_by, gone: gone_by };
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
        Self { port, seen, gone }
    }

    /// The next request that came.
    pub(super) async fn request(&mut self) -> Seen {
        self.seen.recv().await.unwrap()
    }

    /// How many requests have come that nobody has asked for.
    pub(super) fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.seen.try_recv().ok()).count()
    }

    /// Until a connection that hung has been closed from the other end.
    pub(super) async fn left(&mut self) {
        self.gone.recv().await.unwrap();
    }
}

#[derive(Clone)]
struct Script {
    replies: Arc<[Reply]>,
    next: Arc<AtomicUsize>,
    seen: mpsc::UnboundedSender<Seen>,
    gone: mpsc::UnboundedSender<()>,
}

impl Script {
    async fn play<S: AsyncRead + AsyncWrite + Unpin>(self, mut socket: S, connection: usize) {
        loop {
            let Some(mut seen) = head(&mut socket).await else { return };
            let turn = self.next.fetch_add(1, Ordering::Relaxed).min(self.replies.len() - 1);
            let reply = &self.replies[turn];
            seen.connection = connection;
            if matches!(reply, Reply::Reset) {
                // The body is left unread: the system answers that with a reset.
                let _ = self.seen.send(seen);
                return;
            }
            let length = seen.field("Content-Length").map_or(0, |length| length.parse().unwrap());
            seen.body.resize(length, 0);
            socket.read_exact(&mut seen.body).await.unwrap();
            let _ = self.seen.send(seen);
            let goes_on = match reply {
                Reply::Answer(text) => socket.write_all(text.as_bytes()).await.is_ok(),
                Reply::Close(text) => socket.write_all(text.as_bytes()).await.is_err(),
                Reply::Endless(first, rest) => repeat(&mut socket, first, rest, None).await,
                Reply::Drip(first, rest) => repeat(&mut socket, first, rest, Some(Duration::from_millis(2))).await,
                Reply::Hang => {
                    let ended = socket.read(&mut [0]).await;
                    assert!(matches!(ended, Ok(0) | Err(_)), "more came");
                    let _ = self.gone.send(());
                    false
                }
                Reply::Reset => pending().await,
            };
            if !goes_on {
                return;
            }
        }
    }
}

async fn repeat<S: AsyncWrite + Unpin>(socket: &mut S, first: &str, rest: &str, pause: Option<Duration>) -> bool {
    let mut pace = pause.map(interval);
    let mut sent = socket.write_all(first.as_bytes()).await;
    while sent.is_ok() {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        sent = socket.write_all(rest.as_bytes()).await;
    }
    false
}

/// Reads up to the end of a head; `None` when the connection ends.
async fn head<S: AsyncRead + Unpin>(socket: &mut S) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(Seen { connection: 0, head: String::from_utf8(head).unwrap(), body: Vec::new() })
}

/// A port on which nobody listens.
pub(super) async fn closed_port() -> u16 {
    // One that is taken for a connection, so that no other test gets it to listen on.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget((listener, socket));
    port
}

/// Certificates for a server and its client, in files of a directory that goes with this.
pub(super) struct Certificates {
    directory: tempfile::TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        fs::write(directory.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { directory, authority: Issuer::new(params, key) }
    }

    /// The authority's own.
    pub(super) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Files with a certificate for a host, and its key.
    pub(super) fn issue(&self, host: &str) -> ClientCertificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        let files = ["pem", "key"].map(|ending| self.directory.path().join(format!("{host}.{ending}")));
        fs::write(&files[0], certificate.pem()).unwrap();
        fs::write(&files[1], key.serialize_pem()).unwrap();
        let [certificate, key] = files;
        ClientCertificate { certificate, key }
    }

    /// What a server shows that is that host, and whether it asks clients for a certificate of this authority.
    pub(super) fn acceptor(&self, host: &str, asks: bool, protocol: &[u8]) -> TlsAcceptor {
        let files = self.issue(host);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.ca_file()).unwrap()).unwrap();
            let provider = Arc::new(ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let certificate = CertificateDer::from_pem_file(files.certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(files.key).unwrap();
        let mut config = builder.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}
