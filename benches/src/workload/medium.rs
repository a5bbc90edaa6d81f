//! Uploads of some MiB over 16 connections, each of which sends one after the other.

use super::in_turns;
use crate::{
    compare::{Bench, BenchError, Load},
    content::Content,
};

pub(super) const CONNECTIONS: u32 = 16;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let (count, length) = (bench.sizes.medium, (bench.sizes.medium_mib as usize) << 20);
    bench.warm_up().await?;
    bench.begin(count as usize * length).await?;
    let turns = in_turns(bench.site(), CONNECTIONS, count, async |connection, number| {
        let content = Content { seed: u64::from(number), length };
        let path = connection.create(length).await?;
        connection.append(&path, content, 0, length).await?;
        Ok((path, content))
    });
    let (uploads, latencies) = turns.await?;
    bench.end(Load { bytes: uploads.len() * length, units: uploads.len(), latencies }).await?;
    bench.verify(&uploads).await
}
