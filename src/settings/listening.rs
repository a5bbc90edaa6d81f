//! Where a listener is, and what it needs to speak TLS: the same keys in each section that has one.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// At an address; port 0 takes a free one.
    Address(SocketAddr),
    /// At a path, by a Unix socket.
    Unix(PathBuf),
    /// On a socket that systemd has opened: the one of this name, or the only one.
    Systemd(Option<String>),
}

impl Bind {
    /// Reads `127.0.0.1:8080`, `unix:/run/wharf.sock`, `systemd` or `systemd:NAME`; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err("must have a path after unix:, such as unix:/run/wharf/wharf.sock".to_owned()),
                _ if path.contains('\0') || path.ends_with('/') => Err("must be a file's path after unix:".to_owned()),
                _ => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            // What FileDescriptorName= takes.
            let is_name = (1..=255).contains(&name.len())
                && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b':');
            let name = is_name.then(|| Self::Systemd(Some(name.to_owned())));
            return name
                .ok_or_else(|| "must have a socket's name after systemd:, of plain ASCII and no colon".to_owned());
        }
        text.parse().map(Self::Address).map_err(|_| {
            "must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH, systemd or systemd:NAME"
                .to_owned()
        })
    }

    /// Whether nobody on another machine can get there. What systemd has opened may be anything.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Address(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
            Self::Systemd(_) => false,
        }
    }
}

/// The oldest TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// A section `tls`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The file with the certificate and those that lead to its root.
    pub certificate: PathBuf,
    /// The file with its key.
    pub key: PathBuf,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The file with those whose certificates clients must have; `None` when they need none.
    pub client_ca: Option<PathBuf>,
}

impl Tls {
    /// Every file that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        for (text, bind, is_local) in [
            ("127.0.0.1:8080", Bind::Address(([127, 0, 0, 1], 8080).into()), true),
            ("[::]:0", Bind::Address(([0_u16; 8], 0).into()), false),
            ("unix:/run/a b.sock", Bind::Unix("/run/a b.sock".into()), true),
            ("unix:wharf.sock", Bind::Unix("wharf.sock".into()), true),
            ("systemd", Bind::Systemd(None), false),
            ("systemd:wharf.socket", Bind::Systemd(Some("wharf.socket".to_owned())), false),
        ] {
            assert_eq!(Bind::parse(text), Ok(bind), "{text}");
            assert_eq!(Bind::parse(text).unwrap().is_local(), is_local, "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "8080",
            "localhost:80",
            "127.0.0.1",
            "unix",
            "unix:",
            "unix:/run/",
            "unix:a\0b",
            "Unix:/a",
            "systemd:",
            "systemd:a:b",
            "systemd:\n",
            "systemd ",
            "fd:3",
            "127.0.0.1:99999",
        ] {
            assert!(Bind::parse(text).is_err(), "{text:?} was taken");
        }
    }
}
