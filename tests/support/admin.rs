//! The admin endpoint of a test's server: requests to it, its JSON, and its stream of events.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Client, Response, Server, head, wait_until};

/// The flags that give a server an admin endpoint.
pub(crate) const ADMIN: [&str; 2] = ["--set", "admin.bind=127.0.0.1:0"];

impl Server {
    /// Starts the binary with an admin endpoint.
    pub(crate) fn start_watched(flags: &[&str]) -> Server {
        Server::start(&[&ADMIN[..], flags].concat())
    }

    /// Where the admin endpoint is.
    #[track_caller]
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin.expect("a server with an admin endpoint")
    }

    /// One request to the admin endpoint, on a connection of its own. An empty value leaves a header out.
    #[track_caller]
    pub(crate) fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let host = self.admin_address().to_string();
        let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let own = [("Tus-Resumable", ""), ("Host", host.as_str())];
        let headers = [&own[..if has_host { 1 } else { 2 }], headers].concat();
        Client::connect(self.admin_address()).request(method, path, &headers, body)
    }

    /// One request without a body.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str) -> Response {
        self.ask_with(method, path, &[], b"")
    }

    /// The JSON of a GET that must succeed.
    #[track_caller]
    pub(crate) fn told(&self, path: &str) -> Value {
        let response = self.ask("GET", path);
        assert_eq!(response.status, 200, "{path}: {response:?}: {}", response.text());
        json(&response)
    }

    /// What is told of one upload, by its path.
    #[track_caller]
    pub(crate) fn upload_told(&self, path: &str) -> Value {
        self.told(&format!("/uploads/{}", segment(self.id_of(path))))
    }

    /// What is told of one kind of mailbox.
    #[track_caller]
    pub(crate) fn kind_told(&self, kind: &str) -> Value {
        let told = self.told(&format!("/mailboxes?kind={kind}"));
        told["kinds"].get(0).unwrap_or_else(|| panic!("no {kind} in {told}")).clone()
    }

    /// The value of a metric with these labels, as they stand in the text.
    #[track_caller]
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let text = self.ask("GET", "/metrics").text();
        let value = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {sample} in\n{text}")).parse().expect("a number")
    }

    /// Listens to events.
    #[track_caller]
    pub(crate) fn events(&self, query: &str) -> Events {
        self.events_with(query, &[])
    }

    /// The same with further headers.
    #[track_caller]
    pub(crate) fn events_with(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        let mut client = Client::connect(self.admin_address());
        let host = self.admin_address().to_string();
        let own = [("Host", host.as_str()), ("Tus-Resumable", "")];
        client.send(head("GET", &format!("/events{query}"), &[&own[..], headers].concat()));
        let response = client.head_only();
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(response.the("Content-Type"), "text/event-stream");
        let mut events = Events { client, text: String::new(), all: String::new() };
        // From here on it hears everything.
        events.until(|text| text.contains(": open\n\n").then_some(()));
        events
    }
}

/// The JSON of a body.
#[track_caller]
pub(crate) fn json(response: &Response) -> Value {
    assert_eq!(response.the("Content-Type"), "application/json");
    serde_json::from_slice(&response.body).expect("JSON")
}

/// An id as one segment of a path.
pub(crate) fn segment(id: &str) -> String {
    id.replace('%', "%25").replace('/', "%2F")
}

/// A stream of events.
pub(crate) struct Events {
    client: Client,
    text: String,
    all: String,
}

impl Events {
    #[track_caller]
    fn until<T>(&mut self, found: impl Fn(&str) -> Option<T>) -> T {
        loop {
            if let Some(found) = found(&self.text) {
                return found;
            }
            let chunk = self.client.chunk();
            assert!(!chunk.is_empty(), "the stream ended; it said:\n{}", self.text);
            let chunk = String::from_utf8(chunk).expect("UTF-8");
            self.text.push_str(&chunk);
            self.all.push_str(&chunk);
        }
    }

    /// Waits for the next event of that name, passing over others: its data.
    #[track_caller]
    pub(crate) fn next(&mut self, name: &str) -> Value {
        self.next_that(name, |_| true)
    }

    /// Waits for the next event of that name for which this holds.
    #[track_caller]
    pub(crate) fn next_that(&mut self, name: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = format!("event: {name}\ndata: ");
        let (data, rest) = self.until(|text| {
            let mut rest = text;
            loop {
                let (_, after) = rest.split_once(&start)?;
                let (line, after) = after.split_once("\n\n")?;
                let data: Value = serde_json::from_str(line).expect("JSON");
                if holds(&data) {
                    return Some((data, after.to_owned()));
                }
                rest = after;
            }
        });
        self.text = rest;
        data
    }

    /// All that was read so far.
    pub(crate) fn seen(&self) -> &str {
        &self.all
    }

    /// Waits for the end of the stream.
    #[track_caller]
    pub(crate) fn ended(&mut self) {
        wait_until("the stream ends", || self.client.chunk().is_empty());
    }
}
