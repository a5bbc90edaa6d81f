//! Small uploads as clients make them: POST, PATCH with all bytes, HEAD, on connections that are kept.

use std::time::Instant;

use super::for_each;
use crate::{
    client::{ClientError, Connection, Site},
    compare::{Bench, BenchError, Load},
    content::Content,
};

const BYTES: usize = 16 * 1024;
const CONNECTIONS: u32 = 4;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let (site, count) = (bench.site(), bench.sizes.small);
    bench.warm_up().await?;
    bench.begin(count as usize * BYTES).await?;
    let outcomes = for_each(0..CONNECTIONS, CONNECTIONS as usize, |first| {
        upload(site, (first..count).step_by(CONNECTIONS as usize))
    });
    let (uploads, latencies) = outcomes.await.into_iter().collect::<Result<Vec<_>, _>>()?.concat().into_iter().unzip();
    let uploads: Vec<_> = uploads;
    bench.end(Load { bytes: uploads.len() * BYTES, units: uploads.len(), latencies }).await?;
    bench.verify(&uploads).await
}

type Uploaded = ((String, Content), std::time::Duration);

async fn upload(site: &Site, numbers: impl Iterator<Item = u32>) -> Result<Vec<Uploaded>, ClientError> {
    let mut connection = Connection::open(site).await?;
    let mut uploaded = Vec::new();
    for number in numbers {
        let content = Content { seed: u64::from(number), length: BYTES };
        let began = Instant::now();
        let path = connection.create(BYTES).await?;
        connection.append(&path, content, 0, BYTES).await?;
        connection.inspect(&path, BYTES).await?;
        uploaded.push(((path, content), began.elapsed()));
    }
    Ok(uploaded)
}
