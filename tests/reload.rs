//! Settings that change while the server runs: saved, signalled or asked for; what takes effect, and what can't.

mod support;

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    Bed, Server, Signal,
    admin::{ADMIN, json},
    pause, wait_until,
};
use wharf_s3_testbed::{Fault, Kind, Operation, Proxy};

/// Saves the settings file as an editor does, in a new file that takes the place of the old one.
fn save(server: &Server, text: &str) {
    let next = server.beside("settings.toml.next");
    fs::write(&next, text).expect("a settings file");
    fs::rename(&next, server.beside("settings.toml")).expect("a settings file in its place");
}

/// What POST /reload says, which must be well.
#[track_caller]
fn reloaded(server: &Server) -> Value {
    let response = server.ask("POST", "/reload");
    assert_eq!(response.status, 200, "{}", response.text());
    json(&response)
}

fn max_size(server: &Server) -> Option<String> {
    server.request("OPTIONS", &server.base, &[], b"").header("Tus-Max-Size").map(str::to_owned)
}

#[track_caller]
fn pool(server: &Server, name: &str) -> Value {
    let told = server.told("/pools");
    let pools = told["pools"].as_array().expect("pools");
    pools.iter().find(|pool| pool["pool"] == name).unwrap_or_else(|| panic!("no {name} in {told}")).clone()
}

#[test]
fn saving_the_file_is_enough() {
    let server = Server::start_watched(&[]);
    assert_eq!(max_size(&server), None);
    let mut events = server.events("?only=settings_reloaded");
    save(&server, "[tus]\nmax_size_bytes = 5\n");
    let told = events.next("settings_reloaded");
    assert_eq!((&told["by"], &told["applied"]), (&json!("file"), &json!(["tus.max_size_bytes"])));
    assert_eq!((&told["unchanged"], &told["problems"]), (&json!(false), &json!([])));
    assert_eq!(max_size(&server).as_deref(), Some("5"));
    server.post(&[("Upload-Length", "6")], b"").refused(413, "ERR_MAX_SIZE_EXCEEDED");
    assert_eq!(server.post(&[("Upload-Length", "5")], b"").status, 201);
    // Written to in place, as shells do.
    fs::write(server.beside("settings.toml"), "[tus]\nmax_size_bytes = 7\n").unwrap();
    events.next("settings_reloaded");
    assert_eq!(max_size(&server).as_deref(), Some("7"));
    // Copied over with the same size, and an old date.
    save(&server, "[tus]\nmax_size_bytes = 8\n");
    let old = fs::File::open(server.beside("settings.toml")).unwrap();
    old.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    events.next("settings_reloaded");
    assert_eq!(max_size(&server).as_deref(), Some("8"));
}

#[test]
fn a_signal_reads_the_file_again() {
    let server = Server::start_watched(&[]);
    let mut events = server.events("?only=settings_reloaded");
    server.signal(Signal::HUP);
    let told = events.next("settings_reloaded");
    assert_eq!((&told["by"], &told["unchanged"]), (&json!("signal"), &json!(true)));
    save(&server, "[tus]\nmax_size_bytes = 5\n");
    server.signal(Signal::HUP);
    wait_until("the new size counts", || max_size(&server).as_deref() == Some("5"));
    server.uploaded(b"hello");
}

#[test]
fn the_answer_names_what_takes_effect_what_waits_and_what_is_overridden() {
    let server = Server::start_watched(&["--log-level", "info"]);
    save(
        &server,
        "[server]\nbind = \"127.0.0.1:1\"\nabsolute_location = true\n[log]\nlevel = \"debug\"\n[pools.uploads]\nmailbox = 70\n",
    );
    let told = reloaded(&server);
    // The watch may have been first; then this says only what is left.
    assert!(
        told["applied"] == json!(["pools.uploads.mailbox", "server.absolute_location"]) || told["applied"] == json!([])
    );
    // The address was given as a flag, so the file's counts for nothing.
    let both = json!([{ "key": "log.level", "by": "--log-level" }, { "key": "server.bind", "by": "--bind" }]);
    assert_eq!(told["overridden"], both, "{told}");
    assert_eq!(told["needs_restart"], json!([]));
    assert_eq!(server.kind_told("upload")["capacity"], 70);
    assert!(server.post(&[("Upload-Length", "5")], b"").the("Location").starts_with("http://"));
    save(&server, "[server]\nlisten_backlog = 7\n[storage]\nfile_mode = 0o600\n[pools.uploads]\nmailbox = 70\n");
    let told = reloaded(&server);
    assert_eq!(told["needs_restart"], json!(["server.listen_backlog", "storage.file_mode"]));
    let again = reloaded(&server);
    assert_eq!((&again["needs_restart"], &again["applied"]), (&told["needs_restart"], &json!([])));
    assert_eq!(again["unchanged"], false);
    for words in ["settings reloaded", "server.listen_backlog storage.file_mode"] {
        wait_until("it is in the log", || server.log().contains(words));
    }
}

#[test]
fn a_bad_file_changes_nothing_and_says_where_it_is_wrong() {
    let server = Server::start_watched(&[]);
    save(&server, "[tus]\nmax_size_bytes = 5\n");
    wait_until("the file counts", || max_size(&server).as_deref() == Some("5"));
    let mut events = server.events("?only=settings_reloaded");
    for (text, key, place, message) in [
        (
            "[tus]\nmax_size_bytes = 6\n[pools.s3]\nworkers = 0\n",
            json!("pools.s3.workers"),
            "4:11",
            "must be from 1 to 1024, not 0",
        ),
        ("[tus]\nmax_size_bytes = 6\ndownlaod = true\n", json!("tus.downlaod"), "3:1", "did you mean tus.download?"),
        ("[tus]\nmax_size_bytes = \n", Value::Null, "2:18", ""),
        ("[admin]\nenabled = true\nhosts = [\"a b\"]\n", json!("admin.hosts"), "3:9", "is none"),
    ] {
        save(&server, text);
        let response = server.ask("POST", "/reload");
        assert_eq!(response.status, 422, "{text}: {}", response.text());
        let told = json(&response);
        assert_eq!(told["error"], "invalid_settings");
        let problem = &told["problems"][0];
        assert_eq!((&problem["key"], &problem["place"]), (&key, &json!(format!("settings.toml:{place}"))), "{told}");
        assert!(problem["message"].as_str().unwrap().contains(message), "{told}");
        let event = events.next("settings_reloaded");
        assert_eq!((&event["applied"], &event["problems"][0]), (&json!([]), problem));
        assert_eq!(max_size(&server).as_deref(), Some("5"));
    }
    wait_until("it is in the log", || server.log().contains("settings refused"));
    assert!(server.metric("wharf_settings_reloads_total{result=\"refused\"}") >= 4.0);
    save(&server, "[tus]\nmax_size_bytes = 7\n");
    wait_until("it goes on from there", || max_size(&server).as_deref() == Some("7"));
}

#[test]
fn a_file_that_is_gone_changes_nothing() {
    let server = Server::start_watched(&[]);
    save(&server, "[tus]\nmax_size_bytes = 5\n");
    wait_until("the file counts", || max_size(&server).as_deref() == Some("5"));
    fs::remove_file(server.beside("settings.toml")).unwrap();
    let response = server.ask("POST", "/reload");
    assert_eq!(response.status, 422);
    assert!(response.text().contains("can't be read"), "{}", response.text());
    assert_eq!(max_size(&server).as_deref(), Some("5"));
}

#[test]
fn a_link_that_leads_elsewhere_is_a_change() {
    let server = Server::start_watched(&[]);
    let at = |name: &str| server.beside(name);
    for (version, size) in [("v1", 5), ("v2", 6), ("v3", 7)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("settings.toml"), format!("[tus]\nmax_size_bytes = {size}\n")).unwrap();
    }
    // As the kubelet lays a ConfigMap out, and changes it.
    symlink("v1", at("..data")).unwrap();
    symlink("..data/settings.toml", at("settings.toml")).unwrap();
    wait_until("the first counts", || max_size(&server).as_deref() == Some("5"));
    for (version, size) in [("v2", "6"), ("v3", "7")] {
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        wait_until("the next counts", || max_size(&server).as_deref() == Some(size));
    }
}

#[test]
fn a_file_is_read_only_when_it_lies_still() {
    let server = Server::start_watched(&[]);
    let path = server.beside("settings.toml");
    loop {
        // Half of it is valid, and says something else.
        let (mut last, mut widest) = (Instant::now(), Duration::ZERO);
        for round in 0..250 {
            fs::write(&path, format!("# {}\n[tus]\nmax_size_bytes = 1", "x".repeat(round % 7))).unwrap();
            widest = widest.max(last.elapsed());
            last = Instant::now();
            pause();
        }
        fs::write(&path, "[tus]\nmax_size_bytes = 1000\n").unwrap();
        widest = widest.max(last.elapsed());
        wait_until("the whole file counts", || max_size(&server).as_deref() == Some("1000"));
        // On a machine that let the test itself lie still, it says nothing.
        if widest < Duration::from_millis(900) {
            break;
        }
        fs::write(&path, "").unwrap();
        wait_until("it is as at first", || max_size(&server).is_none());
    }
    let applied = || server.log().matches("\"applied\":\"tus.max_size_bytes\"").count();
    wait_until("the log has it", || applied() > 0);
    let applied = applied();
    assert_eq!(applied % 2, 1, "the half was read: {}", server.log());
}

#[test]
fn whatever_can_take_effect_does() {
    let server = Server::start_watched(&[]);
    let extensions = || server.request("OPTIONS", &server.base, &[], b"").elements("Tus-Extension");
    let has = |name: &str| extensions().contains(&name.to_owned());
    assert!(has("checksum") && has("termination") && !has("expiration"));
    let path = server.uploaded(b"hello");
    save(
        &server,
        "[tus]\nchecksum = false\ntermination = false\ndownload = false\n[expiration]\nafter_secs = 3600\n\
         [cors]\nallow_origin = \"^https://good\\\\.example$\"\n[log]\nlevel = \"debug\"\n[pools.disk]\nworkers = 2\nqueue = 9\n\
         [storage]\nmemory_budget_bytes = 9000000\n[server]\ngreeting = false\npage = false\n[admin]\nmailbox_slow_ms = 77\n",
    );
    wait_until("the checksum is gone", || !has("checksum"));
    assert!(!has("termination") && has("expiration"), "{:?}", extensions());
    assert_eq!((server.get(&path, &[]).status, server.request("DELETE", &path, &[], b"").status), (405, 405));
    assert!(server.post(&[("Upload-Length", "5")], b"").header("Upload-Expires").is_some());
    assert_eq!(server.post(&[("Upload-Length", "5"), ("Origin", "https://evil.example")], b"").status, 403);
    assert_eq!(server.request("GET", "/", &[], b"").status, 404);
    assert_eq!(server.told("/mailboxes")["slow_after_ms"], 77);
    assert_eq!(server.told("/pools")["memory"]["budget_bytes"], 9_000_000);
    wait_until("two threads are left", || pool(&server, "disk_write")["workers"] == 2);
    assert_eq!(pool(&server, "disk_read")["queue"]["capacity"], 9);
    wait_until("details are logged", || server.log().contains("admin request\""));
    save(&server, "");
    wait_until("all is as at first", || has("checksum"));
    assert_eq!(server.content(&path), b"hello");
}

#[test]
fn a_new_token_ends_what_the_old_one_opened() {
    let server = Server::start_watched(&[]);
    let (old, new) = ("first-token-of-this-test", "second-token-of-this-test");
    let with =
        |token: &str| server.ask_with("GET", "/pools", &[("Authorization", &format!("Bearer {token}"))], b"").status;
    save(&server, &format!("[admin]\ntoken = \"{old}\"\n"));
    wait_until("a token is needed", || server.ask("GET", "/pools").status == 401);
    assert_eq!((with(old), with(new)), (200, 401));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let login = server.ask_with("POST", "/login", &form, format!("token={old}").as_bytes());
    let cookie = login.the("Set-Cookie").split(';').next().unwrap().to_owned();
    let by_cookie = || server.ask_with("GET", "/pools", &[("Cookie", &cookie)], b"").status;
    assert_eq!(by_cookie(), 200);
    let authorization = format!("Bearer {old}");
    let shown = [("Authorization", authorization.as_str()), ("Cookie", login.the("Set-Cookie"))];
    let mut streams: Vec<_> = shown.into_iter().map(|shown| server.events_with("?only=stats", &[shown])).collect();
    save(&server, &format!("[admin]\ntoken = \"{new}\"\n"));
    for stream in &mut streams {
        stream.ended();
    }
    wait_until("the new one counts", || with(new) == 200);
    assert_eq!((with(old), by_cookie()), (401, 401));
    assert!(!server.log().contains(new), "the log shows the token");
}

/// Clients that upload without a pause until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    finished: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(server: &Server, clients: usize) -> Load {
        let (stop, finished) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let client = |_| {
            let (stop, finished) = (Arc::clone(&stop), Arc::clone(&finished));
            let (address, base) = (server.address, server.base.clone());
            thread::spawn(move || {
                let mut client = support::Client::connect(address);
                while !stop.load(Ordering::Relaxed) {
                    let headers = [support::OFFSET_TYPE, ("Upload-Length", "65536")];
                    let response = client.request("POST", &base, &headers, &[7; 65536]);
                    assert_eq!((response.status, response.offset()), (201, 65536), "{}", response.text());
                    finished.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Load { stop, finished, clients }
    }

    /// Stops them; none may have met an error.
    fn end(self, meanwhile: impl Fn()) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        wait_until("all have done", || {
            meanwhile();
            self.clients.iter().all(thread::JoinHandle::is_finished)
        });
        for client in self.clients {
            client.join().expect("a client that met no error");
        }
        self.finished.load(Ordering::Relaxed)
    }
}

/// 64 uploads at a time against an S3 that is slow with each part, while the pool grows and shrinks.
#[test]
fn a_pool_that_changes_size_under_load_fails_nothing() {
    let bed = Bed::start();
    let proxy = Proxy::start(&bed.endpoint());
    let server = Server::start_s3(bed, Some(&proxy.endpoint()), &ADMIN);
    save(&server, "[pools.s3]\nworkers = 1\n");
    wait_until("one worker is left", || pool(&server, "s3")["workers"] == 1);
    let mut events = server.events("?only=pool_resized");
    // Each part waits until all workers have one: what is under way at once is what they are.
    proxy.script(vec![Fault::new(Operation::UploadPart, Kind::Hold).always()]);
    let load = Load::start(&server, 64);
    let mut before = 1;
    for workers in [1_u64, 8, 2] {
        if workers != before {
            save(&server, &format!("[pools.s3]\nworkers = {workers}\n"));
            let told = events.next("pool_resized");
            assert_eq!((&told["pool"], &told["from"], &told["to"]), (&json!("s3"), &json!(before), &json!(workers)));
            // Those who leave end what they have in hand.
            wait_until("the pool has its size", || {
                if workers < before {
                    proxy.release();
                }
                pool(&server, "s3")["workers"] == workers
            });
        }
        let parts = || proxy.counts().requests(Operation::UploadPart);
        wait_until("every worker has a part", || proxy.held() == workers);
        for _ in 0..5 {
            let told = pool(&server, "s3");
            assert_eq!((&told["busy"], &told["workers_wanted"]), (&json!(workers), &json!(workers)), "{told}");
            wait_until("others wait", || pool(&server, "s3")["queue"]["depth"].as_u64() > Some(0));
            let sent = parts();
            proxy.release();
            wait_until("every worker has the next part", || parts() >= sent + workers && proxy.held() == workers);
        }
        before = workers;
    }
    let finished = load.end(|| proxy.release());
    assert!(finished >= 5 + 40 + 10, "{finished}");
    assert_eq!(pool(&server, "s3")["restarts"], 0);
    assert_eq!(server.kind_told("upload")["restarts"], 0);
    assert_eq!(server.metric("wharf_uploads_finished_total"), finished as f64);
    assert_eq!(server.metric("wharf_requests_aborted_total"), 0.0);
}
