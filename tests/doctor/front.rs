//! A proxy that does what nginx can't be told to.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
};

/// What a tus server says of an upload that another request has.
const LOCKED: &[u8] = b"HTTP/1.1 423 Locked\r\nTus-Resumable: 1.0.0\r\nContent-Length: 0\r\n\r\n";

/// How much of a body a server written in Go reads before it lets an answer out.
const GO_READS: u64 = 256 << 10;

/// What it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// It does not see its client go: the upload whose body was cut stays busy.
    Locks,
    /// It hands a body on when that is whole, or cut: then as much as has come, as Caddy does.
    Buffers,
    /// It hands bodies on as they come, and holds answers back, as all servers written in Go do: no mistake.
    HoldsAnswers,
}

/// It serves until the test's process ends.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
}

struct Site {
    upstream: SocketAddr,
    mistake: Mistake,
    /// Paths of uploads that are busy for ever.
    locked: Mutex<Vec<String>>,
    /// Where it buffers, a request goes on when the one before is done: none is interrupted by a HEAD.
    turn: Mutex<()>,
}

impl Front {
    /// Stands in front of this server. One connection has one request, as the doctor makes them.
    pub(crate) fn start(upstream: SocketAddr, mistake: Mistake) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let site = Arc::new(Site { upstream, mistake, locked: Mutex::default(), turn: Mutex::default() });
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let site = Arc::clone(&site);
                // What fails is a side's doing: it has closed.
                thread::spawn(move || site.serve(client));
            }
        });
        Front { address }
    }
}

impl Site {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut words = text.split(' ');
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path").to_owned());
        if method == "HEAD" && self.locked.lock().expect("the list").contains(&path) {
            return client.write_all(LOCKED);
        }
        let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<u64>().ok());
        // A client that asks before it sends is told to.
        let is_asking = text.contains("\r\nExpect: 100-continue\r\n");
        let mut buffered = Vec::new();
        let buffers = self.mistake == Mistake::Buffers;
        if buffers && !is_asking {
            client.try_clone()?.take(length.unwrap_or(0)).read_to_end(&mut buffered)?;
        }
        let _turn = buffers.then(|| self.turn.lock().expect("a turn"));
        let mut server = TcpStream::connect(self.upstream)?;
        server.write_all(&[head, buffered].concat())?;
        let (mut back, mut answers) = (client.try_clone()?, server.try_clone()?);
        let (release, released) = mpsc::channel::<()>();
        let answered = thread::spawn(move || {
            // Ends when the sender is dropped.
            let _ = released.recv();
            io::copy(&mut answers, &mut back)
        });
        let held = if self.mistake == Mistake::HoldsAnswers { length.unwrap_or(0).min(GO_READS) } else { 0 };
        let first = io::copy(&mut client.try_clone()?.take(held), &mut server);
        drop(release);
        let body = first? + io::copy(&mut client, &mut server)?;
        if self.mistake == Mistake::Locks
            && method == "PATCH"
            && length.is_some_and(|length| (1..length).contains(&body))
        {
            self.locked.lock().expect("the list").push(path);
        }
        server.shutdown(Shutdown::Write)?;
        // It may fail for want of a client.
        let _ = answered.join();
        Ok(())
    }
}
