//! Hooks that are executable files in a directory, each named after its event.
//!
//! A file is run without arguments, in that directory, with the environment of the server and `TUS_ID` (empty before
//! the upload has one), `TUS_SIZE`, `TUS_OFFSET` and `WHARF_EVENT_ID`. It gets the event on its standard input, and
//! need not read it. What it writes to its standard output is its answer, or, when it ends with another status than 0,
//! what it has to say about its failure; its standard error goes to the log. An event without a file is nobody's.
//!
//! What a file leaves running when it ends goes on, but nobody reads what that writes. A file that takes too long is
//! ended together with what it has started.

mod lines;
mod process;

use std::{io, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};

use slog::Logger;
use tokio::time::timeout;

use super::{Calling, HookError, HookFailure, Notice, SetupError, Transport, Verdict};
use lines::Lines;
use process::Process;

/// Where the files are, and how much they may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The directory they are in.
    pub directory: PathBuf,
    /// How long one may run.
    pub timeout: Duration,
    /// How many bytes one may write to its standard output.
    pub max_response_bytes: usize,
}

/// Hooks that are executable files.
#[derive(Debug, Clone)]
pub struct Executables {
    config: Arc<Config>,
    logger: Logger,
}

impl Executables {
    /// Hooks in a directory, which must be there. Which events have a file is found out at each of them.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn new(mut config: Config, logger: Logger) -> Result<Self, SetupError> {
        let wrong =
            |problem: String| SetupError::new("directory", format!("{}: {problem}", config.directory.display()));
        let directory = config.directory.canonicalize().map_err(|error| wrong(error.to_string()))?;
        if !directory.is_dir() {
            return Err(wrong("is no directory".to_owned()));
        }
        config.directory = directory;
        Ok(Self { config: Arc::new(config), logger })
    }
}

impl Transport for Executables {
    fn name(&self) -> &'static str {
        "file"
    }

    fn call(&self, notice: Arc<Notice>) -> Calling {
        let Self { config, logger } = self.clone();
        Box::pin(async move {
            let run = run(&config, &notice, &logger);
            timeout(config.timeout, run).await.unwrap_or_else(|_| {
                let cause = format!("{} did not end within {:?}", notice.kind().name(), config.timeout);
                Err(HookError::new(HookFailure::TimedOut, cause))
            })
        })
    }
}

async fn run(config: &Config, notice: &Notice, logger: &Logger) -> Result<Verdict, HookError> {
    let process = match Process::start(&config.directory, notice) {
        Ok(process) => process,
        Err(error) => return missing(config, notice, &error),
    };
    let output = process.ended(&notice.json, config.max_response_bytes, Lines::new(logger, notice)).await;
    let (status, answer) = output.map_err(|failure| failure.of(notice, config))?;
    judged(notice, status, &answer)
}

/// Why no file was run: that is a failure, unless the directory is there and the file is not.
fn missing(config: &Config, notice: &Notice, error: &io::Error) -> Result<Verdict, HookError> {
    let name = notice.kind().name();
    let is_absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let is_nobodys = is_absent(error)
        && config.directory.is_dir()
        && config.directory.join(name).symlink_metadata().is_err_and(|error| is_absent(&error));
    if is_nobodys {
        return Ok(Verdict::default());
    }
    Err(HookError::new(HookFailure::Unreachable, format!("{name} can't be run: {error}")))
}

fn judged(notice: &Notice, status: ExitStatus, answer: &[u8]) -> Result<Verdict, HookError> {
    let name = notice.kind().name();
    let failed = |failure, cause| Err(HookError::new(failure, cause).saying(String::from_utf8_lossy(answer)));
    if !status.success() {
        return failed(HookFailure::Failed, format!("{name} ended with {status}"));
    }
    if answer.trim_ascii().is_empty() {
        return Ok(Verdict::default());
    }
    Verdict::from_json(answer)
        .or_else(|error| failed(HookFailure::Nonsense, format!("{name} answered what can't be understood: {error}")))
}

#[cfg(test)]
mod tests;
