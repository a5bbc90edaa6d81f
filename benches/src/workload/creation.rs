//! Uploads that are made by one POST each, with all their bytes.

use super::in_turns;
use crate::{
    compare::{Bench, BenchError, Load},
    content::Content,
};

const BYTES: usize = 4 * 1024;
const CONNECTIONS: u32 = 4;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let count = bench.sizes.small;
    bench.warm_up().await?;
    bench.begin(count as usize * BYTES).await?;
    let turns = in_turns(bench.site(), CONNECTIONS, count, async |connection, number| {
        let content = Content { seed: u64::from(number), length: BYTES };
        Ok((connection.create_whole(&content.bytes(0, BYTES)).await?, content))
    });
    let (uploads, latencies) = turns.await?;
    bench.end(Load { bytes: uploads.len() * BYTES, units: uploads.len(), latencies }).await?;
    bench.verify(&uploads).await
}
