//! Tokens, servers that ask for them, and a place from which keys are fetched.

mod sign;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Response, Server};
pub(crate) use sign::*;

pub(crate) const RSA_PUBLIC: &str = include_str!("keys/rsa.pub.pem");
pub(crate) const EC_PUBLIC: &str = include_str!("keys/ec.pub.pem");

/// Seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs()
}

/// Claims that hold for ten minutes.
pub(crate) fn claims(subject: &str) -> Value {
    json!({"sub": subject, "exp": now() + 600})
}

/// A line for `Authorization` with a token of this head.
pub(crate) fn bearer_with(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    format!("Bearer {}", token(header, claims, sign))
}

/// A line for `Authorization` with a token for HS256.
pub(crate) fn bearer(claims: &Value) -> String {
    bearer_with(&json!({"alg": "HS256"}), claims, by_secret(SECRET))
}

/// One who sends requests.
pub(crate) struct Visitor<'a> {
    pub(crate) server: &'a Server,
    pub(crate) authorization: String,
}

impl Server {
    /// Starts the binary with a secret for tokens.
    pub(crate) fn start_guarded(flags: &[&str]) -> Server {
        let directory = tempfile::tempdir().expect("a temporary directory").keep();
        fs::write(directory.join("secret"), SECRET).expect("a secret");
        let secret = format!("auth.jwt.secret_file={}", directory.join("secret").display());
        let server = Server::start_watched(&[&["--set", secret.as_str()], flags].concat());
        // It is read at the start only, unless it changes.
        fs::remove_dir_all(directory).expect("the directory is there");
        server
    }

    /// One who has a token of this subject.
    pub(crate) fn as_subject(&self, subject: &str) -> Visitor<'_> {
        self.with_claims(&claims(subject))
    }

    /// One who has a token with these claims.
    pub(crate) fn with_claims(&self, claims: &Value) -> Visitor<'_> {
        Visitor { server: self, authorization: bearer(claims) }
    }
}

impl Visitor<'_> {
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let own = [("Authorization", self.authorization.as_str())];
        self.server.request(method, path, &[&own[..], headers].concat(), body)
    }

    #[track_caller]
    pub(crate) fn post(&self, headers: &[(&str, &str)]) -> Response {
        self.request("POST", &self.server.base, headers, b"")
    }

    #[track_caller]
    pub(crate) fn create_with(&self, headers: &[(&str, &str)]) -> String {
        let response = self.post(headers);
        assert_eq!(response.status, 201, "{response:?}: {}", response.text());
        response.path()
    }

    #[track_caller]
    pub(crate) fn create(&self, length: u64) -> String {
        self.create_with(&[("Upload-Length", &length.to_string())])
    }

    #[track_caller]
    pub(crate) fn patch(&self, path: &str, offset: u64, bytes: &[u8]) -> Response {
        let offset = offset.to_string();
        self.request("PATCH", path, &[super::OFFSET_TYPE, ("Upload-Offset", &offset)], bytes)
    }

    #[track_caller]
    pub(crate) fn uploaded_with(&self, headers: &[(&str, &str)], bytes: &[u8]) -> String {
        let length = bytes.len().to_string();
        let path = self.create_with(&[headers, &[("Upload-Length", length.as_str())]].concat());
        self.patch(&path, 0, bytes).appended(bytes.len() as u64);
        path
    }
}

/// A place from which keys are fetched, as long as the test runs.
pub(crate) struct KeyServer {
    address: SocketAddr,
    /// `None`: what is asked for can't be had now.
    set: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub(crate) fn start(set: Option<Value>) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let set = Arc::new(Mutex::new(set.map(|set| set.to_string())));
        let asked = Arc::<AtomicUsize>::default();
        let (shown, counted) = (Arc::clone(&set), Arc::clone(&asked));
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let Some(first) = lines.next() else { continue };
                assert_eq!(first, "GET /keys?all HTTP/1.1");
                lines.find(String::is_empty);
                counted.fetch_add(1, Ordering::SeqCst);
                let set = shown.lock().expect("the keys").clone();
                let (status, body) = set.map_or(("503 Not Now", String::new()), |set| ("200 OK", set));
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
                // Who asked may have gone.
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        KeyServer { address, set, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys?all", self.address)
    }

    /// From now on these keys are shown, or none.
    pub(crate) fn show(&self, set: Option<Value>) {
        *self.set.lock().expect("the keys") = set.map(|set| set.to_string());
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A set with the key for ES256 under each of these names.
pub(crate) fn key_set(names: &[&str]) -> Value {
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(EC_PUBLIC.as_bytes()).expect("a key");
    let der: rustls::pki_types::SubjectPublicKeyInfoDer<'_> = der;
    // The point is at the end: two coordinates of 32 bytes.
    let [x, y] =
        [64..32, 32..0].map(|range| URL_SAFE_NO_PAD.encode(&der[der.len() - range.start..der.len() - range.end]));
    let key =
        |name: &&str| json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": name, "x": x, "y": y});
    json!({"keys": names.iter().map(key).collect::<Vec<_>>()})
}
