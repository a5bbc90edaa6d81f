//! Sockets that the service manager has opened for us (sd_listen_fds(3)).

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

/// What systemd calls a socket that has no name.
const NAMELESS: &str = "unknown";

/// The sockets that were passed, each to be taken once.
pub struct Inherited {
    sockets: ListenFd,
    names: Vec<Option<String>>,
}

/// A socket that listens.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// Takes over what was passed, if it was meant for this process. Call it once, and first: the variables that speak of
    /// it are removed, so that no child believes in them.
    #[must_use]
    pub fn receive() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let mut names = names.split(':');
        let names = (0..sockets.len()).map(|_| names.next().filter(|name| !name.is_empty()).unwrap_or(NAMELESS));
        Self { names: names.map(|name| Some(name.to_owned())).collect(), sockets }
    }

    /// The names of those that nobody has taken: connections to them would wait for ever.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(String::as_str)
    }

    /// The socket of this name, or the only one that is left.
    pub(super) fn take(&mut self, name: Option<&str>) -> io::Result<Listener> {
        let left = self.names.iter().enumerate().filter_map(|(place, left)| Some((place, left.as_deref()?)));
        let left: Vec<(usize, &str)> = left.collect();
        let fitting: Vec<usize> =
            left.iter().filter(|(_, left)| name.is_none_or(|name| name == *left)).map(|(place, _)| *place).collect();
        let [place] = fitting[..] else {
            let names = left.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
            let message = match (left.len(), fitting.len()) {
                (0, _) => "no socket was passed (LISTEN_FDS)".to_owned(),
                (_, 0) => format!("no socket of this name was passed; there are: {names}"),
                _ => format!("more than one socket fits, and one is needed; there are: {names}"),
            };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        self.names[place] = None;
        let listener = match self.sockets.take_unix_listener(place) {
            Ok(socket) => socket.map(Listener::Unix),
            Err(_) => self.sockets.take_tcp_listener(place)?.map(Listener::Tcp),
        };
        let listener = listener.ok_or_else(|| io::Error::other("the socket was taken already"))?;
        if listener.listens()? {
            listener.set_nonblocking()?;
            return Ok(listener);
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket does not listen (Accept=yes?)"))
    }
}

impl Listener {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => Ok(Self::Tcp(socket.try_clone()?)),
            Self::Unix(socket) => Ok(Self::Unix(socket.try_clone()?)),
        }
    }

    fn listens(&self) -> io::Result<bool> {
        Ok(match self {
            Self::Tcp(socket) => socket_acceptconn(socket)?,
            Self::Unix(socket) => socket_acceptconn(socket)?,
        })
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }
}
