//! TLS: certificates and keys from their files, others in their place while connections go on, and handshakes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::socket::Socket;
use super::stream::{Records, Stream};
use super::wire::Limits;

/// What one gets who speaks plain HTTP where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 38\r\n\
    Connection: close\r\n\r\nhttps is spoken here, not plain http.\n";

/// The files, and what is asked of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those that lead to its root (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// Whether only TLS 1.3 is spoken.
    pub only_1_3: bool,
    /// Whose certificates clients must have (PEM); `None` when they need none.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with the files, and with which.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It is not there, or not for us.
    #[error("{} can't be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is no PEM, or not what it should be.
    #[error("{}: {reason}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The two don't belong together.
    #[error("the key in {} is not that of the certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The library takes none of it.
    #[error("TLS can't be set up")]
    Setup(#[from] Error),
}

/// What was read from the files.
#[derive(PartialEq, Eq)]
struct Material {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

struct Current {
    files: TlsFiles,
    material: Material,
    config: Arc<ServerConfig>,
}

/// A listener's certificates, to be renewed while it listens. Connections that are open keep what they began with.
#[derive(Clone)]
pub struct TlsHandle {
    current: Arc<watch::Sender<Current>>,
}

/// What files held when they were read, ready for use.
pub struct Fresh(Current);

impl TlsHandle {
    /// Reads the files.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = Current::of(Material::read(&files)?, files)?;
        Ok(Self { current: Arc::new(watch::Sender::new(current)) })
    }

    /// Reads files, the same as before or others; `None` when nothing is new. Nothing changes yet.
    pub fn read(&self, files: TlsFiles) -> Result<Option<Fresh>, TlsError> {
        let material = Material::read(&files)?;
        let is_known = {
            let current = self.current.borrow();
            current.material == material && current.files == files
        };
        if is_known { Ok(None) } else { Current::of(material, files).map(|current| Some(Fresh(current))) }
    }

    /// From now on handshakes use this.
    pub fn renew(&self, fresh: Fresh) {
        self.current.send_replace(fresh.0);
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.borrow().config)
    }
}

impl TlsError {
    /// The file that is to blame, if it is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unreadable { path, .. } | Self::Unusable { path, .. } | Self::Mismatch { key: path, .. } => {
                Some(path)
            }
            Self::Setup(_) => None,
        }
    }

    /// The whole of it, in a line.
    #[must_use]
    pub fn chain(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
            Self::Setup(source) => format!("{self}: {source}"),
            Self::Unusable { .. } | Self::Mismatch { .. } => self.to_string(),
        }
    }
}

impl Material {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read =
            |path: &PathBuf| fs::read(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source });
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_ref().map(read).transpose()?,
        })
    }
}

impl Current {
    fn of(material: Material, files: TlsFiles) -> Result<Self, TlsError> {
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        let provider = Arc::new(ring::default_provider());
        let certified = certified(&material, &files, &provider)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(if files.only_1_3 { NEWEST } else { BOTH })?;
        let builder = match (&material.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem, path)? {
                    roots.add(certificate).map_err(|error| unusable(path, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(path, error))?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files, material, config: Arc::new(config) })
    }
}

fn certified(material: &Material, files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&material.certificate, &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&material.key).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable(&files.key, "there is no private key in it"),
        error => unusable(&files.key, error),
    })?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| unusable(&files.key, error))?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { key: files.key.clone(), certificate: files.certificate.clone() })
        }
        Err(error) => Err(unusable(&files.certificate, error)),
    }
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let number = certificates.len() + 1;
        let certificate = certificate.map_err(|error| unusable(path, format!("certificate {number}: {error}")))?;
        ParsedCertificate::try_from(&certificate)
            .map_err(|error| unusable(path, format!("certificate {number}: {error}")))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(unusable(path, "there is no certificate in it"));
    }
    Ok(certificates)
}

fn unusable(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), reason: reason.to_string() }
}

/// Does the server's part of the handshake, within the time that a head may take.
pub(super) async fn accept(handle: &TlsHandle, socket: Socket, limits: Limits) -> io::Result<Stream> {
    let accepting = TlsAcceptor::from(handle.config()).accept(Records::new(socket)).into_fallible();
    match timeout(limits.head_timeout, accepting).await {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream))),
        Ok(Err((error, records))) => {
            let is_text = records.is_text();
            let mut socket = records.into_socket();
            if is_text {
                // A socket that has just been opened takes these few bytes; if not, there is nobody to read them.
                let _ = timeout(limits.linger, socket.write_all(NOT_TLS)).await;
            }
            // So that the client sees the answer, or rustls' alert.
            socket.discard(limits.linger).await;
            Err(error)
        }
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
    }
}
