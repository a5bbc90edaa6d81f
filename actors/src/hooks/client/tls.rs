//! Connections to hooks, plain or by TLS: whom they trust, and who they are.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use crate::hooks::SetupError;

/// How a hook is known by its certificate, and how it knows the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that are trusted besides those that the machine trusts (PEM).
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, if one is asked for.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether a hook must have a certificate that is trusted. Without, anybody on the way can read and answer.
    pub verify: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Self { ca_file: None, client_certificate: None, verify: true }
    }
}

/// A certificate of the server's own, for hooks that ask for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and behind it those that lead to its root (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// After so long without a sign of the other end a connection is given up.
const VANISHED: Duration = Duration::from_secs(30);

/// Makes connections.
pub(in crate::hooks) type Connector = HttpsConnector<HttpConnector>;

/// A connector that speaks these protocols (their names in TLS). Files are read for a hook that is asked over TLS only.
pub(in crate::hooks) fn connector(tls: &Tls, is_secure: bool, protocols: &[&[u8]]) -> Result<Connector, SetupError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::new("tls", error.to_string()))?;
    let builder = if !is_secure {
        builder.with_root_certificates(RootCertStore::empty())
    } else if tls.verify {
        builder.with_root_certificates(roots(tls.ca_file.as_deref())?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider }))
    };
    let mut config = match tls.client_certificate.as_ref().filter(|_| is_secure) {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { certificate, key }) => {
            let chain = certificates("client_certificate", certificate)?;
            let wrong =
                |problem: String| SetupError::new("client_certificate", format!("{}: {problem}", key.display()));
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(error.to_string()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| wrong(error.to_string()))?
        }
    };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // A hook whose machine has vanished is found out, also on a connection that has been kept.
    tcp.set_keepalive(Some(VANISHED));
    tcp.set_tcp_user_timeout(Some(VANISHED));
    Ok(HttpsConnector::from((tcp, Arc::new(config))))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    // What of the machine's can't be read is left out: others are there, or there are none, which is seen below.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        for certificate in certificates("ca_file", file)? {
            let added = roots.add(certificate);
            added.map_err(|error| SetupError::new("ca_file", format!("{}: {error}", file.display())))?;
        }
    }
    if roots.is_empty() {
        return Err(SetupError::new("ca_file", "is not given, and the machine trusts nobody by itself"));
    }
    Ok(roots)
}

fn certificates(field: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let wrong = |problem: String| SetupError::new(field, format!("{}: {problem}", file.display()));
    let read = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() { Err(wrong("has no certificate".to_owned())) } else { Ok(certificates) }
}

/// Takes any certificate, of whoever has its key.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
