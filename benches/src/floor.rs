//! The floor: a bare server which reads the same requests and writes the same files as a tus server, and does nothing else.
//! Each connection has a thread, each upload a file. It knows no upload's length and keeps no state, so it is no tus server:
//! it is what one can't be cheaper than without another way to read or to write.

mod crowd;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// How much is read and written at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// The most headers that are read.
const HEADERS_MAX: usize = 32;
/// Like that of other servers, so that as much of each connection waits in its socket's buffers.
const STACK_BYTES: usize = 128 * 1024;

/// Where it listens and writes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    dir: PathBuf,
    /// Reads and discards what is uploaded: what it costs to receive alone
    #[arg(long)]
    discard: bool,
    /// One thread for all, which writes whatever has come: for many that send a little now and then
    #[arg(long, conflicts_with = "discard")]
    crowd: bool,
}

/// What all connections share.
struct Floor {
    dir: PathBuf,
    discard: bool,
    created: AtomicU64,
}

/// What is to be known of a request.
struct Request {
    method: Method,
    path: String,
    length: u64,
    offset: u64,
}

#[derive(Clone, Copy)]
enum Method {
    Post,
    Patch,
    Head,
    Get,
    Delete,
}

/// Serves for ever.
///
/// # Errors
/// When it can't listen.
pub(crate) async fn serve(options: Options) -> io::Result<()> {
    let Options { port, dir, discard, crowd } = options;
    std::fs::create_dir_all(&dir)?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let floor = Arc::new(Floor { dir, discard, created: AtomicU64::new(0) });
    if crowd {
        return crowd::serve(listener, floor).await;
    }
    loop {
        let (stream, _) = listener.accept()?;
        let floor = Arc::clone(&floor);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // Whoever is gone has no use for an answer.
            let _ = Exchange { floor: &floor, stream, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0 }.run();
        })?;
    }
}

/// A connection, with what has been read and not used.
struct Exchange<'a> {
    floor: &'a Floor,
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Exchange<'_> {
    fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        while let Some(request) = self.request()? {
            match request.method {
                Method::Post => self.create(&request)?,
                Method::Patch => self.append(&request)?,
                Method::Head => self.inspect(&request)?,
                Method::Get => self.download(&request)?,
                Method::Delete => self.delete(&request)?,
            }
        }
        Ok(())
    }

    /// The next head; nothing when the client has closed.
    fn request(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some((request, end)) = parse(&self.buffer[self.start..self.end])? {
                self.start += end;
                return Ok(Some(request));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match self.stream.read(&mut self.buffer[self.end..])? {
                0 => return Ok(None),
                count => self.end += count,
            }
        }
    }

    fn create(&mut self, request: &Request) -> io::Result<()> {
        let number = self.floor.created.fetch_add(1, Ordering::Relaxed);
        let file =
            (!self.floor.discard).then(|| File::create_new(self.floor.dir.join(number.to_string()))).transpose()?;
        self.receive(file.as_ref(), 0, request.length)?;
        let offset = request.length;
        self.answer(&format!(
            "201 Created\r\nLocation: /files/{number}\r\nUpload-Offset: {offset}\r\nContent-Length: 0"
        ))
    }

    fn append(&mut self, request: &Request) -> io::Result<()> {
        let file =
            (!self.floor.discard).then(|| OpenOptions::new().write(true).open(self.file(request))).transpose()?;
        self.receive(file.as_ref(), request.offset, request.length)?;
        self.answer(&format!("204 No Content\r\nUpload-Offset: {}", request.offset + request.length))
    }

    /// Reads until the buffer is full or the body ends, and then writes: large writes are what costs least.
    fn receive(&mut self, file: Option<&File>, mut offset: u64, length: u64) -> io::Result<()> {
        let end = offset + length;
        while offset < end {
            let wanted = usize::try_from(end - offset).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            if self.end - self.start < wanted {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            while self.end - self.start < wanted {
                match self.stream.read(&mut self.buffer[self.end..wanted])? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => self.end += count,
                }
            }
            if let Some(file) = file {
                file.write_all_at(&self.buffer[self.start..self.start + wanted], offset)?;
            }
            (self.start, offset) = (self.start + wanted, offset + wanted as u64);
        }
        Ok(())
    }

    fn inspect(&mut self, request: &Request) -> io::Result<()> {
        let length = std::fs::metadata(self.file(request))?.len();
        self.answer(&format!("200 OK\r\nUpload-Offset: {length}\r\nCache-Control: no-store"))
    }

    fn download(&mut self, request: &Request) -> io::Result<()> {
        let file = File::open(self.file(request))?;
        let length = file.metadata()?.len();
        self.answer(&format!("200 OK\r\nContent-Length: {length}"))?;
        let mut offset = 0;
        // The client has sent nothing beyond its request, so the buffer is free.
        (self.start, self.end) = (0, 0);
        while offset < length {
            let count = file.read_at(&mut self.buffer, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.stream.write_all(&self.buffer[..count])?;
            offset += count as u64;
        }
        Ok(())
    }

    fn delete(&mut self, request: &Request) -> io::Result<()> {
        std::fs::remove_file(self.file(request))?;
        self.answer("204 No Content")
    }

    fn answer(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(format!("HTTP/1.1 {text}\r\nTus-Resumable: 1.0.0\r\n\r\n").as_bytes())
    }

    fn file(&self, request: &Request) -> PathBuf {
        file_of(&self.floor.dir, &request.path)
    }
}

/// The last part of a path, which can't lead out of the directory.
fn file_of(dir: &Path, path: &str) -> PathBuf {
    dir.join(path.rsplit('/').next().unwrap_or_default())
}

/// A head and its length, once it is whole.
fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize)>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(end) = head.parse(bytes).map_err(|_| malformed())? else { return Ok(None) };
    let number = |name: &str| {
        let header = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0)
    };
    let method = match head.method {
        Some("POST") => Method::Post,
        Some("PATCH") => Method::Patch,
        Some("HEAD") => Method::Head,
        Some("GET") => Method::Get,
        Some("DELETE") => Method::Delete,
        _ => return Err(malformed()),
    };
    let path = head.path.unwrap_or_default().to_owned();
    Ok(Some((Request { method, path, length: number("Content-Length"), offset: number("Upload-Offset") }, end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_its_head_is_whole() {
        let text = b"PATCH /files/7 HTTP/1.1\r\nUpload-Offset: 5\r\nContent-Length: 3\r\n\r\nabc";
        assert!(parse(&text[..30]).unwrap().is_none());
        let (request, end) = parse(text).unwrap().unwrap();
        assert_eq!((&*request.path, request.offset, request.length, &text[end..]), ("/files/7", 5, 3, &b"abc"[..]));
        assert!(parse(b"BREW /files/7 HTTP/1.1\r\n\r\n").is_err());
    }

    #[test]
    fn no_path_leads_out_of_the_directory() {
        assert_eq!(file_of(Path::new("/data"), "/files/7"), Path::new("/data/7"));
        assert_eq!(file_of(Path::new("/data"), "/files/a/../7"), Path::new("/data/7"));
    }
}
