//! A proxy that does not see its client go: the upload whose body was cut stays busy.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// What a tus server says of an upload that another request has.
const LOCKED: &[u8] = b"HTTP/1.1 423 Locked\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n\r\n";

/// Paths of uploads that are busy for ever.
type Locked = Arc<Mutex<Vec<String>>>;

/// It serves until the test's process ends.
pub(crate) struct Lock {
    pub(crate) address: SocketAddr,
}

impl Lock {
    /// Stands in front of this server. One connection has one request, as the doctor makes them.
    pub(crate) fn start(upstream: SocketAddr) -> Lock {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let locked = Locked::default();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let locked = Arc::clone(&locked);
                // What fails is a side's doing: it has closed.
                thread::spawn(move || serve(client, upstream, &locked));
            }
        });
        Lock { address }
    }
}

fn serve(mut client: TcpStream, upstream: SocketAddr, locked: &Locked) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (method, path) = text.split_once(' ').expect("a method");
    let path = path.split(' ').next().expect("a path").to_owned();
    if method == "HEAD" && locked.lock().expect("the list").contains(&path) {
        return client.write_all(LOCKED);
    }
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map(str::parse::<u64>);
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&head)?;
    let (mut back, mut answers) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut answers, &mut back));
    let body = io::copy(&mut client, &mut server)?;
    if method == "PATCH" && length.is_some_and(|length| length.is_ok_and(|length| body > 0 && body < length)) {
        locked.lock().expect("the list").push(path);
    }
    server.shutdown(Shutdown::Both)
}
