//! TLS that trusts whom the system trusts, and the authority that was named.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{answer::excerpt, wire::Failure};

/// The client's side of TLS.
///
/// # Errors
/// When there is nobody to trust.
pub(super) fn connector(authority: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = authority {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
        let before = roots.len();
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.len() == before {
            return Err(wrong(&"there is no certificate in it"));
        }
    }
    if roots.is_empty() {
        return Err("the system has none; name some with --ca".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Greets the server on a connection.
pub(super) async fn greet(tls: &TlsConnector, host: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Failure> {
    let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Connect(error.to_string()))?;
    tls.connect(name, stream).await.map_err(|error| failure(&error))
}

fn failure(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let text = excerpt(&error.to_string());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            Failure::Certificate(format!("{text}: neither the system nor --ca knows who signed it"))
        }
        Some(rustls::Error::InvalidCertificate(_)) => Failure::Certificate(text),
        _ => Failure::Connect(format!("no TLS: {text}")),
    }
}
