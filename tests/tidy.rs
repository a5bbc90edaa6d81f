//! The house rules, checked on the sources: who may know whom, how long a file may be, and what no file may have.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::{fs, path::Path};

use rules::{RULES, Rule, SDKS, WEB};
use source::{Source, sources};

/// Whether a path is what an entry of a rule names: the same, something in it, or one of those in braces.
fn is_named(path: &str, entry: &str) -> bool {
    if let Some((start, list)) = entry.split_once('{') {
        let names = list.trim_end_matches('}').split(',');
        return names.map(str::trim).any(|name| is_named(path, &format!("{start}{name}")));
    }
    match path.strip_prefix(entry) {
        Some(rest) => entry.ends_with("::") || rest.is_empty() || rest.starts_with("::"),
        None => path == entry.trim_end_matches("::"),
    }
}

fn is_own(path: &str) -> bool {
    ["wharf", "wharf_actors"].contains(&path.split("::").next().unwrap_or_default())
}

/// The rule for a module: the one for the smallest room around it.
fn rule_for(module: &str) -> &'static Rule {
    let around = |rule: &&Rule| is_named(module, rule.room);
    RULES.iter().filter(around).max_by_key(|rule| rule.room.len()).expect("each crate has a rule")
}

/// What is wrong with what a module names.
fn trespasses(module: &str, paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let rule = rule_for(module);
    let below_the_wall = module.starts_with("wharf_actors");
    let is_wrong = |path: &String| {
        let named = |list: &[&str]| list.iter().any(|entry| is_named(path, entry));
        // `actix` stands for all crates of that family, too.
        let starts = |list: &[&str]| list.iter().any(|entry| path.starts_with(entry));
        if is_own(path) && !(below_the_wall && path.starts_with("wharf::")) {
            !named(&[rule.room]) && !named(rule.own)
        } else {
            let is_excepted = named(rule.except) || starts(SDKS) && starts(rule.except);
            (starts(rule.never) || starts(SDKS) || below_the_wall && starts(WEB)) && !is_excepted
        }
    };
    paths.into_iter().filter(is_wrong).map(|path| format!("{module} names {path}")).collect()
}

#[track_caller]
fn assert_none(rule: &str, mut found: Vec<String>) {
    found.sort();
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// Each source with what a check says of it.
fn complaints(check: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let of = |source: &Source| check(source).into_iter().map(|what| format!("{}: {what}", source.name)).collect();
    sources().iter().flat_map(|source| -> Vec<String> { of(source) }).collect()
}

#[test]
fn rooms_know_only_those_they_may() {
    let in_a_crate = |source: &Source| ["src/", "actors/src/"].iter().any(|start| source.name.starts_with(start));
    let sources: Vec<Source> = sources().into_iter().filter(in_a_crate).collect();
    let found = sources.iter().flat_map(|source| trespasses(&source.module(), source.paths())).collect();
    assert_none("a room names what it may not know", found);
}

#[test]
fn trespasses_are_found() {
    for (module, path) in [
        ("wharf::protocol::append", "wharf_actors::Uploads"),
        ("wharf::protocol::append", "std::fs::File"),
        ("wharf::protocol", "wharf::settings::Settings"),
        ("wharf::routes::append", "wharf_actors::storage::Reader"),
        ("wharf::routes", "wharf_actors::disk::Disk"),
        ("wharf::server::wire", "wharf::routes::serve"),
        ("wharf", "wharf_actors::Uploads"),
        ("wharf_actors::upload::state::advance", "tokio::sync::oneshot"),
        ("wharf_actors::upload::perform", "wharf_actors::storage::file::Config"),
        ("wharf_actors::storage::file", "wharf_actors::upload::Upload"),
        ("wharf_actors::parts::uploader", "wharf_actors::storage::s3::client::aws::Aws"),
        ("wharf_actors::parts", "wharf_actors::storage::Storage"),
        ("wharf_actors::lease", "actix_http::header::HeaderMap"),
        ("wharf_actors::lease", "http::StatusCode"),
        ("wharf_actors::storage::s3", "aws_sdk_s3::Client"),
        ("wharf_actors::storage::s3::client", "aws_sdk_s3::Client"),
        ("wharf_actors::storage::s3::client", "wharf_actors::UploadId"),
        ("wharf_actors::storage::s3::client::aws::lists", "wharf_actors::UploadId"),
        ("wharf_actors::storage::s3::client::aws::lists", "rusoto_s3::S3"),
        ("wharf_actors::storage::s3::client::aws", "hyper_util::client::legacy::Client"),
        ("wharf_actors::storage::s3::client::rusoto::lists", "aws_sdk_s3::Client"),
        ("wharf_actors::storage::s3::client::rusoto", "wharf_actors::UploadId"),
        ("wharf_actors::storage::s3::client::body", "hyper::Request"),
        ("wharf_actors::storage::s3::keeper", "rusoto_s3::S3"),
        ("wharf_actors::hooks::file", "hyper::Request"),
        ("wharf_actors::hooks::several", "wharf_actors::hooks::http::Http"),
        ("wharf_actors::hooks::http", "tonic::Request"),
        ("wharf_actors::hooks::http::exchange", "wharf_actors::storage::Storage"),
        ("wharf_actors::hooks::verdict", "hyper::StatusCode"),
        ("wharf::doctor::checks", "wharf::protocol::Header"),
        ("wharf::doctor::wire", "hyper::Request"),
        ("wharf::service", "aws_config::Region"),
        ("wharf::auth::jwt", "wharf_actors::Uploads"),
        ("wharf::auth::keys", "std::fs"),
        ("wharf::auth", "hyper::Request"),
        ("wharf::limits::seats", "wharf_actors::Uploads"),
        ("wharf::service", "rusoto_core::Region"),
    ] {
        assert_eq!(trespasses(module, [path.to_owned()]).len(), 1, "{module} may name {path}");
    }
    for (module, path) in [
        ("wharf::protocol::append", "wharf::protocol::Fields"),
        ("wharf::routes::download", "wharf_actors::storage::Reader"),
        ("wharf::auth::remote", "hyper::Request"),
        ("wharf_actors::upload::state::advance", "std::collections::VecDeque"),
        ("wharf_actors::lease", "tokio::sync::oneshot"),
        ("wharf_actors::storage::s3::client::aws::lists", "aws_sdk_s3::Client"),
        ("wharf_actors::storage::s3::client::body", "http_body::Body"),
        ("wharf_actors::hooks::http::exchange", "hyper::StatusCode"),
        ("wharf_actors::hooks::client::tls", "rustls::ClientConfig"),
        ("wharf_actors::storage::s3::client::rusoto::transport", "hyper_util::client::legacy::Client"),
    ] {
        assert_none("a false alarm", trespasses(module, [path.to_owned()]));
    }
}

/// The wall between the crates: what is below it can ask others by HTTP, and answers nobody.
#[test]
fn the_crate_of_the_actors_serves_no_http() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("actors/Cargo.toml");
    let manifest: toml::Table = fs::read_to_string(manifest).unwrap().parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    assert!(dependencies.contains_key("actix"), "the dependencies were not found");
    // Who asks others by HTTP: the clients of S3 and hooks. Which rooms these are stands in the rules.
    let of_clients = ["http-body", "http-body-util", "hyper", "hyper-rustls", "hyper-util"];
    let is_web = |name: &str| WEB.iter().any(|web| name.replace('-', "_").starts_with(web.trim_end_matches(':')));
    let web = |name: &&String| is_web(name) && !of_clients.contains(&name.as_str());
    assert_none("actors/Cargo.toml depends on", dependencies.keys().filter(web).cloned().collect());
    let serves = |name: &&&str| {
        let features = dependencies[**name].get("features").and_then(toml::Value::as_array);
        features.is_some_and(|features| features.iter().any(|feature| feature.as_str() == Some("server")))
    };
    assert_none("to be served", of_clients.iter().filter(serves).map(|name| (*name).to_owned()).collect());
}

#[test]
fn every_file_begins_with_its_responsibility() {
    let begins = |source: &Source| {
        let says = source.text.strip_prefix("//! ").and_then(|rest| rest.lines().next());
        if says.is_some_and(|says| says.len() > 10) { vec![] } else { vec!["does not begin with `//! `".to_owned()] }
    };
    assert_none("files without a first sentence", complaints(begins));
}

#[test]
fn no_file_is_longer_than_a_reader_s_patience() {
    let too_long = |source: &Source| {
        let (all, product) = (source.text.lines().count(), source.product_lines());
        let mut found = Vec::new();
        if all >= 600 {
            found.push(format!("{all} lines, of at most 599"));
        }
        if product > 450 {
            found.push(format!("{product} lines without tests, of at most 450"));
        }
        found
    };
    assert_none("files that are too long", complaints(too_long));
}

/// The names that stand in code as whole words.
fn words<'code>(code: &'code str, searched: &'static [&'static str]) -> impl Iterator<Item = String> + use<'code> {
    let words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter(|word| searched.contains(word)).map(|word| format!("`{word}`"))
}

/// What changes has one owner, so there is nothing to lock and no way around it.
#[test]
fn there_are_no_locks_below_the_wall() {
    const LOCKS: &[&str] = &["Mutex", "RwLock", "RefCell", "UnsafeCell", "Condvar", "unsafe", "parking_lot"];
    let locks = |source: &Source| match source.name.starts_with("actors/") {
        true => {
            let mut found: Vec<String> = words(&source.code, LOCKS).collect();
            found.extend(source.code.contains("static mut").then(|| "`static mut`".to_owned()));
            found
        }
        false => Vec::new(),
    };
    assert_none("shared state that is locked", complaints(locks));
    assert_eq!(words("a: RefCell<u8>, unsafe_code", LOCKS).collect::<Vec<_>>(), ["`RefCell`"]);
}

/// A test that waits for a time is slow on one machine and wrong on another.
#[test]
fn tests_do_not_sleep() {
    // `pause` rests between two looks at a condition.
    const RESTS: &str = "tests/support/process.rs";
    // The S3 server and its proxy are late on purpose.
    let is_late = |source: &Source| source.name.starts_with("tests/s3/src/");
    let sleeps = |source: &Source| {
        let allowed = if is_late(source) { usize::MAX } else { usize::from(source.name == RESTS) };
        words(source.tests(), &["sleep", "sleep_until"]).skip(allowed).collect()
    };
    assert_none("tests that sleep", complaints(sleeps));
}

#[test]
fn every_test_is_run_and_asserts_by_itself() {
    let skipped = |source: &Source| {
        let marks = ["#[ignore", "#[should_panic"].into_iter();
        marks.filter(|mark| source.code.contains(mark)).map(str::to_owned).collect()
    };
    assert_none("tests that are skipped, or pass by any panic", complaints(skipped));
}

/// `foo.rs` beside `foo/`. Only a harness is a `mod.rs`, since cargo takes each file in `tests/` for a test.
#[test]
fn modules_are_named_after_what_they_hold() {
    let is_unnamed = |source: &Source| {
        let is_mod = source.name.ends_with("/mod.rs") && !source.name.ends_with("tests/support/mod.rs");
        is_mod.then(|| "is a mod.rs".to_owned()).into_iter().collect()
    };
    assert_none("files without a name of their own", complaints(is_unnamed));
}
