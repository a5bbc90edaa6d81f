//! The settings from outside: the defaults, the layers, what is refused and how, and the report of `wharf check`.

use std::{fs, path::Path, time::Duration};

use clap::Parser;
use slog::Level;
use wharf::{
    flags::Arguments,
    settings::{Bind, Loaded, LogFormat, Settings, SettingsError, StorageKind, check_report, load},
};
use wharf_actors::storage::Durability;

/// A directory of its own, gone at the end of the test.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wharf-settings-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }

    fn with(self, file: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.join(file), text).expect("write a settings file");
        self
    }

    fn load(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Loaded, SettingsError> {
        let arguments = Arguments::try_parse_from([&["wharf"], flags].concat()).expect("read the flags");
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(&arguments.flags().overrides(), variables, &self.0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn with_file(name: &str, text: &str) -> Result<Loaded, SettingsError> {
    Directory::new(name).with("settings.toml", text).load(&[], &[])
}

fn origin(loaded: &Loaded, key: &str) -> String {
    loaded.origins[key].to_string()
}

fn bind(loaded: &Loaded) -> u16 {
    match loaded.settings.server.bind {
        Bind::Address(address) => address.port(),
        ref other => panic!("{other:?}"),
    }
}

const SHIPPED: &str = include_str!("../settings.toml");

#[test]
fn the_shipped_file_says_what_is_built_in() {
    let nothing = Directory::new("built-in").load(&[], &[]).unwrap();
    let shipped = with_file("shipped", SHIPPED).unwrap();
    assert_eq!(format!("{:?}", nothing.settings), format!("{:?}", shipped.settings));
    assert_eq!(nothing.file, None);
    assert_eq!(shipped.file.as_deref(), Some(Path::new("settings.toml")));
}

/// Every field by name, so that a new one has to be added here, with its default.
#[test]
fn the_defaults_are_these() {
    let Settings { server, tus, auth, checks, limits, cors, storage, expiration, pools, hooks, timeouts, admin, log } =
        Directory::new("defaults").load(&[], &[]).unwrap().settings;
    assert_eq!(server.bind, Bind::Address(([127, 0, 0, 1], 8080).into()));
    assert_eq!((server.unix_mode, &server.tls), (0o660, &None));
    assert_eq!((server.base_path.site(), server.base_path.path()), (None, "/files/"));
    assert_eq!((server.behind_proxy, server.absolute_location), (false, false));
    assert_eq!((server.greeting, server.page), (true, true));
    assert_eq!((server.max_connections, server.head_max_bytes, server.listen_backlog), (Some(16384), 65536, 1024));

    assert_eq!(tus.max_size_bytes, None);
    assert_eq!((tus.download, tus.termination), (true, true));
    assert_eq!((tus.concatenation, tus.concatenation_unfinished), (true, true));
    assert_eq!((tus.checksum, tus.checksum_trailer), (true, true));
    assert_eq!((tus.metadata_max_bytes, tus.append_message_bytes, tus.append_window), (16384, 1_048_576, 2));

    assert!(auth.token.is_none() && auth.jwt.is_none() && !auth.unowned);
    assert_eq!((checks.required_metadata.len(), checks.allowed_types.len()), (0, 0));
    assert_eq!((checks.allowed_extensions.len(), checks.max_size_by_type.len()), (0, 0));
    assert_eq!((limits.open_per_owner, limits.open_per_address), (0, 0));
    assert_eq!((limits.creations_per_minute_per_owner, limits.creations_per_minute_per_address), (0, 0));
    assert_eq!((limits.bytes_per_sec_per_upload, limits.bytes_per_sec_in_all), (0, 0));

    assert_eq!((cors.enabled, cors.allow_credentials, cors.max_age), (true, false, Duration::from_secs(86400)));
    assert!(cors.allow_origin.is_none());
    assert_eq!([cors.allow_methods, cors.allow_headers, cors.expose_headers].concat(), Vec::<String>::new());

    assert_eq!((storage.kind, storage.dir.as_path()), (StorageKind::Disk, Path::new("./data")));
    assert_eq!((storage.durability, storage.memory_budget_bytes), (Durability::Complete, 268_435_456));
    assert_eq!((storage.file_mode, storage.dir_mode, storage.roots.len()), (0o664, 0o775, 0));

    assert_eq!((expiration.after, expiration.interval), (None, Some(Duration::from_secs(60))));
    assert_eq!(expiration.scan_entries, 1000);

    assert_eq!((pools.uploads.arbiters, pools.uploads.mailbox), (None, 64));
    assert_eq!((pools.disk.workers, pools.disk.queue), (4, 256));
    assert_eq!((pools.s3.workers, pools.hooks.workers, pools.hooks.queue), (8, 16, 1024));

    let events: Vec<_> = hooks.events.iter().map(|kind| kind.name()).collect();
    assert_eq!(events, ["pre-create", "post-create", "post-receive", "post-finish", "post-terminate"]);
    assert_eq!((hooks.progress_every, hooks.identity.len()), (Duration::from_secs(1), 2));
    assert!(hooks.file.is_none() && hooks.http.is_none() && hooks.grpc.is_none());

    let secs = [
        timeouts.head,
        timeouts.body_read,
        timeouts.write,
        timeouts.keep_alive,
        timeouts.idle_owner,
        timeouts.store,
        timeouts.shutdown,
        timeouts.linger,
        timeouts.drain_delay,
    ]
    .map(|duration| duration.as_secs());
    assert_eq!(secs, [10, 60, 60, 75, 30, 20, 10, 2, 0]);

    assert_eq!((admin.enabled, &admin.bind), (true, &Bind::Address(([127, 0, 0, 1], 8081).into())));
    assert_eq!((admin.unix_mode, &admin.tls), (0o600, &None));
    assert_eq!((admin.token, admin.hosts.len(), admin.mailbox_slow), (None, 0, Duration::from_millis(200)));

    assert_eq!((log.format, log.level, log.requests, log.buffer_lines), (LogFormat::Auto, Level::Info, true, 8192));
}

/// The checks note each key that they read: a key that none reads, or one that the file lacks, shows here.
#[test]
fn every_key_is_read_and_no_other() {
    let written: Vec<String> = keys(SHIPPED);
    let loaded = Directory::new("keys").load(&[], &[]).unwrap();
    assert_eq!(keys(&check_report(&loaded)), written);
    assert!(check_report(&loaded).lines().all(|line| !line.contains("=  ")), "a key of the file is read by no check");
    let mut sorted = written;
    sorted.sort();
    assert_eq!(loaded.origins.keys().cloned().collect::<Vec<_>>(), sorted);
}

/// Dotted keys in the order of their lines.
fn keys(text: &str) -> Vec<String> {
    let mut section = "";
    let mut keys = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.split_once(" = ") {
            keys.push(format!("{section}.{name}"));
        }
    }
    keys
}

#[test]
fn every_key_is_explained() {
    let lines: Vec<&str> = SHIPPED.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# ") && pair[0].ends_with(['.', ')']), "{} has no explanation above it", pair[1]);
    }
}

#[test]
fn each_layer_wins_over_those_below() {
    let directory = Directory::new("layers")
        .with("settings.toml", "# mine\n[server]\nbind = \"127.0.0.1:1\"\n")
        .with("other.toml", "server.bind = '127.0.0.1:2'\n");
    let variable = [("WHARF__SERVER__BIND", "127.0.0.1:3"), ("HOME", "/x"), ("WHARF_FAULTS", "x"), ("WHARF", "y")];
    let named = ["--config", "other.toml"];
    let flag = ["--config", "other.toml", "--bind", "127.0.0.1:4"];
    let set = ["--set", "server.bind=127.0.0.1:5"];

    for (flags, variables, port, from) in [
        (&[][..], &[][..], 1, "settings.toml:3:8"),
        (&named, &[], 2, "other.toml:1:15"),
        (&named, &variable, 3, "WHARF__SERVER__BIND"),
        (&flag, &variable, 4, "--bind"),
        (&set, &variable, 5, "--set"),
    ] {
        let loaded = directory.load(flags, variables).unwrap();
        assert_eq!((bind(&loaded), origin(&loaded, "server.bind").as_str()), (port, from));
        assert_eq!(origin(&loaded, "server.base_path"), "built in");
    }
    let above = Directory::new("layers-none");
    assert_eq!(bind(&above.load(&[], &[]).unwrap()), 8080);
}

#[test]
fn a_layer_that_sets_one_key_of_a_section_leaves_the_others() {
    let directory = Directory::new("sections").with("settings.toml", "[pools.uploads]\narbiters = 3\n");
    let loaded =
        directory.load(&["--set", "pools.disk.workers=9"], &[("WHARF__POOLS__UPLOADS__MAILBOX", "128")]).unwrap();
    let pools = loaded.settings.pools;
    assert_eq!((pools.uploads.arbiters, pools.uploads.mailbox), (Some(3), 128));
    assert_eq!((pools.disk.workers, pools.disk.queue), (9, 256));
}

#[test]
fn values_are_read_alike_in_the_file_and_in_text() {
    let file = with_file(
        "alike",
        "[storage]\nfile_mode = 0o640\nroots = [\"/a\", \"/b\"]\n[tus]\ndownload = false\nmax_size_bytes = 0x10\n\
         [expiration]\nafter_secs = 1_000\ninterval_secs = 0\n[cors]\nallow_headers = \"X-A, X-B\"\n",
    )
    .unwrap();
    let text = Directory::new("alike-text")
        .load(
            &["--max-size", "0x10", "--expire-after", "1_000", "--set", "expiration.interval_secs=0"],
            &[
                ("WHARF__STORAGE__FILE_MODE", "0o640"),
                ("WHARF__STORAGE__ROOTS", "/a,/b"),
                ("WHARF__TUS__DOWNLOAD", "false"),
                ("WHARF__CORS__ALLOW_HEADERS", "X-A, X-B"),
            ],
        )
        .unwrap();
    assert_eq!(format!("{:?}", file.settings), format!("{:?}", text.settings));
    let Settings { storage, tus, expiration, cors, .. } = file.settings;
    assert_eq!((storage.file_mode, storage.roots.as_slice()), (0o640, &["/a".into(), "/b".into()][..]));
    assert_eq!((tus.download, tus.max_size_bytes), (false, Some(16)));
    assert_eq!((expiration.after, expiration.interval), (Some(Duration::from_secs(1000)), None));
    assert_eq!(cors.allow_headers, ["X-A", "X-B"]);
}

#[test]
fn extensions_that_need_another_go_with_it() {
    let tus = with_file("needs", "[tus]\nconcatenation = false\nchecksum = false\n").unwrap().settings.tus;
    assert_eq!((tus.concatenation_unfinished, tus.checksum_trailer), (false, false));
}

/// Where uploads are, the page can't be.
#[test]
fn there_is_no_page_below_the_base_path() {
    for (base_path, is_on) in [
        ("/", false),
        ("", false),
        ("https://example.com", false),
        ("/page/", false),
        ("http://example.com/page", false),
        ("/page/files", true),
        ("/pages", true),
        ("https://example.com/files/", true),
    ] {
        let loaded = with_file("page", &format!("[server]\npage = true\nbase_path = \"{base_path}\"\n")).unwrap();
        assert_eq!(loaded.settings.server.page, is_on, "{base_path}");
        assert!(check_report(&loaded).contains(&format!("\npage = {is_on} ")), "{base_path}");
    }
}

#[test]
fn the_origin_pattern_is_not_anchored() {
    let cors = with_file("cors", "[cors]\nallow_origin = 'example\\.com'\n").unwrap().settings.cors;
    let pattern = cors.allow_origin.unwrap();
    assert!(pattern.is_match("https://www.example.com:8443") && !pattern.is_match("https://example.org"));
}

/// What is said of a settings file.
fn refusal(name: &str, text: &str) -> String {
    with_file(name, text).expect_err(text).to_string()
}

fn assert_refusals(name: &str, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(refusal(name, text), *expected, "{text}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_reported_with_their_place() {
    assert_refusals(
        "types",
        &[
            ("[server]\n  bnd = 1\n", "settings.toml:2:3: server.bnd: unknown key; did you mean server.bind?"),
            ("[s3]\nbucket = 'x'\n", "settings.toml:1:2: s3: unknown key"),
            ("[server]\n\"bind.x\" = 1\n", "settings.toml:2:1: server.\"bind.x\": unknown key"),
            ("'server.bind' = 'x'\n", "settings.toml:1:1: \"server.bind\": unknown key; did you mean server.bind?"),
            ("server = 1\n", "settings.toml:1:1: server: is a section, not a key"),
            ("[[server]]\nbind = 'x'\n", "settings.toml:1:3: server: is a section, not a key"),
            ("[server.bind]\nx = 1\n", "settings.toml:1:1: server.bind: must be a string, not a section"),
            ("[server]\nbind = 8080\n", "settings.toml:2:8: server.bind: must be a string, not a whole number"),
            ("[tus]\ndownload = 'no'\n", "settings.toml:2:12: tus.download: must be true or false, not a string"),
            (
                "[tus]\nmax_size_bytes = 1.5\n",
                "settings.toml:2:18: tus.max_size_bytes: must be a whole number, not a number with a fraction",
            ),
            (
                "[tus]\nmax_size_bytes = 9223372036854775808\n",
                "settings.toml:2:18: tus.max_size_bytes: must be a whole number of at most 9223372036854775807",
            ),
            (
                "[tus]\nmax_size_bytes = -1\n",
                "settings.toml:2:18: tus.max_size_bytes: must be from 0 to 9223372036854775807, not -1",
            ),
            (
                "[storage]\nroots = ['/a', 1]\n",
                "settings.toml:2:9: storage.roots: must be a list of strings, not a list of something else",
            ),
        ],
    );
}

#[test]
fn impossible_values_are_reported_with_their_place() {
    assert_refusals(
        "values",
        &[
            ("[storage]\nroots = ['']\n", "settings.toml:2:9: storage.roots: each must be the path of a directory"),
            ("[storage]\ndir = ''\n", "settings.toml:2:7: storage.dir: must be the path of a directory"),
            ("[storage]\ns3.client = 'boto'\n", "settings.toml:2:13: storage.s3.client: must be \"aws\" or \"rusoto\""),
            #[cfg(not(feature = "rusoto"))]
            (
                "[storage]\ns3.client = 'rusoto'\n",
                "settings.toml:2:13: storage.s3.client: \"rusoto\" is not built into this wharf (it was built without the \
                 feature `rusoto`)",
            ),
            (
                "[storage]\nkind = 's3'\n",
                "settings.toml:2:8: storage.kind: storage.s3.bucket must be set when storage.kind is \"s3\"",
            ),
            (
                "[storage]\ndurability = 'never'\n",
                "settings.toml:2:14: storage.durability: must be one of \"none\", \"complete\", \"always\", not \"never\"",
            ),
            (
                "[storage]\nfile_mode = 664\n",
                "settings.toml:2:13: storage.file_mode: must be from 0o600 to 0o777, with 0o in front, and let the owner in",
            ),
            ("[pools]\ndisk.workers = 0\n", "settings.toml:2:16: pools.disk.workers: must be from 1 to 1024, not 0"),
            (
                "# \u{e9}\u{e9}\nserver = { greeting = true, bind = \"localhost:80\" }\n",
                "settings.toml:2:36: server.bind: must be an address and a port, such as 127.0.0.1:8080 or [::1]:8080, or unix:PATH, systemd or systemd:NAME",
            ),
            (
                "[server]\nbind = \"unix:\"\n",
                "settings.toml:2:8: server.bind: must have a path after unix:, such as unix:/run/wharf/wharf.sock",
            ),
            (
                "[server.tls]\nmin_version = '1.1'\n",
                "settings.toml:2:15: server.tls.min_version: must be one of \"1.2\", \"1.3\", not \"1.1\"",
            ),
            (
                "[admin]\ntoken = 'open sesame 1234'\n",
                "settings.toml:2:9: admin.token: must be 16 to 1024 letters, digits and signs of ASCII, without spaces",
            ),
            (
                "[admin]\nhosts = ['a.example:80']\n",
                "settings.toml:2:9: admin.hosts: must be names of hosts or addresses, without ports; \"a.example:80\" is none",
            ),
            ("[server]\nbase_path = '/a b/'\n", "settings.toml:2:13: server.base_path: must not hold ' '"),
            (
                "[cors]\nallow_methods = 'GET, A B'\n",
                "settings.toml:2:17: cors.allow_methods: must be names with commas between them; \"A B\" is none",
            ),
        ],
    );
}

#[test]
fn values_that_contradict_each_other_are_reported_with_their_place() {
    assert_refusals(
        "relations",
        &[
            (
                "[tus]\nmetadata_max_bytes = 65536\n",
                "settings.toml:2:22: tus.metadata_max_bytes: tus.metadata_max_bytes must be less than \
             server.head_max_bytes: metadata comes in the head",
            ),
            (
                "[server.tls]\nkey = 'a.key'\n",
                "settings.toml:2:7: server.tls.key: server.tls.certificate and server.tls.key must be set together",
            ),
            (
                "[server.tls]\nclient_ca = 'a.pem'\n",
                "settings.toml:2:13: server.tls.client_ca: server.tls.client_ca counts for nothing without \
             server.tls.certificate: nobody would be asked for a certificate",
            ),
            (
                "[storage]\nmemory_budget_bytes = 1048576\n",
                "settings.toml:2:23: storage.memory_budget_bytes: tus.append_window times tus.append_message_bytes must fit \
             into storage.memory_budget_bytes: one upload needs it",
            ),
            (
                "[admin]\nbind = \"0.0.0.0:8081\"\n",
                "settings.toml:2:8: admin.bind: admin.token or admin.tls.client_ca must be set when admin.bind is \
             neither a loopback address nor a Unix socket: whoever reaches it could delete uploads",
            ),
            (
                "[admin]\nbind = \"127.0.0.1:8080\"\n",
                "settings.toml:2:8: admin.bind: admin.bind must not be server.bind: what operators see is not for everybody",
            ),
            (
                "[pools.uploads]\nmailbox = 2\n",
                "settings.toml:2:11: pools.uploads.mailbox: pools.uploads.mailbox must be more than tus.append_window: \
             others must reach an owner whose window is full",
            ),
        ],
    );
}

#[test]
fn every_number_has_its_limits() {
    let directory = Directory::new("limits");
    let report = check_report(&directory.load(&[], &[]).unwrap());
    let whole = |key: &&String| {
        let name = key.rsplit('.').next().unwrap();
        let line = report.lines().find(|line| line.starts_with(&format!("{name} = "))).unwrap();
        line[name.len() + 3..].starts_with(|first: char| first.is_ascii_digit())
    };
    let keys = keys(&report);
    let numbers: Vec<&String> = keys.iter().filter(whole).collect();
    assert_eq!(numbers.len(), 62, "{numbers:?}");
    for key in numbers {
        let refusal = directory.load(&["--set", &format!("{key}=-1")], &[]).unwrap_err().to_string();
        assert!(refusal.starts_with(&format!("--set: {key}: must be from ")), "{refusal}");
        let unlimited = ["tus.max_size_bytes"];
        let most = directory.load(&["--set", &format!("{key}={}", i64::MAX)], &[]);
        assert_eq!(most.is_ok(), unlimited.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn broken_toml_is_reported_with_its_place() {
    for (text, place) in [
        ("[server]\nbind = \n", "settings.toml:2:8: "),
        ("[server]\nbind = 'a'\nbind = 'b'\n", "settings.toml:3:1: "),
        ("[server\n", "settings.toml:1:8: "),
    ] {
        let refusal = refusal("broken", text);
        assert!(refusal.starts_with(place) && refusal.lines().count() == 1, "{refusal}");
    }
    assert_eq!(
        refusal("pattern", "cors.allow_origin = '('\n").split(": must").next(),
        Some("settings.toml:1:21: cors.allow_origin")
    );
    let bytes = Directory::new("bytes").with("settings.toml", b"# fine\n# \xff\n").load(&[], &[]).unwrap_err();
    assert_eq!(bytes.to_string(), "settings.toml:2:3: is not UTF-8 text");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_their_lines() {
    let refusal = refusal("several", "[tus]\nzzzzzzzz = 1\n[log]\nlevel = 1\n[cors]\nenabled = 'x'\n");
    assert_eq!(
        refusal,
        "settings.toml:2:1: tus.zzzzzzzz: unknown key\n\
         settings.toml:4:9: log.level: must be a string, not a whole number\n\
         settings.toml:6:11: cors.enabled: must be true or false, not a string"
    );
    let refusal = self::refusal("ranges", "log.level = 'loud'\ntimeouts.head_secs = 0\n");
    assert_eq!(
        refusal,
        "settings.toml:2:22: timeouts.head_secs: must be from 1 to 3600, not 0\n\
         settings.toml:1:13: log.level: must be one of \"critical\", \"error\", \"warning\", \"info\", \"debug\", \
         \"trace\", not \"loud\""
    );
}

#[test]
fn a_named_file_must_be_there() {
    let missing = Directory::new("missing").load(&["--config", "none.toml"], &[]).unwrap_err().to_string();
    assert_eq!(missing, "none.toml: can't be read: No such file or directory (os error 2)");
    let directory = Directory::new("unreadable");
    fs::create_dir(directory.0.join("settings.toml")).unwrap();
    assert!(directory.load(&[], &[]).unwrap_err().to_string().starts_with("settings.toml: can't be read: "));
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    for (variable, value, expected) in [
        ("WHARF__SERVER__BND", "1", "WHARF__SERVER__BND: server.bnd: unknown key; did you mean server.bind?"),
        ("WHARF__S3__BUCKET", "1", "WHARF__S3__BUCKET: s3.bucket: unknown key"),
        ("WHARF__", "1", "WHARF__: : unknown key"),
        (
            "WHARF__server__bind",
            "127.0.0.1:1",
            "WHARF__server__bind: server.bind: unknown variable; the names of wharf's variables are written in capitals",
        ),
        ("WHARF__TUS__DOWNLOAD", "yes", "WHARF__TUS__DOWNLOAD: tus.download: must be true or false, not \"yes\""),
        (
            "WHARF__TUS__APPEND_WINDOW",
            "",
            "WHARF__TUS__APPEND_WINDOW: tus.append_window: must be a whole number, not \"\"",
        ),
        (
            "WHARF__TUS__APPEND_WINDOW",
            "65",
            "WHARF__TUS__APPEND_WINDOW: tus.append_window: must be from 1 to 64, not 65",
        ),
        (
            "WHARF__STORAGE__FILE_MODE",
            "0664",
            "WHARF__STORAGE__FILE_MODE: storage.file_mode: must be a whole number, not \"0664\"",
        ),
    ] {
        let refusal = Directory::new("variables").load(&[], &[(variable, value)]).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn mistakes_in_flags_name_the_flag() {
    for (flags, expected) in [
        (&["--max-size", "10GB"][..], "--max-size: tus.max_size_bytes: must be a whole number, not \"10GB\""),
        (&["--set", "tus.donwload=true"], "--set: tus.donwload: unknown key; did you mean tus.download?"),
        (&["--set", "tus=true"], "--set: tus: is a section, not a key"),
        (&["--bind", "1", "--set", "server.bind=2"], "--set: server.bind: was set already by --bind"),
        (&["--behind-proxy=maybe"], "--behind-proxy: server.behind_proxy: must be true or false, not \"maybe\""),
    ] {
        let refusal = Directory::new("flags").load(flags, &[]).unwrap_err();
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn the_report_names_origins_and_is_a_settings_file_itself() {
    let directory = Directory::new("report").with("mine.toml", "\n[server]\nbase_path = \"up\"\ngreeting = false\n");
    let loaded = directory
        .load(
            &["check", "--config", "mine.toml", "--dir", "/srv/a \"b\"", "--set", "storage.roots=/c,/d"],
            &[("WHARF__POOLS__UPLOADS__ARBITERS", "2")],
        )
        .unwrap();
    let report = check_report(&loaded);
    let line = |start: &str| report.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert_eq!(report.lines().next(), Some("# settings file: mine.toml"));
    assert_eq!(line("bind"), "bind = \"127.0.0.1:8080\"                      # built in");
    assert_eq!(line("base_path"), "base_path = \"/up/\"                           # mine.toml:3:13");
    assert_eq!(line("greeting"), "greeting = false                             # mine.toml:4:12");
    assert_eq!(line("arbiters"), "arbiters = 2                                 # WHARF__POOLS__UPLOADS__ARBITERS");
    assert_eq!(line("file_mode"), "file_mode = 0o664                            # built in");
    assert_eq!(line("dir "), "dir = '/srv/a \"b\"'                           # --dir");
    assert_eq!(line("roots"), "roots = [\"/c\", \"/d\"]                         # --set");

    let again = Directory::new("report-again").with("settings.toml", &report).load(&[], &[]).unwrap();
    assert_eq!(format!("{:?}", again.settings), format!("{:?}", loaded.settings));
}
