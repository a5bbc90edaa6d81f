//! One run of `wharf doctor`.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

use serde_json::Value;

use super::support::wait_until;

/// What it printed, and how it ended.
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Examines a URL to the end, which must come.
    #[track_caller]
    pub(crate) fn of(url: &str, flags: &[&str]) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command.args(["doctor", url]).args(flags);
        if !flags.iter().any(|flag| flag.starts_with("--pause")) {
            command.arg("--pause=1");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().expect("the binary starts"));
        let stdout = drain(child.0.stdout.take().expect("stdout"));
        let stderr = drain(child.0.stderr.take().expect("stderr"));
        let mut status = None;
        wait_until("the doctor ends", || {
            status = child.0.try_wait().expect("its state");
            status.is_some()
        });
        let status = status.expect("the doctor ends").code().expect("an exit status");
        Run { status, stdout: stdout.join().expect("stdout"), stderr: stderr.join().expect("stderr") }
    }

    /// The object that it printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }

    /// The findings, each with the header or method that it is about.
    #[track_caller]
    pub(crate) fn findings(&self) -> Vec<String> {
        let name = |finding: &Value| match finding["subject"].as_str() {
            Some(subject) => format!("{} {subject}", finding["code"].as_str().expect("a code")),
            None => finding["code"].as_str().expect("a code").to_owned(),
        };
        self.json()["findings"].as_array().expect("findings").iter().map(name).collect()
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn drain(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8(bytes).expect("UTF-8")
    })
}
