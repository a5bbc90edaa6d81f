//! The settings against whatever a file may hold: read or refused with a place, never a panic, and never read as
//! something else than what was written. `PROPTEST_CASES` sets how many files are tried.

use std::{fs, path::Path};

use proptest::prelude::*;
use wharf::{
    protocol::location::BasePath,
    settings::{Loaded, Overrides, SettingsError, check_report, load},
};

const SHIPPED: &str = include_str!("../settings.toml");

fn read(directory: &Path, text: impl AsRef<[u8]>) -> Result<Loaded, SettingsError> {
    fs::write(directory.join("settings.toml"), text).expect("a settings file");
    load(&Overrides::default(), [], directory)
}

/// What was read is what its report says, which is a settings file itself. What was refused says where.
fn is_sound(directory: &Path, text: impl AsRef<[u8]>) -> Result<(), TestCaseError> {
    match read(directory, text) {
        Ok(loaded) => {
            let again = read(directory, check_report(&loaded));
            let again = again.map_err(|error| TestCaseError::fail(format!("the report is refused: {error}")))?;
            prop_assert_eq!(format!("{:?}", again.settings), format!("{:?}", loaded.settings));
        }
        Err(error) => prop_assert!(error.to_string().contains("settings.toml"), "{}", error),
    }
    Ok(())
}

/// A line of a settings file, right or nearly so.
fn line() -> impl Strategy<Value = String> {
    let lines: Vec<&str> = SHIPPED.lines().filter(|line| !line.starts_with('#')).collect();
    let names = lines.iter().filter_map(|line| line.split_once(" = ").map(|(name, _)| name.to_owned()));
    let name = proptest::sample::select(names.collect::<Vec<_>>());
    let section = prop_oneof!["\\[(server|tus|cors|storage|timeouts|log|pools|pools\\.disk)\\]", "\\[[a-z.]{0,9}\\]?"];
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (0..70_000_i64).prop_map(|number| number.to_string()),
        "true|false|\\[\\]|\\[\"/a\"\\]|0o7{0,4}|1e9|inf|-0|1979-05-27|\\{ a = 1 \\}",
        "\"[ -!#-\\[\\]-~ü]{0,12}\"",
        ".{0,8}",
    ];
    prop_oneof![
        2 => section,
        3 => proptest::sample::select(lines).prop_map(str::to_owned),
        4 => (name, value).prop_map(|(name, value)| format!("{name} = {value}")),
        1 => ".{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lines_are_read_or_refused(lines in proptest::collection::vec(line(), 0..6)) {
        let directory = tempfile::tempdir().unwrap();
        is_sound(directory.path(), lines.join("\n"))?;
    }

    /// The shipped file with one slip of the finger.
    #[test]
    fn any_slip_in_the_shipped_file_is_read_or_refused(at: prop::sample::Index, byte: u8, kind in 0..3) {
        let directory = tempfile::tempdir().unwrap();
        let mut text = SHIPPED.as_bytes().to_vec();
        let at = at.index(text.len());
        match kind {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => drop(text.remove(at)),
        }
        is_sound(directory.path(), text)?;
    }

    #[test]
    fn any_bytes_are_read_or_refused(text: Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        is_sound(directory.path(), text)?;
    }

    /// What the settings let pass, the service can use: a start that fails later names neither key nor line.
    #[test]
    fn a_base_path_that_is_accepted_can_be_served(
        text in "((https?|HTTPS|ftp)://([a-z.]{1,6}|\\[::1\\]|[ -~]{0,6})(:[0-9]{0,6})?)?(/?[a-z%2.!$&'()*+,;=:@~_-]{0,8}){0,3}/?",
    ) {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("[server]\nbase_path = '''{text}'''\n");
        if let Ok(loaded) = read(directory.path(), &text) {
            let base = loaded.settings.server.base_path;
            let served = BasePath::parse(&base.to_string());
            prop_assert!(served.is_ok(), "{} is accepted as {} and then refused", text, base);
            prop_assert_eq!(served.unwrap().path, base.path());
        }
    }

    /// The same for the pattern of origins and the lists of names.
    #[test]
    fn rules_for_origins_that_are_accepted_can_be_served(pattern in "[a-z.*+?()\\[\\]|^$\\\\{}0-9-]{0,10}", list in "[A-Za-z-, ]{0,12}") {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("[cors]\nallow_origin = '''{pattern}'''\nallow_methods = '{list}'\nallow_headers = '{list}'\n");
        if let Ok(loaded) = read(directory.path(), &text) {
            let cors = loaded.settings.cors;
            let served = wharf::protocol::cors::Cors::new(&wharf::protocol::cors::CorsConfig {
                enabled: cors.enabled,
                allow_origin: cors.allow_origin.map(|regex| regex.as_str().to_owned()).unwrap_or_default(),
                allow_credentials: cors.allow_credentials,
                allow_methods: cors.allow_methods,
                allow_headers: cors.allow_headers,
                expose_headers: cors.expose_headers,
                max_age_secs: cors.max_age.as_secs(),
            });
            prop_assert!(served.is_ok(), "{}", text);
        }
    }
}
