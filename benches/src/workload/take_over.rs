//! A client comes back while the PATCH that it lost still stalls: HEAD, and a PATCH with the rest. How soon the answer is
//! there, while others load the server.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Uploaded, for_each, stalled::has_size};
use crate::{
    client::{ClientError, Connection, PATIENCE, Site},
    compare::{Bench, BenchError, Load},
    content::Content,
    target::Target,
};

const BYTES: usize = 128 * 1024;
const SENT_BYTES: usize = 48 * 1024;
/// How long a PATCH stalls before its upload is taken from it, where it can't be seen whether its bytes have been read. A
/// PATCH that has not been begun when HEAD is answered would be the later of the two.
const STALL: Duration = Duration::from_millis(25);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// After this no further ones are taken over: some servers need seconds for each.
const ENOUGH: Duration = Duration::from_secs(40);
/// How many connections load the server meanwhile, with uploads of this size.
const LOADERS: u64 = 4;
const LOAD_BYTES: usize = 64 * 1024;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let (site, count) = (bench.site(), bench.sizes.take_overs);
    bench.warm_up().await?;
    bench.begin(count as usize * BYTES).await?;
    let (own, ended) = (site.clone(), Arc::new(AtomicBool::new(false)));
    let until = Arc::clone(&ended);
    // The load has a thread of its own, so that it does not keep the answers from being seen.
    let loader = thread::spawn(move || load(&own, &until));
    let (mut uploads, mut latencies, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let began = Instant::now();
    for number in 0..count {
        if began.elapsed() > ENOUGH {
            break;
        }
        match take_over(bench.target, Content { seed: u64::from(number), length: BYTES }).await {
            Ok((upload, latency)) => {
                uploads.push(upload);
                latencies.push(latency);
            }
            Err(error) => failed.push(format!("taking over: {error}")),
        }
    }
    ended.store(true, Ordering::Relaxed);
    let loaded = loader.join().unwrap_or_else(|_| Err(io::Error::other("the load panicked").into()))?;
    let bytes = uploads.len() * BYTES + loaded.len() * LOAD_BYTES;
    bench.end(Load { bytes, units: uploads.len(), latencies }).await?;
    bench.failed(failed);
    uploads.extend(loaded);
    bench.verify(&uploads).await
}

/// The time is from when HEAD is sent to when all of the upload is acknowledged.
async fn take_over(target: &Target, content: Content) -> Result<(Uploaded, Duration), ClientError> {
    let mut lost = Connection::open(&target.site).await?;
    let path = lost.create(BYTES).await?;
    lost.begin_append(&path, 0, BYTES, &content.bytes(0, SENT_BYTES)).await?;
    stall(target, &path).await?;
    let mut connection = Connection::open(&target.site).await?;
    let began = Instant::now();
    let offset = connection.offset(&path).await?;
    connection.append(&path, content, offset.min(BYTES), BYTES).await?;
    Ok(((path, content), began.elapsed()))
}

/// Waits until the PATCH stalls.
async fn stall(target: &Target, path: &str) -> Result<(), ClientError> {
    let Some(dir) = &target.dir else {
        tokio::time::sleep(STALL).await;
        return Ok(());
    };
    let deadline = Instant::now() + PATIENCE;
    while !has_size(dir, path, SENT_BYTES as u64) {
        if Instant::now() > deadline {
            return Err(ClientError::Unread { path: path.to_owned(), sent: SENT_BYTES });
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Uploads, until it is to end.
fn load(site: &Site, until: &AtomicBool) -> Result<Vec<Uploaded>, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let loads = for_each(0..LOADERS, LOADERS as usize, |loader| async move {
        let mut connection = Connection::open(site).await?;
        let mut uploads = Vec::new();
        for number in 0.. {
            if until.load(Ordering::Relaxed) {
                break;
            }
            let content = Content { seed: (1 << 32) + number * LOADERS + loader, length: LOAD_BYTES };
            let path = connection.create(LOAD_BYTES).await?;
            connection.append(&path, content, 0, LOAD_BYTES).await?;
            uploads.push((path, content));
        }
        Ok::<_, ClientError>(uploads)
    });
    let loads = runtime.block_on(loads).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(loads.concat())
}
