//! The floor for many connections that send a little now and then: one thread, which waits for all of them at once, with one
//! buffer for whatever comes next. What has come is written at once, in one call. It takes POST without a body, PATCH and HEAD.

use std::{
    cell::RefCell,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    sync::{Arc, atomic::Ordering},
};

use tokio::net::{TcpListener, TcpStream};

use super::{BUFFER_BYTES, Floor, Method, Request, file_of, parse};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER_BYTES]);
}

/// Serves for ever.
///
/// # Errors
/// When it can't listen.
pub(super) async fn serve(listener: std::net::TcpListener, floor: Arc<Floor>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let floor = Arc::clone(&floor);
        tokio::spawn(async move {
            // Whoever is gone has no use for an answer.
            let _ = Served { floor, stream, head: Vec::new(), body: None }.run().await;
        });
    }
}

/// A connection.
struct Served {
    floor: Arc<Floor>,
    stream: TcpStream,
    /// What has come of a head that is not whole yet.
    head: Vec<u8>,
    body: Option<Body>,
}

/// The body of a PATCH on its way to its file.
struct Body {
    file: File,
    at: u64,
    end: u64,
}

impl Served {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        loop {
            self.stream.readable().await?;
            let read: io::Result<usize> = BUFFER.with_borrow_mut(|buffer| {
                let count = self.stream.try_read(buffer)?;
                self.take(&buffer[..count])?;
                Ok(count)
            });
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what has come: one head, or more of one, or of a body. A client that awaits its answers sends no two at once.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.body.is_some() {
            return self.append(bytes);
        }
        self.head.extend_from_slice(bytes);
        let Some((request, end)) = parse(&self.head)? else { return Ok(()) };
        let rest = std::mem::take(&mut self.head).split_off(end);
        match request.method {
            Method::Post => self.create(),
            Method::Patch => {
                self.body = Some(self.open(&request)?);
                self.append(&rest)
            }
            Method::Head => {
                let length = std::fs::metadata(file_of(&self.floor.dir, &request.path))?.len();
                self.answer(&format!("200 OK\r\nUpload-Offset: {length}\r\nCache-Control: no-store"))
            }
            Method::Get | Method::Delete => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn create(&self) -> io::Result<()> {
        let number = self.floor.created.fetch_add(1, Ordering::Relaxed);
        File::create_new(self.floor.dir.join(number.to_string()))?;
        self.answer(&format!("201 Created\r\nLocation: /files/{number}\r\nUpload-Offset: 0\r\nContent-Length: 0"))
    }

    fn open(&self, request: &Request) -> io::Result<Body> {
        let file = OpenOptions::new().write(true).open(file_of(&self.floor.dir, &request.path))?;
        Ok(Body { file, at: request.offset, end: request.offset + request.length })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(body) = &mut self.body else { return Ok(()) };
        body.file.write_all_at(bytes, body.at)?;
        body.at += bytes.len() as u64;
        if body.at < body.end {
            return Ok(());
        }
        let at = body.at;
        self.body = None;
        self.answer(&format!("204 No Content\r\nUpload-Offset: {at}"))
    }

    /// An answer is so short that the socket takes it whole.
    fn answer(&self, text: &str) -> io::Result<()> {
        let text = format!("HTTP/1.1 {text}\r\nTus-Resumable: 1.0.0\r\n\r\n");
        let sent = self.stream.try_write(text.as_bytes())?;
        if sent == text.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }
}
