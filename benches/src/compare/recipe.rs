//! How a server is started: a command with places for its port and directories.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use serde::Serialize;

use crate::{
    target::{Command, Target, TargetError},
    workload::Workload,
};

/// What a server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// All of tus, as wharf does it.
    Wharf,
    /// All of tus.
    Tus,
    /// What the floor can: it knows nothing of uploads.
    Floor,
    /// GET of files that lie there.
    Files,
}

/// What is told of a server.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) command: String,
}

/// A server that runs already, or how to start one.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) about: About,
    pub(crate) kind: Kind,
    pub(crate) source: Source,
    /// The file {home}/settings, for servers that need one.
    pub(crate) settings: Option<String>,
    /// What it is known not to survive.
    pub(crate) without: &'static [Workload],
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    Running { pid: u32, url: String },
    Command(Vec<String>),
}

/// What is wrong with a server that was named on the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecipeError {
    #[error("{0}: NAME=COMMAND with {{port}} in it, or NAME=PID@URL")]
    Malformed(String),
    #[error("{0}: a quote that is not closed")]
    Open(String),
}

/// What the places in a template stand for.
pub(crate) struct Places<'a> {
    pub(crate) port: u16,
    pub(crate) dir: &'a Path,
    pub(crate) home: &'a Path,
    /// How many files and sockets may be open.
    pub(crate) files: u64,
}

impl Recipe {
    /// One of this bench's own.
    pub(crate) fn new(name: &str, kind: Kind, words: Vec<String>) -> Self {
        let about = About { name: name.to_owned(), command: words.join(" ") };
        Self { about, kind, source: Source::Command(words), settings: None, without: &[] }
    }

    /// The same, over a directory that is there, in place of a fresh one.
    pub(crate) fn over(mut self, dir: &Path) -> Self {
        if let Source::Command(words) = &mut self.source {
            words.iter_mut().for_each(|word| *word = word.replace("{dir}", &dir.to_string_lossy()));
        }
        self
    }

    /// The same, started by another program, whose words come first.
    pub(crate) fn under(mut self, first: &[&str]) -> Self {
        if let Source::Command(words) = &mut self.source {
            words.splice(0..0, first.iter().map(|word| (*word).to_owned()));
        }
        self
    }

    /// NAME=COMMAND or NAME=PID@URL.
    pub(crate) fn parse(text: &str) -> Result<Self, RecipeError> {
        let malformed = || RecipeError::Malformed(text.to_owned());
        let (name, rest) = text.split_once('=').filter(|(name, _)| is_name(name)).ok_or_else(malformed)?;
        let running = rest.split_once('@').and_then(|(pid, url)| Some((pid.parse().ok()?, url.to_owned())));
        if let Some((pid, url)) = running {
            let about = About { name: name.to_owned(), command: rest.to_owned() };
            let source = Source::Running { pid, url };
            return Ok(Self { about, kind: Kind::Tus, source, settings: None, without: &[] });
        }
        let words = words(rest).ok_or_else(|| RecipeError::Open(text.to_owned()))?;
        if !words.iter().any(|word| word.contains("{port}")) {
            return Err(malformed());
        }
        Ok(Self::new(name, Kind::Tus, words))
    }

    /// Starts it in a directory of its own, beneath the place, and waits until it answers.
    pub(crate) async fn start(&self, place: &Path, open_files: u64) -> Result<Target, TargetError> {
        let words = match &self.source {
            Source::Running { pid, url } => return Target::running(url, *pid, None),
            Source::Command(words) => words,
        };
        fs::create_dir_all(place)?;
        let home = tempfile::Builder::new().prefix("wharf-bench-").tempdir_in(fs::canonicalize(place)?)?;
        let dir = home.path().join("uploads");
        fs::create_dir(&dir)?;
        let places = Places { port: free_port()?, dir: &dir, home: home.path(), files: open_files };
        if let Some(settings) = &self.settings {
            fs::write(home.path().join("settings"), filled(settings, &places))?;
        }
        let mut words = words.iter().map(|word| filled(word, &places));
        let program = PathBuf::from(words.next().unwrap_or_default());
        let url = format!("http://127.0.0.1:{}{}", places.port, if self.kind == Kind::Files { "/" } else { "/files/" });
        let command = Command { program, arguments: words.collect(), url };
        let target = Target::start_command(command, home).await?;
        Ok(match self.kind {
            Kind::Wharf | Kind::Files => target.with_dir(dir),
            // Peers may write what they have read later, or elsewhere; the floor, when it has enough.
            Kind::Tus | Kind::Floor => target.with_files(dir),
        })
    }

    /// Ends it, if it was started here.
    pub(crate) async fn stop(&self, target: Target) -> Result<(), TargetError> {
        match target.stop().await {
            Err(TargetError::Ended(..)) if self.kind != Kind::Wharf => Ok(()),
            outcome => outcome,
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || "-_.@/".contains(letter))
}

/// A template with its places filled.
pub(crate) fn filled(template: &str, places: &Places<'_>) -> String {
    let text = template.replace("{port}", &places.port.to_string()).replace("{files}", &places.files.to_string());
    text.replace("{dir}", &places.dir.to_string_lossy()).replace("{home}", &places.home.to_string_lossy())
}

/// Words as a shell takes them, with quotes and without anything else; nothing when a quote is left open.
pub(crate) fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for letter in text.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// A port that nobody listens on. Somebody may take it before the server does; then that server says so.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_as_in_a_shell() {
        let expected = ["a", "b c", "d e", "", "f"];
        assert_eq!(words(" a 'b c'  d\" \"e '' f").unwrap(), expected);
        assert_eq!(words("a 'b"), None);
    }

    #[test]
    fn places_are_filled() {
        let places = Places { port: 8080, dir: Path::new("/d"), home: Path::new("/h"), files: 9 };
        assert_eq!(filled("-p={port} {dir}/x {home} {files}", &places), "-p=8080 /d/x /h 9");
    }

    #[test]
    fn a_server_is_named_by_a_command_or_by_where_it_runs() {
        let recipe = Recipe::parse("tusd=/bin/tusd -port {port} {dir}").unwrap();
        assert!(matches!(&recipe.source, Source::Command(words) if words.len() == 4), "{recipe:?}");
        let recipe = Recipe::parse("mine=17@http://127.0.0.1:1080/files/").unwrap();
        assert!(matches!(&recipe.source, Source::Running { pid: 17, .. }), "{recipe:?}");
        for wrong in ["tusd", "=x {port}", "tusd=/bin/tusd", "a b=x {port}"] {
            assert_eq!(Recipe::parse(wrong).unwrap_err(), RecipeError::Malformed(wrong.to_owned()));
        }
        assert!(matches!(Recipe::parse("a=x '{port}"), Err(RecipeError::Open(_))));
    }
}
