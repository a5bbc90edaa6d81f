//! The command line: what can be asked of the program, and which settings it overrides.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

#[cfg(feature = "doctor")]
use crate::doctor;
use crate::settings::{Override, Overrides};

const EXAMPLES: &str = "\
Examples:
  wharf
      Listen on http://127.0.0.1:8080/files/ and store in ./data.
  wharf --bind 0.0.0.0:8080 --dir /srv/uploads --max-size 10737418240
      Listen on every address, store elsewhere, take uploads of up to 10 GiB.
  wharf --config /etc/wharf/settings.toml --log-format json
      Read a settings file, log one JSON object a line.
  wharf --set timeouts.idle_owner_secs=120 --set 'cors.allow_origin=^https://example\\.com$'
      Set keys that have no flag of their own.
  wharf check --config /etc/wharf/settings.toml
      Say what is wrong with the settings, or print them all and where each came from.
  wharf doctor https://example.com/files/
      Find out what a proxy in front of a tus server does to uploads, and how to mend it.

Each setting is also a variable: WHARF__SERVER__BIND, WHARF__POOLS__UPLOADS__ARBITERS and so on.
Flags win over variables, variables over the settings file, the file over what is built in.";

/// The command line of `wharf`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "wharf",
    version,
    about = "A server for resumable uploads (tus 1.0.0) that stores on the local disk",
    override_usage = "wharf [FLAGS]\n       wharf check [FLAGS]\n       wharf probe [URL]\n       wharf doctor URL [FLAGS]",
    after_help = EXAMPLES,
    // A flag before the subcommand would go unheard.
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
pub struct Arguments {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    flags: Flags,
}

impl Arguments {
    /// The flags, wherever they were given.
    #[must_use]
    pub fn flags(&self) -> &Flags {
        match &self.task {
            Some(Task::Check(flags)) => flags,
            // Others have flags of their own, and no settings.
            _ => &self.flags,
        }
    }
}

/// What wharf does besides serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Check the settings, print them as they apply and where each came from
    #[command(override_usage = "wharf check [FLAGS]")]
    Check(Box<Flags>),
    /// Ask a server once: success when it answers with a 2xx
    Probe(Probe),
    /// Upload through the proxies in front of a tus server, and name what is in the way
    #[cfg(feature = "doctor")]
    #[command(
        after_help = "Ends with 0 if nothing is in the way, 1 if something is, 2 if that could not be found out."
    )]
    Doctor(doctor::Options),
}

/// Whom to ask, and for how long.
#[derive(Debug, Clone, Args)]
pub struct Probe {
    /// What to ask for, by http or https; any certificate is believed
    #[arg(default_value = "http://127.0.0.1:8081/healthz")]
    pub url: String,
    /// How many seconds it may take
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// The certificate to show to a server that asks for one (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// The flags that change settings.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// Settings file to read [otherwise: ./settings.toml, if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Set any key, as in tus.append_window=4; repeat it for more
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment, help_heading = "Settings")]
    assignments: Vec<Assignment>,

    /// ADDRESS:PORT, unix:PATH or systemd[:NAME] [built in: 127.0.0.1:8080]
    #[arg(long, value_name = "WHERE", help_heading = "Listening")]
    bind: Option<String>,
    /// Path of the uploads, or a URL for each Location [built in: /files/]
    #[arg(long, value_name = "PATH", help_heading = "Listening")]
    base_path: Option<String>,
    /// Believe the X-Forwarded-* and Forwarded headers of a proxy
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "Listening"
    )]
    behind_proxy: Option<String>,

    /// Directory for uploads [built in: ./data]
    #[arg(long, value_name = "DIRECTORY", help_heading = "Uploads")]
    dir: Option<String>,
    /// Largest upload in bytes; 0: no limit [built in: 0]
    #[arg(long, value_name = "BYTES", help_heading = "Uploads")]
    max_size: Option<String>,
    /// When to sync: none, complete or always [built in: complete]
    #[arg(long, value_name = "WHEN", help_heading = "Uploads")]
    durability: Option<String>,
    /// How long unfinished uploads are kept; 0: for ever [built in: 0]
    #[arg(long, value_name = "SECONDS", help_heading = "Uploads")]
    expire_after: Option<String>,

    /// How log lines look: auto, text or json [built in: auto]
    #[arg(long, value_name = "FORMAT", help_heading = "Log")]
    log_format: Option<String>,
    /// critical, error, warning, info, debug or trace [built in: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Log")]
    log_level: Option<String>,
}

impl Flags {
    /// What these flags say about settings. Values are checked with all the others, by their keys.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        let own = [
            ("--bind", "server.bind", &self.bind),
            ("--base-path", "server.base_path", &self.base_path),
            ("--behind-proxy", "server.behind_proxy", &self.behind_proxy),
            ("--dir", "storage.dir", &self.dir),
            ("--max-size", "tus.max_size_bytes", &self.max_size),
            ("--durability", "storage.durability", &self.durability),
            ("--expire-after", "expiration.after_secs", &self.expire_after),
            ("--log-format", "log.format", &self.log_format),
            ("--log-level", "log.level", &self.log_level),
        ];
        let own = own.into_iter().filter_map(|(flag, key, value)| {
            value.clone().map(|value| Override { flag: flag.to_owned(), key: key.to_owned(), value })
        });
        let others = self.assignments.iter().map(|Assignment { key, value }| Override {
            flag: "--set".to_owned(),
            key: key.clone(),
            value: value.clone(),
        });
        Overrides { file: self.config.clone(), values: own.chain(others).collect() }
    }
}

#[derive(Debug, Clone)]
struct Assignment {
    key: String,
    value: String,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE, such as tus.max_size_bytes=1048576")?;
    Ok(Assignment { key: key.trim().to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn overrides(arguments: &[&str]) -> Vec<(String, String, String)> {
        let arguments = Arguments::try_parse_from([&["wharf"], arguments].concat()).unwrap();
        let values = arguments.flags().overrides().values;
        values.into_iter().map(|value| (value.flag, value.key, value.value)).collect()
    }

    fn entry(flag: &str, key: &str, value: &str) -> (String, String, String) {
        (flag.to_owned(), key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_names_its_key() {
        let arguments = [
            "--bind=1",
            "--base-path=2",
            "--behind-proxy=3",
            "--dir=4",
            "--max-size=5",
            "--durability=6",
            "--expire-after=7",
            "--log-format=8",
            "--log-level=9",
            "--set=a.b=c=d",
            "--set",
            "e=",
        ];
        let expected = [
            entry("--bind", "server.bind", "1"),
            entry("--base-path", "server.base_path", "2"),
            entry("--behind-proxy", "server.behind_proxy", "3"),
            entry("--dir", "storage.dir", "4"),
            entry("--max-size", "tus.max_size_bytes", "5"),
            entry("--durability", "storage.durability", "6"),
            entry("--expire-after", "expiration.after_secs", "7"),
            entry("--log-format", "log.format", "8"),
            entry("--log-level", "log.level", "9"),
            entry("--set", "a.b", "c=d"),
            entry("--set", "e", ""),
        ];
        assert_eq!(overrides(&arguments), expected);
        assert_eq!(overrides(&[&["check"], &arguments[..]].concat()), expected);
    }

    #[test]
    fn behind_proxy_needs_no_value() {
        assert_eq!(overrides(&["--behind-proxy"]), [entry("--behind-proxy", "server.behind_proxy", "true")]);
        assert_eq!(
            overrides(&["--behind-proxy", "--dir", "x"]),
            [entry("--behind-proxy", "server.behind_proxy", "true"), entry("--dir", "storage.dir", "x")]
        );
    }

    #[test]
    fn mistakes_are_refused() {
        for wrong in [
            &["--bnd", "x"][..],
            &["--set", "novalue"],
            &["serve"],
            &["--bind", "a", "--bind", "b"],
            &["--bind", "a", "check"],
            &["probe", "--bind", "a"],
            &["probe", "--timeout", "0"],
            &["probe", "--key", "a"],
        ] {
            assert!(Arguments::try_parse_from([&["wharf"], wrong].concat()).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn help_is_grouped_and_has_examples() {
        let help = Arguments::command().render_help().to_string();
        for part in ["Settings:", "Listening:", "Uploads:", "Log:", "Examples:", "check", "WHARF__SERVER__BIND"] {
            assert!(help.contains(part), "{part} is missing from\n{help}");
        }
        assert!(help.lines().all(|line| line.chars().count() <= 100), "too wide:\n{help}");
    }
}
