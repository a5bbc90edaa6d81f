//! Small uploads as clients make them: POST, PATCH with all bytes, HEAD, on connections that are kept.

use super::in_turns;
use crate::{
    compare::{Bench, BenchError, Load},
    content::Content,
};

const BYTES: usize = 16 * 1024;
const CONNECTIONS: u32 = 4;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let count = bench.sizes.small;
    bench.warm_up().await?;
    bench.begin(count as usize * BYTES).await?;
    let turns = in_turns(bench.site(), CONNECTIONS, count, async |connection, number| {
        let content = Content { seed: u64::from(number), length: BYTES };
        let path = connection.create(BYTES).await?;
        connection.append(&path, content, 0, BYTES).await?;
        connection.inspect(&path, BYTES).await?;
        Ok((path, content))
    });
    let (uploads, latencies) = turns.await?;
    bench.end(Load { bytes: uploads.len() * BYTES, units: uploads.len(), latencies }).await?;
    bench.verify(&uploads).await
}
