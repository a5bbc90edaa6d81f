//! A server that says what a test wants, to whatever it is asked.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Instead of an answer, or after one: nothing, and the connection stays.
pub(crate) const SILENCE: &[u8] = b"\0silence";

/// What a head is answered with: these bytes, and then those again and again, if there are any.
type Words = (Vec<u8>, Vec<u8>);

/// It serves until the test's process ends.
pub(crate) struct Fake(SocketAddr);

impl Fake {
    /// Answers each head with these bytes.
    pub(crate) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Fake {
        Fake::start_endless(move |head| (answer(head), Vec::new()))
    }

    /// Answers with these bytes, and then with those again and again.
    pub(crate) fn start_endless(answer: impl Fn(&str) -> Words + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream, &*answer));
            }
        });
        Fake(address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/files/", self.0)
    }
}

/// One request, and one answer. What fails is the other side's doing: it has closed.
fn serve(mut stream: TcpStream, answer: &(dyn Fn(&str) -> Words + Send + Sync)) {
    let mut received = Vec::new();
    let mut byte = [0; 1];
    while !received.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => received.push(byte[0]),
            _ => return,
        }
    }
    let (begin, forever) = answer(&String::from_utf8_lossy(&received));
    let mut sent = if begin == SILENCE { Ok(()) } else { stream.write_all(&begin) };
    if begin == SILENCE || forever == SILENCE {
        let _ = stream.read_to_end(&mut Vec::new());
        return;
    }
    while sent.is_ok() && !forever.is_empty() {
        sent = stream.write_all(&forever);
    }
}
