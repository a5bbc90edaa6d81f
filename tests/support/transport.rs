//! How the tests' client reaches the server: by TCP, by TLS over TCP, or by a Unix socket.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use super::process::PATIENCE;

/// An open connection.
pub(super) enum Transport {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Transport {
    pub(super) fn tcp(address: SocketAddr) -> Transport {
        Transport::Tcp(connect(address))
    }

    /// The handshake comes with the first bytes that are sent or awaited.
    pub(super) fn tls(address: SocketAddr, config: Arc<ClientConfig>) -> Transport {
        let name = ServerName::try_from("wharf.test").expect("a name");
        let connection = ClientConnection::new(config, name).expect("a client");
        Transport::Tls(Box::new(StreamOwned::new(connection, connect(address))))
    }

    pub(super) fn unix(path: &Path) -> Transport {
        let stream = UnixStream::connect(path).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
        Transport::Unix(stream)
    }

    /// The socket beneath, if it is one of TCP.
    pub(super) fn socket(&self) -> Option<&TcpStream> {
        match self {
            Transport::Tcp(stream) => Some(stream),
            Transport::Tls(stream) => Some(&stream.sock),
            Transport::Unix(_) => None,
        }
    }

    /// The handshake's certificate, as the server sent it.
    pub(super) fn certificate(&self) -> Option<Vec<u8>> {
        let Transport::Tls(stream) = self else { return None };
        stream.conn.peer_certificates().and_then(|chain| chain.first()).map(|certificate| certificate.to_vec())
    }

    pub(super) fn set_nonblocking(&self, on: bool) {
        let set = match self {
            Transport::Tcp(stream) => stream.set_nonblocking(on),
            Transport::Tls(stream) => stream.sock.set_nonblocking(on),
            Transport::Unix(stream) => stream.set_nonblocking(on),
        };
        set.expect("a socket that does or doesn't block");
    }

    /// Ends the sending direction, with a word to TLS.
    pub(super) fn finish(&mut self) {
        if let Transport::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        self.hang_up();
    }

    /// Ends the sending direction of the socket, whatever TLS thinks of it.
    pub(super) fn hang_up(&mut self) {
        // A server that has closed already needs no end.
        let _ = match self {
            Transport::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Transport::Tls(stream) => stream.sock.shutdown(Shutdown::Write),
            Transport::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Puts these bytes into a record of TLS, and sends the first half of it.
    pub(super) fn send_half_a_record(&mut self, bytes: &[u8]) {
        let Transport::Tls(stream) = self else { panic!("a connection without records") };
        stream.conn.writer().write_all(bytes).expect("room for a record");
        let mut record = Vec::new();
        stream.conn.write_tls(&mut record).expect("a record");
        stream.sock.write_all(&record[..record.len() / 2]).expect("the server takes bytes");
    }

    /// Closes it with a reset, where there is such a thing.
    pub(super) fn reset(self) {
        if let Some(socket) = self.socket() {
            let linger = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
            linger.expect("a connection to reset");
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a write timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

impl Read for Transport {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.read(bytes),
            Transport::Tls(stream) => stream.read(bytes),
            Transport::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
            Transport::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Tcp(stream) => stream.flush(),
            Transport::Tls(stream) => stream.flush(),
            Transport::Unix(stream) => stream.flush(),
        }
    }
}

/// Whether an error says that the server has gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}
