//! What the service manager is told of us (sd_notify(3)): that we are ready, read our files again, or end.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use rustix::time::{ClockId, clock_gettime};

/// The service manager, if one listens. What it doesn't hear harms nobody here, so nothing waits for it or fails.
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// The one at this address, which is the value of NOTIFY_SOCKET: a path, or an abstract name behind an `@`.
    #[must_use]
    pub fn at(address: Option<&OsStr>) -> Self {
        let open = |address: &OsStr| -> io::Result<_> {
            let address = match address.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name)?,
                None => SocketAddr::from_pathname(address)?,
            };
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        };
        Self { socket: address.and_then(|address| open(address).ok()) }
    }

    /// Connections are accepted; also said when files have been read again.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Files are being read again. To be followed by `ready`.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_it_at_a_path_and_at_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("wharf-notify-{}", std::process::id());
        let at_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (manager, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&at_name).unwrap(), format!("@{name}").into()),
        ] {
            let heard = || {
                let mut bytes = [0; 100];
                let count = manager.recv(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes[..count]).into_owned()
            };
            let notifier = Notifier::at(Some(&address));
            notifier.ready();
            assert_eq!(heard(), "READY=1");
            notifier.reloading();
            let reloading = heard();
            let moment = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
            assert!(moment > 0);
            notifier.stopping();
            assert_eq!(heard(), "STOPPING=1");
        }
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Notifier::at(None).ready();
        Notifier::at(Some(OsStr::new("/nowhere/notify"))).ready();
        Notifier::at(Some(OsStr::new("@"))).stopping();
    }
}
