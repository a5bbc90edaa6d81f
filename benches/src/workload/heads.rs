//! HEAD alone, of uploads that are complete and of ones that have not been begun.

use super::in_turns;
use crate::{
    compare::{Bench, BenchError, Load},
    content::Content,
};

const UPLOADS: u32 = 200;
const BYTES: usize = 16 * 1024;
const CONNECTIONS: u32 = 4;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let (site, count) = (bench.site(), bench.sizes.heads);
    let made = in_turns(site, CONNECTIONS, UPLOADS, async |connection, number| {
        let path = connection.create(BYTES).await?;
        if number % 2 == 0 {
            connection.append(&path, Content { seed: u64::from(number), length: BYTES }, 0, BYTES).await?;
            return Ok((path, BYTES));
        }
        Ok((path, 0))
    });
    let (uploads, _) = made.await?;
    bench.begin(0).await?;
    let turns = in_turns(site, CONNECTIONS, count, async |connection, number| {
        let (path, offset) = &uploads[number as usize % uploads.len()];
        connection.inspect(path, *offset).await
    });
    let (heads, latencies) = turns.await?;
    bench.end(Load { bytes: 0, units: heads.len(), latencies }).await
}
