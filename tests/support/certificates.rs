//! Certificates of the tests' own making, and the clients that trust or show them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// One that signs certificates.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a host that this authority signs.
    pub(crate) fn issue(&self, host: &str) -> Identity {
        let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// How a client connects that trusts this authority, and has a certificate or not.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        self.client_of(rustls::ALL_VERSIONS, identity)
    }

    /// The same with these versions of TLS only.
    pub(crate) fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("PEM")).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        Arc::new(match identity {
            Some(identity) => {
                let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(vec![certificate], key).expect("a client's certificate")
            }
            None => builder.with_no_client_auth(),
        })
    }
}

/// The files that a server reads its certificate from.
pub(crate) struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    pub(crate) fn of(identity: &Identity) -> Files {
        let files = Files { directory: tempfile::tempdir().expect("a temporary directory") };
        files.replace(identity);
        files
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.path().join("server.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.path().join("server.key")
    }

    /// Puts another certificate in place, file by file.
    pub(crate) fn replace(&self, identity: &Identity) {
        fs::write(self.certificate(), &identity.certificate).expect("a certificate's file");
        fs::write(self.key(), &identity.key).expect("a key's file");
    }

    /// A file beside these.
    pub(crate) fn beside(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// What makes a server use them.
    pub(crate) fn flags(&self) -> Vec<String> {
        self.flags_of("server")
    }

    /// What makes the listener of this section use them.
    pub(crate) fn flags_of(&self, section: &str) -> Vec<String> {
        let set = |key: &str, path: &Path| ["--set".to_owned(), format!("{section}.tls.{key}={}", path.display())];
        [set("certificate", &self.certificate()), set("key", &self.key())].concat()
    }
}
