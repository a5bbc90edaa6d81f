//! The effective settings as text: a settings file in itself, with where each value came from.

use std::fmt::Write;

use super::{Loaded, Origin, catalogue::CATALOGUE};

/// Where the origins stand, unless a value is longer.
const ORIGIN_COLUMN: usize = 44;

/// Keys whose values are not shown.
const SECRETS: &[&str] = &["admin.token", "auth.token", "hooks.http.url", "hooks.http.signing_key", "hooks.grpc.url"];

fn is_empty(value: &toml::Value) -> bool {
    value.as_str().is_some_and(str::is_empty)
}

/// All settings as they apply, in the order of the built-in file, each with its origin.
#[must_use]
pub fn check_report(loaded: &Loaded) -> String {
    let mut report = match &loaded.file {
        Some(file) => format!("# settings file: {}\n", file.display()),
        None => "# settings file: none\n".to_owned(),
    };
    let mut section = "";
    for key in CATALOGUE.keys() {
        let (in_section, name) = key.rsplit_once('.').unwrap_or(("", key));
        if in_section != section {
            section = in_section;
            let _ = write!(report, "\n[{section}]\n");
        }
        // What is secret stays so. As a comment, so that nobody takes what stands here for the value.
        let is_secret =
            SECRETS.contains(&key.as_str()) && loaded.effective.get(key).is_some_and(|value| !is_empty(value));
        let entry = if is_secret { format!("# {name} is set") } else { format!("{name} = {}", value(loaded, key)) };
        let _ = writeln!(report, "{entry:ORIGIN_COLUMN$} # {}", origin(loaded, key));
    }
    report
}

fn value(loaded: &Loaded, key: &str) -> String {
    match loaded.effective.get(key) {
        Some(toml::Value::Integer(mode)) if key.ends_with("_mode") => format!("{mode:#o}"),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}

fn origin(loaded: &Loaded, key: &str) -> Origin {
    loaded.origins.get(key).cloned().unwrap_or(Origin::BuiltIn)
}
