//! Listening elsewhere than at an address: Unix sockets, sockets that systemd has opened, and what systemd is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, kill_process};
use support::{Client, OFFSET_TYPE, Server, Signal, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_wharf");

/// A server that a test has started by itself. It ends with the test.
struct Started {
    child: Child,
    banner: String,
    _home: tempfile::TempDir,
}

impl Started {
    /// Runs the binary behind a shell that does this first, and waits for its first line.
    fn behind(setup: &str, arguments: &str, prepare: impl FnOnce(&mut Command)) -> Started {
        let (mut child, home) = spawn(setup, arguments, prepare);
        let mut banner = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut banner).unwrap();
        assert!(banner.contains("takes uploads at"), "{banner:?}");
        Started { child, banner, _home: home }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(setup: &str, arguments: &str, prepare: impl FnOnce(&mut Command)) -> (Child, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new("/bin/sh");
    let admin = if arguments.contains("admin.") { "" } else { "--set admin.enabled=false" };
    command.arg("-c").arg(format!("{setup}\nexec {BINARY} {admin} {arguments}")).current_dir(home.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command);
    (command.spawn().unwrap(), home)
}

/// What the binary says when it ends by itself, which it must.
fn refused(setup: &str, arguments: &str, prepare: impl FnOnce(&mut Command)) -> String {
    let (child, _home) = spawn(setup, arguments, prepare);
    let output = child.wait_with_output().unwrap();
    let written = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.status.code().is_some(), "{}: {written}", output.status);
    written
}

/// Passes standard input on as the first socket, as systemd does.
const PASS_INPUT: &str = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1";

fn give(socket: impl Into<OwnedFd>) -> impl FnOnce(&mut Command) {
    let socket = Stdio::from(socket.into());
    move |command| {
        command.stdin(socket);
    }
}

/// One upload from its creation to its download.
fn uploads(connect: impl Fn() -> Client) {
    let created = connect().request("POST", "/files/", &[("Upload-Length", "5")], b"");
    assert_eq!(created.status, 201, "{created:?}");
    let path = created.path();
    connect().request("PATCH", &path, &[OFFSET_TYPE, ("Upload-Offset", "0")], b"hello").appended(5);
    assert_eq!(connect().request("GET", &path, &[], b"").body, b"hello");
}

#[test]
fn a_unix_socket_has_its_mode_and_goes_with_its_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wharf.sock");
    let bind = format!("unix:{}", path.display());
    let mut server = Server::start(&["--bind", &bind, "--set", "server.unix_mode=0o600"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    uploads(|| Client::connect_unix(&path));
    wait_until("the log tells of the socket", || server.log().contains("\"peer\":\"unix\""));
    assert!(server.stop().success());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_socket_is_taken_over_from_the_dead_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wharf.sock");
    let bind = format!("unix:{}", path.display());
    let mut server = Server::start(&["--bind", &bind]);
    let other = tempfile::tempdir().unwrap();
    let (status, written) = server.refused_start(other.path(), &["--bind", &bind]);
    assert!(!status.success() && written.contains(&format!("cannot listen on {bind}")), "{status}: {written}");
    assert!(written.contains("another server listens there"), "{written}");
    uploads(|| Client::connect_unix(&path));
    server.kill();
    assert!(path.exists() && UnixStream::connect(&path).is_err(), "a dead server's socket");
    server.start_again();
    uploads(|| Client::connect_unix(&path));
    // Whoever has put something else there meanwhile keeps it.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    assert!(server.stop().success());
    let (_, written) = server.refused_start(&server.dir(), &["--bind", &bind]);
    assert!(written.contains("something is there that is no socket"), "{written}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

/// On SIGTERM the name goes at once, so that a successor may come while the last requests run.
#[test]
fn a_successor_may_have_the_name_while_the_last_requests_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wharf.sock");
    let bind = format!("unix:{}", path.display());
    let mut server = Server::start(&["--bind", &bind, "--set", "timeouts.shutdown_secs=600"]);
    let upload = Client::connect_unix(&path).request("POST", "/files/", &[("Upload-Length", "5")], b"").path();
    let mut running = Client::connect_unix(&path);
    running.send(support::head("PATCH", &upload, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", "5")]));
    running.send("he");
    wait_until("the bytes are stored", || server.stored(&upload) == 2);
    server.signal(Signal::TERM);
    wait_until("the name is gone", || !path.exists());
    let successor = Server::start(&["--bind", &bind]);
    running.send("llo");
    running.answer().appended(5);
    assert!(server.ended().success());
    uploads(|| Client::connect_unix(&path));
    drop(successor);
}

/// Connections wait in the socket while nobody serves it, before the first start and between two.
#[test]
fn a_socket_of_systemd_s_outlives_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..2 {
        let mut early = Client::connect(address);
        early.send(support::head("OPTIONS", "/files/", &[]));
        let mut started = Started::behind(PASS_INPUT, "--bind systemd", give(listener.try_clone().unwrap()));
        assert_eq!(early.answer().status, 200);
        assert!(started.banner.contains(&format!("http://{address}/files/")), "{}", started.banner);
        uploads(|| Client::connect(address));
        assert!(started.stop().success());
    }
}

#[test]
fn a_unix_socket_of_systemd_s_stays_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wharf.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut started = Started::behind(PASS_INPUT, "--bind systemd", give(listener.try_clone().unwrap()));
    assert!(
        started.banner.contains(&format!("unix:{} (http://localhost/files/)", path.display())),
        "{}",
        started.banner
    );
    uploads(|| Client::connect_unix(&path));
    assert!(started.stop().success());
    assert!(path.exists());
}

#[test]
fn one_of_many_sockets_is_known_by_its_name() {
    let (first, second) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let pass = "exec 3<&0 </dev/null 4>&2 2>/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:public";
    let give_both = || {
        let (one, other) = (first.try_clone().unwrap(), second.try_clone().unwrap());
        move |command: &mut Command| {
            command.stdin(Stdio::from(OwnedFd::from(one))).stderr(Stdio::from(OwnedFd::from(other)));
        }
    };
    let mut started = Started::behind(pass, "--bind systemd:public", give_both());
    uploads(|| Client::connect(second.local_addr().unwrap()));
    assert!(started.stop().success());
    let pass = "exec 3<&0 4<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:public";
    for (arguments, words) in [
        (
            "--bind systemd",
            "cannot listen on systemd: more than one socket fits, and one is needed; there are: admin, public",
        ),
        ("--bind systemd:other", "no socket of this name was passed; there are: admin, public"),
    ] {
        let written = refused(pass, arguments, give(first.try_clone().unwrap()));
        assert!(written.contains(words), "{words} is not in {written}");
    }
}

/// Connections to a socket that nobody listens on would hang, and nobody would know why.
#[test]
fn a_socket_that_no_setting_names_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pass = "exec 3<&0 4<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=:public";
    let mut started = Started::behind(pass, "--bind systemd:public", give(listener.try_clone().unwrap()));
    uploads(|| Client::connect(listener.local_addr().unwrap()));
    assert!(started.stop().success());
    let log = std::io::read_to_string(started.child.stderr.take().unwrap()).unwrap();
    let told = |line: &&str| line.contains("a socket was passed that is not listened on");
    let lines: Vec<&str> = log.lines().filter(told).collect();
    assert!(lines.len() == 1 && lines[0].contains("unknown"), "{log}");
}

#[test]
fn what_is_no_socket_that_listens_is_refused() {
    let (stream, _other) = UnixStream::pair().unwrap();
    for (setup, input, words) in [
        ("", None, "no socket was passed (LISTEN_FDS)"),
        ("exec 3<&0; export LISTEN_PID=1 LISTEN_FDS=1", None, "no socket was passed (LISTEN_FDS)"),
        (PASS_INPUT, Some(OwnedFd::from(fs::File::open("/dev/null").unwrap())), "is not a socket"),
        (PASS_INPUT, Some(stream.into()), "the socket does not listen"),
        (PASS_INPUT, Some(UnixDatagram::unbound().unwrap().into()), "is not a valid tcp socket"),
    ] {
        let written = refused(setup, "--bind systemd", |command| {
            if let Some(input) = input {
                command.stdin(Stdio::from(input));
            }
        });
        assert!(written.contains("cannot listen on systemd") && written.contains(words), "{words}: {written}");
    }
}

/// sd_notify(3): ready when connections are taken, and each step after that.
#[test]
fn systemd_is_told_how_the_server_fares() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let heard = || {
        let mut bytes = [0; 200];
        let count = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    let mut started = Started::behind("", "--bind 127.0.0.1:0", |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert_eq!(heard(), "READY=1");
    started.signal(Signal::HUP);
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    started.signal(Signal::TERM);
    assert_eq!(heard(), "STOPPING=1");
    assert!(started.child.wait().unwrap().success());
}

/// `wharf probe`, which a container asks whether its server is well.
#[test]
fn a_probe_tells_by_its_status() {
    let server = Server::start(&[]);
    let probe = |url: String| Command::new(BINARY).args(["probe", &url]).output().unwrap();
    let well = probe(format!("http://{}/", server.address));
    assert!(well.status.success() && well.stdout.is_empty() && well.stderr.is_empty(), "{well:?}");
    let unwell = probe(format!("http://{}{}nothing", server.address, server.base));
    assert_eq!(unwell.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unwell.stderr).contains("answers HTTP/1.1 404 Not Found"), "{unwell:?}");
    let gone = probe("http://127.0.0.1:1/".to_owned());
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no answer from 127.0.0.1:1"), "{gone:?}");
}

/// What is printed at the start can be used as it stands.
#[test]
fn the_banner_names_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("a.sock");
    let arguments = format!("--bind unix:{} --base-path /up/", socket.display());
    let started = Started::behind("", &arguments, |_| {});
    assert!(started.banner.ends_with(&format!("at unix:{} (http://localhost/up/)\n", socket.display())));
    assert!(socket.exists());
}

/// Operators by a Unix socket: only who may open the file gets in, so no token is needed.
#[test]
fn operators_may_use_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let server = Server::start(&["--set", &format!("admin.bind=unix:{}", path.display()), "--log-level", "debug"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for (host, route, status) in
        [("localhost", "/pools", 200), ("evil.test", "/pools", 403), ("10.1.2.3:8081", "/readyz", 200)]
    {
        let response = Client::connect_unix(&path).request("GET", route, &[("Host", host)], b"");
        assert_eq!(response.status, status, "{host}{route}");
    }
    wait_until("its peer is named", || {
        server.log().lines().any(|line| line.contains("\"admin request\"") && line.contains("\"peer\":\"unix\""))
    });
}

/// Both listeners by sockets of systemd's, each by its name; a socket that may be anywhere needs a token.
#[test]
fn both_listeners_may_be_systemd_s() {
    let (first, second) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let pass = "exec 3<&0 </dev/null 4>&2 2>/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:public";
    let arguments = "--bind systemd:public --set admin.bind=systemd:admin";
    let (one, other) = (first.try_clone().unwrap(), second.try_clone().unwrap());
    let mut started = Started::behind(pass, &format!("{arguments} --set admin.token=0123456789abcdef"), |command| {
        command.stdin(Stdio::from(OwnedFd::from(one))).stderr(Stdio::from(OwnedFd::from(other)));
    });
    uploads(|| Client::connect(second.local_addr().unwrap()));
    let ask = |path| Client::connect(first.local_addr().unwrap()).request("GET", path, &[], b"").status;
    assert_eq!((ask("/healthz"), ask("/files/")), (200, 403));
    assert!(started.stop().success());
    let written = refused("", arguments, |_| {});
    assert!(written.contains("admin.token or admin.tls.client_ca must be set"), "{written}");
}
