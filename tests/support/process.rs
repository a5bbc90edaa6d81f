//! A child process that runs the binary: where it listens, what it wrote, and how it ends.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

/// How long a test waits for something that must come. Generous, because a failure is all that ever waits it out.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A short rest between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "rests between two looks; nothing is concluded from the time")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Looks at the condition again and again until it holds; fails the test when it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        pause();
    }
}

/// Whether the server has read all that was sent from this port of a client's.
pub(crate) fn is_read(port: u16) -> bool {
    let port = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    table.lines().skip(1).all(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (unsent, unread) = fields[4].split_once(':').expect("two queues");
        let sent = !fields[1].ends_with(&port) || unsent == "00000000";
        let read = !fields[2].ends_with(&port) || unread == "00000000";
        sent && read
    })
}

/// The address and the path in a line that holds a URL on the loopback address. A Unix socket's URL names no address.
pub(crate) fn split_url(line: &str) -> Option<(SocketAddr, String)> {
    let rest = line.split_once("http://").or_else(|| line.split_once("https://"))?.1;
    let (address, path) = rest.split_once('/')?;
    let path = path.split(|letter: char| letter.is_whitespace() || "\")".contains(letter)).next()?;
    let address = if address == "localhost" { "0.0.0.0:0" } else { address };
    Some((address.parse().ok()?, format!("/{path}")))
}

/// Whether these flags speak of the admin endpoint; without them a test's server has none.
fn has_admin(flags: &[String]) -> bool {
    flags.iter().any(|flag| flag.starts_with("admin."))
}

/// Where a server listens.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    /// The path below which uploads are made, with a slash at both ends.
    pub(crate) base: String,
    pub(crate) admin: Option<SocketAddr>,
}

/// A running server process. Dropping it kills it, and fails the test when anything in it panicked.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts the binary, with these variables, and waits for the line that says where it listens.
    pub(crate) fn serve(
        home: &Path,
        directory: &Path,
        flags: &[String],
        environment: &[(&str, OsString)],
    ) -> (Process, Listening) {
        let (process, lines) = Process::spawn(home, directory, flags, environment);
        let deadline = Instant::now() + PATIENCE;
        let next_url = || loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                let log = process.log();
                panic!("the server did not say where it listens; it wrote:\n{log}");
            };
            if let Some(url) = split_url(&line) {
                return url;
            }
        };
        let (address, base) = next_url();
        let admin = has_admin(flags).then(|| next_url().0);
        (process, Listening { address, base, admin })
    }

    /// Runs the binary to its end, which it must reach by itself.
    pub(crate) fn refused(home: &Path, directory: &Path, flags: &[String]) -> (ExitStatus, String) {
        let (mut process, lines) = Process::spawn(home, directory, flags, &[]);
        let status = process.wait();
        process.drain();
        let written = lines.try_iter().collect::<Vec<_>>().join("\n");
        (status, format!("{written}\n{}", process.log()))
    }

    fn spawn(
        home: &Path,
        directory: &Path,
        flags: &[String],
        environment: &[(&str, OsString)],
    ) -> (Process, mpsc::Receiver<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        if !flags.iter().any(|flag| flag == "--bind") {
            command.args(["--bind", "127.0.0.1:0"]);
        }
        if !has_admin(flags) {
            command.args(["--set", "admin.enabled=false"]);
        }
        command.arg("--dir").arg(directory).args(["--log-format", "json"]).args(flags).current_dir(home);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WHARF__") {
                command.env_remove(name);
            }
        }
        command.env_remove("WHARF_FAULTS").envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let mut stderr = child.stderr.take().expect("stderr");
        let buffer = Arc::clone(&log);
        let readers = vec![
            std::thread::spawn(move || {
                for line in stdout.lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            }),
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    buffer.lock().expect("the log").push_str(&text);
                }
            }),
        ];
        (Process { child, log, readers }, lines)
    }

    /// What the process wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The most memory that the process has had so far, in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("the process is there to be signalled");
    }

    /// Lets the process have no more than this many files and sockets open.
    pub(crate) fn limit_open_files(&self, count: u64) {
        let limit = Rlimit { current: Some(count), maximum: Some(count) };
        prlimit(Some(self.id()), Resource::Nofile, limit).expect("a lower limit");
    }

    /// Lets no file of the process grow beyond this many bytes; `None` lifts the limit.
    pub(crate) fn limit_file_size(&self, bytes: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: bytes.or(maximum), maximum };
        prlimit(Some(self.id()), Resource::Fsize, limit).expect("another limit");
    }

    fn id(&self) -> Pid {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Waits for the end that must come.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.wait()
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process is there to be killed");
        self.wait();
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the process ends", || {
            status = self.child.try_wait().expect("the state of the process");
            status.is_some()
        });
        status.expect("an exit status")
    }

    fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.drain();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("the server wrote:\n{log}");
        } else {
            let count = |text: &str| log.matches(text).count();
            // Those that a test asked for are known by their words.
            assert_eq!(count("panicked"), count("injected panic: "), "something in the server panicked:\n{log}");
        }
    }
}
