//! The way to the server that a suite takes: plain TCP, TLS in `tests/on_tls.rs`, a Unix socket in `tests/on_unix.rs`.

use std::{net::SocketAddr, sync::Arc};

use rustls::ClientConfig;

use super::{
    Client,
    certificates::{Authority, Files},
};

/// How a server is reached, with what has to be kept for that.
pub(super) enum Way {
    Tcp,
    Tls { files: Files, config: Arc<ClientConfig> },
    Unix { directory: tempfile::TempDir },
}

impl Way {
    /// The one for the tests of this harness, seen by its own path.
    pub(super) fn of_this_suite() -> Way {
        match module_path!().split("::").next() {
            Some("on_tls") => {
                let authority = Authority::new("wharf's tests");
                Way::Tls { files: Files::of(&authority.issue("wharf.test")), config: authority.client(None) }
            }
            Some("on_unix") => Way::Unix { directory: tempfile::tempdir().expect("a temporary directory") },
            _ => Way::Tcp,
        }
    }

    /// What the server must be started with.
    pub(super) fn flags(&self) -> Vec<String> {
        match self {
            Way::Tcp => Vec::new(),
            Way::Tls { files, .. } => files.flags(),
            Way::Unix { directory } => {
                vec!["--bind".to_owned(), format!("unix:{}", directory.path().join("wharf.sock").display())]
            }
        }
    }

    pub(super) fn connect(&self, address: SocketAddr) -> Client {
        match self {
            Way::Tcp => Client::connect(address),
            Way::Tls { config, .. } => Client::connect_tls(address, Arc::clone(config)),
            Way::Unix { directory } => Client::connect_unix(&directory.path().join("wharf.sock")),
        }
    }
}
