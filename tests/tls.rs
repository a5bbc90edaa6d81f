//! TLS as such: who gets in, with what, what a broken handshake or end does, and certificates that change. The chapters of
//! the protocol run over TLS in `on_tls`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use support::{
    Client, OFFSET_TYPE, Server, Signal,
    certificates::{Authority, Files, Identity},
    head, wait_until,
};

const HOST: &str = "wharf.test";

/// A server with TLS, and who signed its certificate.
struct Site {
    server: Server,
    authority: Authority,
    files: Files,
}

impl Site {
    fn start(flags: &[&str]) -> Site {
        Site::start_with(|_, _| Vec::new(), flags)
    }

    fn start_with(more: impl FnOnce(&Authority, &Files) -> Vec<String>, flags: &[&str]) -> Site {
        let authority = Authority::new("an authority");
        let files = Files::of(&authority.issue(HOST));
        let own = [files.flags(), more(&authority, &files)].concat();
        let all: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        Site { server: Server::start(&all), authority, files }
    }

    fn client(&self) -> Client {
        Client::connect_tls(self.server.address, self.authority.client(None))
    }

    /// Creates an upload: its path.
    fn create(&self, length: u64) -> String {
        self.client().request("POST", &self.server.base, &[("Upload-Length", &length.to_string())], b"").path()
    }

    fn offset(&self, path: &str) -> u64 {
        self.client().request("HEAD", path, &[], b"").offset()
    }

    /// The certificate that new connections get.
    fn shown(&self) -> Vec<u8> {
        let mut client = self.client();
        assert_eq!(client.request("OPTIONS", &self.server.base, &[], b"").status, 200);
        client.certificate()
    }
}

/// A request's head for a PATCH at the beginning.
fn patch(path: &str, length: u64) -> String {
    head("PATCH", path, &[OFFSET_TYPE, ("Upload-Offset", "0"), ("Content-Length", &length.to_string())])
}

#[test]
fn locations_say_https() {
    let site = Site::start(&["--set", "server.absolute_location=true"]);
    let created = site.client().request("POST", &site.server.base, &[("Upload-Length", "5")], b"");
    assert!(created.the("Location").starts_with("https://wharf.test/files/"), "{created:?}");
}

/// Both versions are spoken unless the newer one is asked for.
#[test]
fn the_oldest_version_can_be_set() {
    let any = Site::start(&[]);
    let newest = Site::start(&["--set", "server.tls.min_version=1.3"]);
    for (site, version, gets_in) in [
        (&any, &rustls::version::TLS12, true),
        (&any, &rustls::version::TLS13, true),
        (&newest, &rustls::version::TLS12, false),
        (&newest, &rustls::version::TLS13, true),
    ] {
        let mut client = Client::connect_tls(site.server.address, site.authority.client_of(&[version], None));
        if gets_in {
            assert_eq!(client.request("OPTIONS", &site.server.base, &[], b"").status, 200);
        } else {
            assert!(client.failure(b"x").contains("ProtocolVersion"), "{version:?}");
        }
    }
}

/// HTTP/1.1 is what is offered (RFC 7301): a client that wants anything else is told so, and none has to ask.
#[test]
fn a_client_that_only_speaks_http_2_is_refused() {
    let site = Site::start(&[]);
    for (offers, gets_in) in [(&["h2", "http/1.1"][..], true), (&["h2"], false)] {
        let mut config = (*site.authority.client(None)).clone();
        config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut client = Client::connect_tls(site.server.address, Arc::new(config));
        if gets_in {
            assert_eq!(client.request("OPTIONS", &site.server.base, &[], b"").status, 200);
        } else {
            let failure = client.failure(b"x");
            assert!(failure.contains("NoApplicationProtocol"), "{failure}");
        }
    }
}

/// With client_ca set, only those get in whom it has signed; the others are told why.
#[test]
fn clients_show_certificates_when_they_must() {
    let clients = Authority::new("the clients'");
    let strangers = Authority::new("the strangers'");
    let with_ca = |_: &Authority, files: &Files| {
        let path = files.beside("clients.pem", clients.pem());
        vec!["--set".to_owned(), format!("server.tls.client_ca={}", path.display())]
    };
    let site = Site::start_with(with_ca, &[]);
    let versions = [&rustls::version::TLS12, &rustls::version::TLS13];
    for version in versions {
        let connect = |identity: Option<&Identity>| {
            Client::connect_tls(site.server.address, site.authority.client_of(&[version], identity))
        };
        let known = clients.issue("client.test");
        assert_eq!(connect(Some(&known)).request("OPTIONS", &site.server.base, &[], b"").status, 200);
        for (identity, alert) in [(None, "CertificateRequired"), (Some(strangers.issue("client.test")), "UnknownCA")] {
            let mut client = connect(identity.as_ref());
            let failure = client.failure(head("OPTIONS", &site.server.base, &[]).as_bytes());
            let told =
                failure.contains(alert) || failure.contains("DecryptError") || failure.contains("HandshakeFailure");
            assert!(told, "{version:?}: {failure}");
        }
    }
}

/// RFC 8446, 6.1: who closes says so, whoever wanted it. Else a client can't tell an end from a cut.
#[test]
fn every_ordinary_end_is_told() {
    let mut site = Site::start(&["--set", "timeouts.shutdown_secs=600"]);
    let mut closing = site.client();
    let response = closing.request("OPTIONS", &site.server.base, &[("Connection", "close")], b"");
    assert_eq!(response.status, 200);
    assert!(closing.closed() && closing.was_told_the_end());

    let mut done = site.client();
    done.send(head("OPTIONS", &site.server.base, &[]));
    done.finish();
    assert_eq!(done.answer().status, 200);
    assert!(done.closed() && done.was_told_the_end());

    let mut idle = site.client();
    assert_eq!(idle.request("OPTIONS", &site.server.base, &[], b"").status, 200);
    // It has said nothing yet, not even to TLS.
    let mut unborn = Client::connect(site.server.address);
    site.server.signal(Signal::TERM);
    assert!(idle.closed() && idle.was_told_the_end());
    assert!(unborn.closed());
    assert!(site.server.ended().success());
}

/// An early answer is seen although the client has much more to send.
#[test]
fn an_early_answer_is_not_lost() {
    let site = Site::start(&["--set", "timeouts.linger_secs=60"]);
    let body = vec![7; 16 << 20];
    for _ in 0..5 {
        let mut client = site.client();
        client.send(patch("/files/nowhere", body.len() as u64));
        client.send(&body);
        client.answer().refused(404, "ERR_UPLOAD_NOT_FOUND");
        assert!(client.closed() && client.was_told_the_end());
    }
}

/// A connection that ends without a word to TLS in the middle of a body: what came is kept, and no more.
#[test]
fn a_truncated_body_keeps_what_came() {
    let site = Site::start(&[]);
    for size in [1_usize, 5_000, 16_384, 300_000] {
        let bytes: Vec<u8> = (0..size).map(|place| place as u8).collect();
        let path = site.create(1_000_000);
        let mut client = site.client();
        client.send(patch(&path, 1_000_000));
        client.send(&bytes);
        client.hang_up();
        wait_until("the bytes are stored", || site.server.stored(&path) == size as u64);
        assert_eq!(site.offset(&path), size as u64);
        assert!(fs::read(site.server.file_of(&path)).unwrap() == bytes);
        // And when the last record is cut as well.
        let mut client = site.client();
        client.send(head(
            "PATCH",
            &path,
            &[OFFSET_TYPE, ("Upload-Offset", &size.to_string()), ("Content-Length", "10000")],
        ));
        client.send_half_a_record(&[8; 10_000]);
        client.hang_up();
        assert!(client.answer_or_close("PATCH").is_none_or(|response| response.status == 400));
        assert_eq!(site.offset(&path), size as u64);
    }
}

/// Half a handshake occupies a place for the time of a head, and no longer.
#[test]
fn a_handshake_that_trickles_is_ended() {
    let site = Site::start(&["--set", "timeouts.head_secs=1", "--log-level", "debug"]);
    let mut silent = Client::connect(site.server.address);
    let mut trickling = Client::connect(site.server.address);
    trickling.send(b"\x16\x03\x01\x02\x00\x01");
    assert!(trickling.closed() && silent.closed());
    wait_until("it is in the log", || site.server.log().matches("the handshake took too long").count() == 2);
    assert_eq!(site.offset(&site.create(5)), 0);
}

/// Who speaks plain HTTP is told so in plain HTTP; garbage gets nothing.
#[test]
fn plain_http_is_answered_in_kind() {
    let site = Site::start(&["--log-level", "debug"]);
    let mut plain = Client::connect(site.server.address);
    let response = plain.request("POST", &site.server.base, &[("Upload-Length", "5")], b"");
    assert_eq!((response.status, response.closes()), (400, true));
    assert_eq!(response.text(), "https is spoken here, not plain http.\n");
    assert!(plain.closed());
    let mut garbage = Client::connect(site.server.address);
    garbage.send([0x80, 0x2e, 1, 0, 2]);
    garbage.finish();
    assert!(garbage.closed());
    wait_until("both are in the log", || site.server.log().matches("the client does not speak TLS").count() == 2);
    assert!(site.server.names().is_empty());
}

/// New handshakes get the new certificate, and no connection feels it, while many upload.
#[test]
fn certificates_are_renewed_under_load() {
    let site = Site::start(&[]);
    let first = site.shown();
    let path = site.create(10);
    let mut running = site.client();
    running.send(patch(&path, 10));
    running.send("hello");
    let (over, uploads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let path = site.create(100_000);
                    let mut client = site.client();
                    client.send(patch(&path, 100_000));
                    client.send(vec![9; 100_000]);
                    client.answer().appended(100_000);
                    uploads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut last = first.clone();
        for _ in 0..3 {
            let before = uploads.load(Ordering::Relaxed);
            site.files.replace(&site.authority.issue(HOST));
            site.server.signal(Signal::HUP);
            wait_until("a new certificate is shown", || site.shown() != last);
            last = site.shown();
            wait_until("uploads go on", || uploads.load(Ordering::Relaxed) > before + 4);
        }
        over.store(true, Ordering::Relaxed);
    });
    running.send("world");
    running.answer().appended(10);
    assert_eq!(running.certificate(), first);
}

/// A pair that can't be used changes nothing, and the log says which file is wrong.
#[test]
fn a_bad_pair_changes_nothing() {
    let site = Site::start(&[]);
    let first = site.shown();
    let other = site.authority.issue(HOST);
    let (certificate, key) = (site.files.certificate(), site.files.key());
    let good = fs::read_to_string(&certificate).unwrap();
    let name = |path: &std::path::Path| path.display().to_string();
    for (path, content, complaint) in [
        (&key, other.key.as_str(), format!("the key in {} is not that of the certificate", name(&key))),
        (&key, "nothing", format!("{}: there is no private key in it", name(&key))),
        (&certificate, "", format!("{}: there is no certificate in it", name(&certificate))),
        (&certificate, good.replacen("MII", "AAA", 1).as_str(), format!("{}: certificate 1: ", name(&certificate))),
    ] {
        let before = fs::read_to_string(path).unwrap();
        fs::write(path, content).unwrap();
        site.server.signal(Signal::HUP);
        wait_until(&complaint, || site.server.log().contains(&complaint));
        assert_eq!(site.shown(), first);
        fs::write(path, before).unwrap();
    }
    site.files.replace(&other);
    site.server.signal(Signal::HUP);
    wait_until("the other certificate is shown", || site.shown() != first);
}

/// Without any signal: the files are links through a link that is replaced, as a Kubernetes Secret's are.
#[test]
fn files_that_change_are_noticed() {
    let authority = Authority::new("an authority");
    let volume = tempfile::tempdir().unwrap();
    let at = |name: &str| volume.path().join(name);
    let publish = |version: &str| {
        let identity = authority.issue(HOST);
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("tls.crt"), identity.certificate).unwrap();
        fs::write(at(version).join("tls.key"), identity.key).unwrap();
        symlink(version, at("..next")).unwrap();
        fs::rename(at("..next"), at("..data")).unwrap();
    };
    publish("..1");
    symlink("..data/tls.crt", at("tls.crt")).unwrap();
    symlink("..data/tls.key", at("tls.key")).unwrap();
    let set = |key: &str, name: &str| format!("server.tls.{key}={}", at(name).display());
    let (certificate, key) = (set("certificate", "tls.crt"), set("key", "tls.key"));
    let server = Server::start(&["--set", &certificate, "--set", &key]);
    let shown = || {
        let mut client = Client::connect_tls(server.address, authority.client(None));
        assert_eq!(client.request("OPTIONS", &server.base, &[], b"").status, 200);
        client.certificate()
    };
    let first = shown();
    publish("..2");
    wait_until("the new certificate is shown", || shown() != first);
    wait_until("it is in the log", || server.log().contains("\"applied\":\"server.tls.certificate\""));
}

/// A start that can't succeed says which file is wrong, before anything is touched.
#[test]
fn a_start_without_a_usable_certificate_is_refused() {
    let site = Site::start(&[]);
    let other = tempfile::tempdir().unwrap();
    let flags = site.files.flags();
    let missing = site.files.beside("missing.pem", "");
    fs::remove_file(&missing).unwrap();
    let set = |key: &str, path: &std::path::Path| format!("server.tls.{key}={}", path.display());
    let (lost, mixed) = (set("key", &missing), set("key", &site.files.certificate()));
    let (no_ca, version) = (set("client_ca", &missing), "server.tls.min_version=1.1".to_owned());
    let certificate = &flags[1];
    for (settings, words) in [
        (vec![certificate, &lost], "missing.pem can't be read: No such file"),
        (vec![certificate, &mixed], "server.pem: there is no private key in it"),
        (vec![certificate, &flags[3], &no_ca], "missing.pem can't be read"),
        (vec![certificate], "server.tls.certificate and server.tls.key must be set together"),
        (vec![&no_ca], "server.tls.client_ca counts for nothing"),
        (vec![&version], "server.tls.min_version: must be one of \"1.2\", \"1.3\""),
    ] {
        let flags: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
        let (status, written) = site.server.refused_start(other.path(), &flags);
        assert!(!status.success() && status.code().is_some(), "{flags:?}: {status}: {written}");
        assert!(written.contains(words), "{words} is not in {written}");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "{flags:?}");
    }
}

/// A server whose admin endpoint speaks TLS, for clients of this authority only if there is one.
fn admin_site(clients: Option<&Authority>, flags: &[&str]) -> Site {
    let authority = Authority::new("an authority");
    let files = Files::of(&authority.issue(HOST));
    let mut own = files.flags_of("admin");
    if let Some(clients) = clients {
        let path = files.beside("clients.pem", clients.pem());
        own.extend(["--set".to_owned(), format!("admin.tls.client_ca={}", path.display())]);
    }
    let all: Vec<&str> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    Site { server: Server::start(&all), authority, files }
}

impl Site {
    /// One request to the admin endpoint, over TLS.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> support::Response {
        let mut client = Client::connect_tls(self.server.admin_address(), self.authority.client(None));
        let has_host = headers.iter().any(|(name, _)| *name == "Host");
        let own = [("Host", "localhost")];
        client.request(method, path, &[&own[usize::from(has_host)..], headers].concat(), body)
    }
}

const TOKEN: &str = "admin.token=0123456789abcdef";

/// Probes come with the pod's address as Host and without a token; nothing else is served so.
#[test]
fn operators_are_served_over_tls() {
    let site = admin_site(None, &["--set", "admin.bind=127.0.0.1:0", "--set", TOKEN]);
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/pools", 403)] {
        assert_eq!(site.ask("GET", path, &[("Host", "10.1.2.3:8081")], b"").status, status, "{path}");
    }
    assert_eq!(site.ask("GET", "/pools", &[], b"").status, 401);
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let login = site.ask("POST", "/login", &[form], b"token=0123456789abcdef");
    assert_eq!(login.status, 204, "{login:?}");
    // A browser must not send it in the clear, either.
    assert!(login.the("Set-Cookie").ends_with("; Secure"), "{login:?}");
    let mut plain = Client::connect(site.server.admin_address());
    assert_eq!(plain.request("GET", "/healthz", &[], b"").text(), "https is spoken here, not plain http.\n");
    // The public listener has settings of its own.
    assert_eq!(site.server.post(&[("Upload-Length", "5")], b"").status, 201);
}

/// Who shows a certificate needs no token, where none is set; and so the address may be any.
#[test]
fn operators_may_be_known_by_certificates() {
    let clients = Authority::new("the operators'");
    let site = admin_site(Some(&clients), &["--set", "admin.bind=0.0.0.0:0"]);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], site.server.admin_address().port()));
    let known = clients.issue("operator.test");
    let mut client = Client::connect_tls(address, site.authority.client(Some(&known)));
    assert_eq!(client.request("GET", "/pools", &[("Host", "localhost")], b"").status, 200);
    // The health check of a container gets in likewise.
    let (certificate, key) =
        (site.files.beside("probe.pem", &known.certificate), site.files.beside("probe.key", &known.key));
    let probe = |more: &[&std::ffi::OsStr]| {
        let url = format!("https://{address}/healthz");
        std::process::Command::new(env!("CARGO_BIN_EXE_wharf")).args(["probe", &url]).args(more).output().unwrap()
    };
    let shown = ["--certificate".as_ref(), certificate.as_os_str(), "--key".as_ref(), key.as_os_str()];
    let (well, unknown) = (probe(&shown), probe(&[]));
    assert!(well.status.success(), "{well:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no answer from 127.0.0.1:"), "{unknown:?}");
    for identity in [None, Some(Authority::new("the strangers'").issue("operator.test"))] {
        let mut client = Client::connect_tls(address, site.authority.client(identity.as_ref()));
        client.failure(head("GET", "/healthz", &[]).as_bytes());
    }
}

/// POST /reload reads the files of both listeners; one that can't be used is named with the place of its key.
#[test]
fn certificates_are_reloaded_with_the_settings() {
    let authority = Authority::new("an authority");
    let (public, admin) = (Files::of(&authority.issue(HOST)), Files::of(&authority.issue(HOST)));
    let flags = [public.flags(), admin.flags_of("admin")].concat();
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(["--set", "admin.bind=127.0.0.1:0"]).collect();
    let site = Site { server: Server::start(&flags), authority, files: public };
    let mut open = Client::connect_tls(site.server.admin_address(), site.authority.client(None));
    let reload = |client: &mut Client| {
        let response = client.request("POST", "/reload", &[("Host", "localhost")], b"");
        let told: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        (response.status, told)
    };
    assert_eq!(reload(&mut open).1["unchanged"], true);
    let (first, first_admin) = (site.shown(), open.certificate());
    let good = fs::read(admin.key()).unwrap();
    site.files.replace(&site.authority.issue(HOST));
    fs::write(admin.key(), "nothing").unwrap();
    let (status, told) = reload(&mut open);
    assert_eq!((status, told["problems"][0]["key"].as_str()), (422, Some("admin.tls.key")), "{told}");
    assert_eq!(told["problems"][0]["place"], "--set");
    let message = told["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("server.key: there is no private key in it"), "{message}");
    // Nothing has changed, not even what was good.
    assert_eq!(site.shown(), first);
    fs::write(admin.key(), good).unwrap();
    admin.replace(&site.authority.issue(HOST));
    let (status, told) = reload(&mut open);
    assert_eq!(status, 200, "{told}");
    assert_ne!(site.shown(), first);
    let mut next = Client::connect_tls(site.server.admin_address(), site.authority.client(None));
    assert_eq!(next.request("GET", "/healthz", &[], b"").status, 200);
    assert_ne!(next.certificate(), first_admin);
    // The connection that asked has lived through all of it.
    assert_eq!((reload(&mut open).0, open.certificate()), (200, first_admin));
}

/// Other files may be named while it runs; TLS itself begins and ends with the server.
#[test]
fn other_files_may_be_named_and_tls_waits_for_a_restart() {
    let authority = Authority::new("an authority");
    let (one, other) = (Files::of(&authority.issue(HOST)), Files::of(&authority.issue(HOST)));
    let home = tempfile::tempdir().unwrap();
    let settings = home.path().join("settings.toml");
    let write = |files: Option<&Files>| {
        let section = files.map(|files| {
            let (certificate, key) = (files.certificate(), files.key());
            format!("[server.tls]\ncertificate = {:?}\nkey = {:?}\n", certificate, key)
        });
        let next = home.path().join("next");
        fs::write(&next, section.unwrap_or_default()).unwrap();
        fs::rename(&next, &settings).unwrap();
    };
    write(Some(&one));
    let site = Site { server: Server::start(&["--config", settings.to_str().unwrap()]), authority, files: one };
    let first = site.shown();
    write(Some(&other));
    wait_until("the other certificate is shown", || site.shown() != first);
    let second = site.shown();
    write(None);
    let waiting = "\"needs_restart\":\"server.tls.certificate server.tls.key\"";
    wait_until("it is in the log", || site.server.log().contains(waiting));
    assert_eq!(site.shown(), second);
    // What is watched now is what runs.
    other.replace(&site.authority.issue(HOST));
    wait_until("a third certificate is shown", || site.shown() != second);
}

/// Silent clients hold their seats for the time of a handshake: whoever waits gets one then.
#[test]
fn unfinished_handshakes_give_their_seats_back() {
    let site = Site::start(&["--set", "server.max_connections=2", "--set", "timeouts.head_secs=1"]);
    let silent = [Client::connect(site.server.address), Client::connect(site.server.address)];
    assert_eq!(site.client().request("OPTIONS", &site.server.base, &[], b"").status, 200);
    drop(silent);
}
