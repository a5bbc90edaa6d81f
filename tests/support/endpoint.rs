//! An application behind an HTTP endpoint, to which wharf posts its hooks.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// For how long something is waited that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the endpoint does with a call.
pub(crate) enum Reaction {
    /// Answers with this status and this JSON.
    Answer(u16, Value),
    /// Answers with exactly these bytes, and ends the connection.
    Raw(Vec<u8>),
    /// Says nothing until the other end gives up.
    Hang,
}

impl From<Value> for Reaction {
    fn from(verdict: Value) -> Self {
        Self::Answer(200, verdict)
    }
}

/// A call, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) call: Value,
    pub(crate) event_id: String,
    pub(crate) head: String,
}

impl Heard {
    pub(crate) fn kind(&self) -> &str {
        self.call["Type"].as_str().expect("a kind")
    }

    pub(crate) fn upload(&self) -> &Value {
        &self.call["Event"]["Upload"]
    }
}

type Rule = dyn Fn(&Heard) -> Reaction + Send + Sync;

/// Listens until the test ends.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    heard: Arc<(Mutex<Vec<Heard>>, Condvar)>,
}

impl Endpoint {
    /// One that reacts by a rule.
    pub(crate) fn start(rule: impl Fn(&Heard) -> Reaction + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port"), rule)
    }

    /// The same, at a place that was taken before.
    pub(crate) fn on(listener: TcpListener, rule: impl Fn(&Heard) -> Reaction + Send + Sync + 'static) -> Self {
        let (address, heard) =
            (listener.local_addr().expect("an address"), Arc::<(Mutex<Vec<Heard>>, Condvar)>::default());
        let (rule, shared): (Arc<Rule>, _) = (Arc::new(rule), Arc::clone(&heard));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (rule, shared) = (Arc::clone(&rule), Arc::clone(&shared));
                thread::spawn(move || serve(connection, &*rule, &shared));
            }
        });
        Self { address, heard }
    }

    /// Where to post to.
    pub(crate) fn url(&self) -> String {
        format!("hooks.http.url=http://{}/hooks", self.address)
    }

    /// All calls so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.0.lock().expect("no thread has panicked").clone()
    }

    /// How often an event was heard that has this name.
    pub(crate) fn count(&self, event_id: &str) -> usize {
        self.heard().iter().filter(|heard| heard.event_id == event_id).count()
    }

    /// The names of the events so far.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.heard().iter().map(|heard| heard.kind().to_owned()).collect()
    }

    /// Waits until a call was heard that is looked for.
    pub(crate) fn wait(&self, is_meant: impl Fn(&Heard) -> bool) -> Heard {
        let (heard, news) = &*self.heard;
        let (mut heard, deadline) = (heard.lock().expect("no thread has panicked"), Instant::now() + PATIENCE);
        loop {
            if let Some(found) = heard.iter().find(|heard| is_meant(heard)) {
                return found.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not heard; but {heard:#?}");
            heard = news.wait_timeout(heard, left).expect("no thread has panicked").0;
        }
    }

    /// Waits for an event of this kind.
    pub(crate) fn hears(&self, kind: &str) -> Heard {
        self.wait(|heard| heard.kind() == kind)
    }
}

fn serve(connection: TcpStream, rule: &Rule, shared: &(Mutex<Vec<Heard>>, Condvar)) {
    let mut writer = connection.try_clone().expect("a second handle");
    let mut reader = BufReader::new(connection);
    while let Some(heard) = read(&mut reader) {
        let reaction = rule(&heard);
        shared.0.lock().expect("no thread has panicked").push(heard);
        shared.1.notify_all();
        let written = match reaction {
            Reaction::Answer(status, verdict) => {
                let body = verdict.to_string();
                let head = format!(
                    "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                writer.write_all((head + &body).as_bytes())
            }
            Reaction::Raw(bytes) => {
                let _ = writer.write_all(&bytes);
                return;
            }
            Reaction::Hang => {
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let mut body = vec![0; field("Content-Length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let (call, event_id) = (serde_json::from_slice(&body).ok()?, field("X-Wharf-Event-Id")?);
    Some(Heard { call, event_id, head })
}
