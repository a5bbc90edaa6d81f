//! The server under test: one that runs already, or wharf itself, started and ended here.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    net::ToSocketAddrs,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

use crate::{
    client::{ClientError, Connection, PATIENCE, Site, path_of},
    content::digest_of,
    process::{self, Sample},
};

/// How often a condition is looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Which server is driven.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where a running server takes uploads; otherwise wharf is started [http://127.0.0.1:8080/files/]
    #[arg(long, requires = "pid")]
    url: Option<String>,
    /// The running server's process id
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// The running server's directory, when it keeps an upload's bytes in a file named like the upload
    #[arg(long, requires = "url")]
    dir: Option<PathBuf>,
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long, conflicts_with = "url")]
    server: Option<PathBuf>,
}

/// Why there is no server to test, or why it did not end as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0} is no http:// URL of an address with a port")]
    Url(String),
    #[error("{needed} open files are needed, but no more than {limit} are allowed (ulimit -Hn)")]
    OpenFiles { needed: u64, limit: u64 },
    #[error("{} can't be started (build it with cargo build --release)", .0.display())]
    Start(PathBuf, #[source] io::Error),
    #[error("the server did not say where it listens; it wrote: {0}")]
    Mute(String),
    #[error("the server does not answer at {0}; it wrote: {1}")]
    Deaf(String, String),
    #[error("the server did not end in {} s", PATIENCE.as_secs())]
    Endless,
    #[error("the server ended with {0}; it wrote: {1}")]
    Ended(ExitStatus, String),
    #[error("not all that was sent has been read by the server in {} s: {left}", PATIENCE.as_secs())]
    Unread { left: String },
    #[error("the server can't be watched")]
    Watch(#[from] io::Error),
}

/// A server under test.
pub(crate) struct Target {
    pub(crate) site: Site,
    /// Where each upload's bytes are in a file of its own, if that is known.
    pub(crate) dir: Option<PathBuf>,
    /// Where finished uploads are read back from, if not by GET: some servers die of that.
    files: Option<PathBuf>,
    pid: u32,
    own: Option<Own>,
}

/// How another server is started.
pub(crate) struct Command {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Where it will take uploads.
    pub(crate) url: String,
}

/// A server that was started here. Dropping it kills it.
struct Own {
    child: Child,
    home: TempDir,
}

impl Target {
    /// Finds or starts the server, which must be able to have so many files and sockets open.
    pub(crate) async fn start(options: &Options, open_files: u64) -> Result<Self, TargetError> {
        raise_file_limit(open_files)?;
        match (&options.url, options.pid) {
            (Some(url), Some(pid)) => Self::running(url, pid, options.dir.clone()),
            _ => Self::start_wharf(options.server.as_deref(), open_files, &[], &[]),
        }
    }

    /// One that runs already.
    pub(crate) fn running(url: &str, pid: u32, dir: Option<PathBuf>) -> Result<Self, TargetError> {
        process::sample(pid)?;
        Ok(Self { site: site(url)?, dir, files: None, pid, own: None })
    }

    /// Starts any server with a home, where its log goes, and waits until it can be connected to.
    pub(crate) async fn start_command(command: Command, home: TempDir) -> Result<Self, TargetError> {
        let log = File::create(home.path().join("log"))?;
        let mut process = std::process::Command::new(&command.program);
        process.current_dir(home.path()).args(&command.arguments);
        without_own_variables(&mut process);
        process.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = process.spawn().map_err(|error| TargetError::Start(command.program, error))?;
        let (pid, site, mut own) = (child.id(), site(&command.url)?, Own { child, home });
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(site.address).is_err() {
            if let Some(status) = own.child.try_wait()? {
                return Err(TargetError::Ended(status, own.last_words()));
            }
            if Instant::now() > deadline {
                return Err(TargetError::Deaf(command.url, own.last_words()));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Ok(Self { site, dir: None, files: None, pid, own: Some(own) })
    }

    /// One whose uploads are in files of their names as soon as their bytes have been read.
    pub(crate) fn with_dir(self, dir: PathBuf) -> Self {
        Self { dir: Some(dir), ..self }
    }

    /// One whose finished uploads are in files of their names.
    pub(crate) fn with_files(self, files: PathBuf) -> Self {
        Self { files: Some(files), ..self }
    }

    /// The SHA-256 of a finished upload: of its file, where that is to be had, else of what GET brings.
    pub(crate) async fn digest(
        &self,
        connection: &mut Connection<'_>,
        path: &str,
        length: usize,
    ) -> Result<[u8; 32], ClientError> {
        let file = self.files.as_ref().map(|files| files.join(name_of(path))).filter(|file| file.is_file());
        match file {
            Some(file) => Ok(digest_of(&file)?),
            None => connection.download(path, length).await,
        }
    }

    /// Starts wharf with further settings and variables.
    pub(crate) fn start_wharf(
        server: Option<&Path>,
        open_files: u64,
        settings: &[String],
        variables: &[(&str, &str)],
    ) -> Result<Self, TargetError> {
        let server = program(server, "wharf")?;
        let home = tempfile::tempdir()?;
        let mut command = std::process::Command::new(&server);
        // In a directory of its own no settings file is found.
        command.current_dir(home.path()).args(["--bind", "127.0.0.1:0", "--dir", "uploads"]);
        command.arg("--set").arg(format!("server.max_connections={open_files}"));
        // Stalled uploads are to stay, however long the rest of the run takes.
        command.args(["--set", "timeouts.body_read_secs=3600", "--set", "admin.enabled=false"]);
        command.args(settings.iter().flat_map(|setting| ["--set", setting])).envs(variables.iter().copied());
        without_own_variables(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(home.path().join("log"))?);
        let child = command.spawn().map_err(|error| TargetError::Start(server, error))?;
        let (pid, dir) = (child.id(), home.path().join("uploads"));
        let mut own = Own { child, home };
        let url = url_told_by(&mut own.child).ok_or_else(|| TargetError::Mute(own.last_words()))?;
        Ok(Self { site: site(&url)?, dir: Some(dir), files: None, pid, own: Some(own) })
    }

    /// Memory and processor time.
    pub(crate) fn sample(&self) -> Result<Sample, TargetError> {
        Ok(process::sample(self.pid)?)
    }

    /// Lets the peak of its memory begin anew.
    pub(crate) fn reset_peak(&self) -> Result<(), TargetError> {
        Ok(process::reset_peak(self.pid)?)
    }

    /// What the server's connections hold.
    pub(crate) fn transit(&self) -> Result<process::Transit, TargetError> {
        Ok(process::transit(self.site.address.port())?)
    }

    /// Ends the server if it was started here: SIGTERM, and it must exit with 0.
    pub(crate) async fn stop(mut self) -> Result<(), TargetError> {
        let Some(own) = &mut self.own else { return Ok(()) };
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(TargetError::Endless)?;
        kill_process(pid, Signal::TERM).map_err(io::Error::from)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match own.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(TargetError::Ended(status, own.last_words())),
                None if Instant::now() > deadline => return Err(TargetError::Endless),
                None => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

/// No variable of this shell changes what is measured.
fn without_own_variables(command: &mut std::process::Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF__")) {
        command.env_remove(name);
    }
}

/// The name of an upload.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The program of this path, or the one of this name beside this program.
pub(crate) fn program(path: Option<&Path>, name: &str) -> io::Result<PathBuf> {
    path.map_or_else(|| Ok(std::env::current_exe()?.with_file_name(name)), std::path::absolute)
}

/// The URL in the first line that has one. The pipe stays open for as long as the server reads this line.
pub(crate) fn url_told_by(child: &mut Child) -> Option<String> {
    let lines = BufReader::new(child.stdout.as_mut()?).lines().map_while(Result::ok);
    let line = lines.take(8).find(|line| line.contains("http://"))?;
    let start = line.find("http://")?;
    line[start..].split_whitespace().next().map(str::to_owned)
}

impl Own {
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        let lines = log.lines().rev().take(5).collect::<Vec<_>>();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Either has ended already, or is not wanted any more; there is nothing to be done about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn site(url: &str) -> Result<Site, TargetError> {
    let invalid = || TargetError::Url(url.to_owned());
    let authority = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).ok_or_else(invalid)?;
    let address = authority.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()).ok_or_else(invalid)?;
    Ok(Site { address, authority: authority.to_owned(), path: path_of(url).to_owned() })
}

/// For this process, and for the server that is started by it. Root may have more than its shell has.
pub(crate) fn raise_file_limit(needed: u64) -> Result<(), TargetError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Some(needed.max(maximum.unwrap_or(needed)));
    if maximum.is_some() && setrlimit(Resource::Nofile, Rlimit { current: raised, maximum: raised }).is_ok() {
        return Ok(());
    }
    if let Some(limit) = maximum.filter(|limit| *limit < needed) {
        return Err(TargetError::OpenFiles { needed, limit });
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(io::Error::from)?;
    Ok(())
}
