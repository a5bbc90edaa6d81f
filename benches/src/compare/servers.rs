//! Which servers take part: the floor, wharf, and those peers that are there.

use std::{env, io, path::PathBuf};

use super::recipe::{Kind, Recipe, RecipeError};
use crate::{target::program, workload::Workload};

/// Which servers there are.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long, value_name = "FILE")]
    wharf: Option<PathBuf>,
    /// Another tus server: NAME=COMMAND with {port} and {dir} in it, serving at /files/; or NAME=PID@URL of one that runs
    #[arg(long, value_name = "NAME=SERVER")]
    peer: Vec<String>,
    /// Where benches/peers.sh has put others [otherwise: $WHARF_PEERS_DIR, or ~/.cache/wharf-tools/peers]
    #[arg(long, value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
    /// No peers but those named by --peer
    #[arg(long)]
    no_peers: bool,
    /// Only these of all servers; the floor is always there
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    servers: Vec<String>,
}

/// Why the servers can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServersError {
    #[error("a server is not understood")]
    Recipe(#[from] RecipeError),
    #[error("this program does not find itself")]
    Own(#[from] io::Error),
    #[error("{} is not there; build it with cargo build --release", .0.display())]
    Absent(PathBuf),
}

impl Options {
    /// The program that is measured.
    pub(crate) fn wharf(&self) -> Result<PathBuf, ServersError> {
        let wharf = program(self.wharf.as_deref(), "wharf")?;
        if wharf.is_file() { Ok(wharf) } else { Err(ServersError::Absent(wharf)) }
    }
}

/// All that take part, in the order of their turns.
pub(crate) fn find(options: &Options, quick: bool) -> Result<Vec<Recipe>, ServersError> {
    let wharf = options.wharf()?;
    let mut servers = vec![floor()?, self::wharf("wharf", &wharf, "none")];
    if !quick {
        servers.push(self::wharf("wharf-complete", &wharf, "complete"));
        if !options.no_peers {
            servers.extend(installed(&options.peers.clone().unwrap_or_else(peers_dir)));
        }
    }
    for peer in &options.peer {
        servers.push(Recipe::parse(peer)?);
    }
    servers.retain(|server| {
        let name = &server.about.name;
        server.kind == Kind::Floor || options.servers.is_empty() || options.servers.contains(name)
    });
    Ok(servers)
}

fn floor() -> io::Result<Recipe> {
    let own = env::current_exe()?.to_string_lossy().into_owned();
    Ok(Recipe::new("floor", Kind::Floor, strings(&[&own, "floor", "--port={port}", "--dir={dir}"])))
}

/// The floor for many connections at once.
pub(crate) fn crowd() -> io::Result<Recipe> {
    let own = env::current_exe()?.to_string_lossy().into_owned();
    Ok(Recipe::new("floor", Kind::Floor, strings(&[&own, "floor", "--port={port}", "--dir={dir}", "--crowd"])))
}

/// The floor without its files.
pub(crate) fn receiver() -> io::Result<Recipe> {
    let own = env::current_exe()?.to_string_lossy().into_owned();
    Ok(Recipe::new("receiver", Kind::Floor, strings(&[&own, "floor", "--port={port}", "--dir={dir}", "--discard"])))
}

/// Without a request log, like all others; and with time for those that stall on purpose.
pub(crate) fn wharf(name: &str, program: &std::path::Path, durability: &str) -> Recipe {
    let words = strings(&[
        &program.to_string_lossy(),
        "--bind=127.0.0.1:{port}",
        "--dir={dir}",
        &format!("--durability={durability}"),
        "--log-level=warning",
        "--set=admin.enabled=false",
        "--set=server.max_connections={files}",
        "--set=timeouts.body_read_secs=3600",
    ]);
    Recipe::new(name, Kind::Wharf, words)
}

fn peers_dir() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(PathBuf::new, PathBuf::from).join(".cache/wharf-tools/peers");
    env::var_os("WHARF_PEERS_DIR").map_or_else(home, PathBuf::from)
}

/// What benches/peers.sh has installed, and nginx where it is.
fn installed(dir: &std::path::Path) -> Vec<Recipe> {
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let mut found = Vec::new();
    if dir.join("tusd").is_file() {
        found.push(Recipe::new("tusd", Kind::Tus, strings(&[&path("tusd"), "{port}", "{dir}"])));
    }
    if dir.join("rustus").is_file() {
        let fixed = ["--host=127.0.0.1", "--port={port}", "--url=/files", "--data-dir={dir}", "--info-dir={dir}"];
        let words =
            [&[path("rustus")][..], &strings(&fixed), &strings(&["--max-body-size=8589934592", "--log-level=OFF"])];
        found.push(Recipe::new("rustus", Kind::Tus, words.concat()));
    }
    if dir.join("npm/tus-server.mjs").is_file() {
        let words = strings(&["node", &path("npm/tus-server.mjs"), "{port}", "{dir}", &path("npm")]);
        // Its process ends with an error, "ReadableStream is already closed", when small files are read from it.
        found.push(Recipe { without: &[Workload::Downloads], ..Recipe::new("@tus/server", Kind::Tus, words) });
    }
    if let Some(nginx) = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| PathBuf::from(path).is_file()) {
        let words = strings(&[nginx, "-e", "{home}/log", "-p", "{home}", "-c", "{home}/settings"]);
        found.push(Recipe { settings: Some(NGINX.to_owned()), ..Recipe::new("nginx", Kind::Files, words) });
    }
    found
}

/// As Debian sets it up, but for the log and the number of requests of a connection.
const NGINX: &str = "daemon off;
user root;
worker_processes auto;
pid {home}/pid;
error_log {home}/log crit;
events { worker_connections 768; }
http {
  sendfile on;
  tcp_nopush on;
  access_log off;
  keepalive_requests 10000000;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {
    listen 127.0.0.1:{port};
    root {dir};
  }
}
";

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
