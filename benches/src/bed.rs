//! The S3 server that wharf stores in for a measurement: `wharf-s3-testbed`, mostly as a sink, in a process of its own, so that
//! neither its memory nor its processor time is counted.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use wharf_actors::storage::s3::client::{Config, Keys};

use crate::{
    client::PATIENCE,
    target::{Target, TargetError, program, url_told_by},
};

const BUCKET: &str = "wharf-bench";
const REGION: &str = "bench-region-1";
const KEY_ID: &str = "AKIDBENCH";
const SECRET: &str = "secret/of+the-bench";

/// Which programs are run.
#[derive(Debug, clap::Args)]
pub(crate) struct Programs {
    /// The wharf that is started [otherwise: the one beside this program]
    #[arg(long)]
    server: Option<PathBuf>,
    /// The S3 server that is started [otherwise: the wharf-s3-testbed beside this program]
    #[arg(long)]
    bed: Option<PathBuf>,
}

impl Programs {
    /// This wharf, and the S3 server beside this program.
    pub(crate) fn with_wharf(wharf: &Path) -> Self {
        Self { server: Some(wharf.to_owned()), bed: None }
    }

    /// Where the S3 server is.
    pub(crate) fn bed(&self) -> std::io::Result<PathBuf> {
        program(self.bed.as_deref(), "wharf-s3-testbed")
    }
}

/// The server. Dropping it kills it.
pub(crate) struct Bed {
    child: Child,
    endpoint: String,
}

impl Bed {
    /// Starts it, to take no more than so many bytes each second; a sink does not keep them.
    pub(crate) fn start(
        programs: &Programs,
        bytes_per_second: Option<u64>,
        is_sink: bool,
    ) -> Result<Self, TargetError> {
        let path = programs.bed()?;
        let mut command = Command::new(&path);
        command.args(["--bucket", BUCKET, "--region", REGION, "--access-key", KEY_ID, "--secret-key", SECRET]);
        command.args(is_sink.then_some("--sink"));
        command.args(bytes_per_second.map(|rate| format!("--bytes-per-second={rate}")));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| TargetError::Start(path, error))?;
        let mut bed = Self { child, endpoint: String::new() };
        bed.endpoint = url_told_by(&mut bed.child).ok_or_else(|| TargetError::Mute("nothing".to_owned()))?;
        Ok(bed)
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Starts a wharf that stores in here, with further settings.
    pub(crate) fn wharf(&self, programs: &Programs, connections: u64, more: &[String]) -> Result<Target, TargetError> {
        let settings = [
            "storage.kind=s3".to_owned(),
            format!("storage.s3.bucket={BUCKET}"),
            format!("storage.s3.region={REGION}"),
            format!("storage.s3.endpoint={}", self.endpoint),
            "storage.s3.path_style=true".to_owned(),
        ];
        let variables = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        Target::start_wharf(programs.server.as_deref(), connections, &[&settings, more].concat(), &variables)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Either has ended already, or is not wanted any more; there is nothing to be done about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How wharf's own S3 client is set up to talk to a bed.
pub(crate) fn client_config(endpoint: &str, payload_hash: bool) -> Config {
    Config {
        bucket: BUCKET.to_owned(),
        region: Some(REGION.to_owned()),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        keys: Some(Keys { id: KEY_ID.to_owned(), secret: SECRET.to_owned() }),
        payload_hash,
        part_checksum: false,
        connect_timeout: PATIENCE,
        attempt_timeout: PATIENCE,
        slowest_bytes_per_second: 64 * 1024,
    }
}
