//! One workload on one server: what it costs, from the start of the load until the server is quiet again.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use super::{recipe::Kind, results::Measured, sizes::Sizes};
use crate::{
    ballast,
    client::{ClientError, Connection, Site},
    content::{Content, PIECE_BYTES},
    figures::Quantiles,
    process::Sample,
    target::{Target, TargetError},
    workload::{Uploaded, for_each, stalled::StalledError},
};

/// A server is quiet once it has used no processor time for so long.
const QUIET: Duration = Duration::from_millis(200);
/// Some never rest: then what they do besides is counted in, up to this.
const QUIET_AT_MOST: Duration = Duration::from_secs(3);
/// How many small uploads a server is given before it is measured, so that it has run all of its code once.
const WARM_UPS: u64 = 50;
const WARM_UP_BYTES: usize = 16 * 1024;
/// How many connections read uploads back.
const READERS: usize = 4;
/// Loads of so many bytes have the disk to themselves, as far as this program can see to it.
const LARGE_BYTES: usize = 128 << 20;

/// Why a workload has no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("the server can't be watched")]
    Target(#[from] TargetError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("a file can't be written")]
    File(#[from] io::Error),
    #[error(transparent)]
    Stalled(#[from] StalledError),
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Load {
    pub(crate) bytes: usize,
    pub(crate) units: usize,
    pub(crate) latencies: Vec<Duration>,
}

/// A server under one workload.
pub(crate) struct Bench<'a> {
    pub(crate) target: &'a Target,
    pub(crate) sizes: &'a Sizes,
    kind: Kind,
    /// What was not right, but did not end the workload.
    pub(crate) failures: Vec<String>,
    pub(crate) measured: Option<Measured>,
    began: Option<(Instant, Sample)>,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(target: &'a Target, kind: Kind, sizes: &'a Sizes) -> Self {
        Self { target, sizes, kind, failures: Vec::new(), measured: None, began: None }
    }

    pub(crate) fn site(&self) -> &'a Site {
        &self.target.site
    }

    /// Has the server make a few uploads, as tus servers do.
    pub(crate) async fn warm_up(&mut self) -> Result<(), BenchError> {
        let mut connection = Connection::open(self.site()).await?;
        for number in 0..WARM_UPS {
            let content = Content { seed: u64::MAX - number, length: WARM_UP_BYTES };
            let path = connection.create(content.length).await?;
            connection.append(&path, content, 0, content.length).await?;
            connection.inspect(&path, content.length).await?;
        }
        Ok(())
    }

    /// The load begins, and will move so many bytes.
    pub(crate) async fn begin(&mut self, bytes: usize) -> Result<(), BenchError> {
        // What others have written, and the system has still to bring to the disk, would be in the way of what is written now.
        if bytes >= LARGE_BYTES {
            rustix::fs::sync();
        }
        self.quiet().await?;
        ballast::prepare(bytes);
        self.target.reset_peak()?;
        self.began = Some((Instant::now(), self.target.sample()?));
        Ok(())
    }

    /// The load has ended.
    pub(crate) async fn end(&mut self, load: Load) -> Result<(), BenchError> {
        let Some((began, before)) = self.began.take() else { return Ok(()) };
        let secs = began.elapsed().as_secs_f64();
        let after = self.quiet().await?;
        self.measured = Some(Measured {
            secs,
            user_secs: after.user_secs - before.user_secs,
            system_secs: after.system_secs - before.system_secs,
            bytes: load.bytes,
            units: load.units,
            latency: (!load.latencies.is_empty()).then(|| Quantiles::of(load.latencies)),
            idle_kib: before.resident_kib,
            peak_kib: after.peak_kib,
            upload_kib: None,
            failed: None,
        });
        Ok(())
    }

    /// What failed of that which only a server that is made for it can be sure to do. It is counted for all, and wrong for
    /// wharf and the floor.
    pub(crate) fn failed(&mut self, failed: Vec<String>) {
        if let Some(measured) = &mut self.measured {
            measured.failed = Some(failed.len());
        }
        if self.kind != Kind::Tus {
            self.failures.extend(failed);
        }
    }

    /// Files that can be read with GET: uploaded, where the server takes uploads.
    pub(crate) async fn place(&mut self, contents: &[Content]) -> Result<Vec<Uploaded>, BenchError> {
        if let (Kind::Files, Some(dir)) = (self.kind, &self.target.dir) {
            return Ok(contents.iter().map(|content| write(dir, *content)).collect::<io::Result<_>>()?);
        }
        let mut connection = Connection::open(self.site()).await?;
        let mut placed = Vec::new();
        for content in contents {
            let path = connection.create(content.length).await?;
            connection.append(&path, *content, 0, content.length).await?;
            placed.push((path, *content));
        }
        Ok(placed)
    }

    /// Waits until the server rests.
    async fn quiet(&self) -> Result<Sample, BenchError> {
        let began = Instant::now();
        let mut last = (began, self.target.sample()?);
        loop {
            tokio::time::sleep(QUIET / 4).await;
            let (now, sample) = (Instant::now(), self.target.sample()?);
            if sample.cpu_secs() > last.1.cpu_secs() {
                last = (now, sample);
            }
            if now - last.0 >= QUIET || now - began >= QUIET_AT_MOST {
                return Ok(sample);
            }
        }
    }

    /// Reads uploads back and compares their contents' SHA-256 with that of what was sent.
    pub(crate) async fn verify(&mut self, uploads: &[Uploaded]) -> Result<(), BenchError> {
        let (site, target) = (self.site(), self.target);
        let share = uploads.len().div_ceil(READERS).max(1);
        let outcomes = for_each(uploads.chunks(share), READERS, |uploads| async move {
            let mut wrong = Vec::new();
            let mut connection = Connection::open(site).await?;
            for (path, content) in uploads {
                if target.digest(&mut connection, path, content.length).await? != content.digest() {
                    wrong.push(format!("{path} has another content than was sent"));
                }
            }
            Ok::<_, ClientError>(wrong)
        });
        for wrong in outcomes.await {
            self.failures.append(&mut wrong?);
        }
        Ok(())
    }
}

/// A file with this content, and the path of its URL.
fn write(dir: &Path, content: Content) -> io::Result<Uploaded> {
    let path = format!("/{}", content.seed);
    let mut file = File::create_new(dir.join(&path[1..]))?;
    for from in (0..content.length).step_by(PIECE_BYTES) {
        file.write_all(&content.bytes(from, content.length.min(from + PIECE_BYTES)))?;
    }
    Ok((path, content))
}
