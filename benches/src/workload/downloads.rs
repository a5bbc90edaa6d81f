//! GET of small files, on connections that are kept.

use super::in_turns;
use crate::{
    compare::{Bench, BenchError, Load},
    content::Content,
};

const FILES: u32 = 1000;
const BYTES: usize = 16 * 1024;
const CONNECTIONS: u32 = 4;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let count = bench.sizes.downloads;
    let contents = (0..FILES.min(count)).map(|number| Content { seed: u64::from(number), length: BYTES });
    let files = bench.place(&contents.collect::<Vec<_>>()).await?;
    bench.begin(0).await?;
    let turns = in_turns(bench.site(), CONNECTIONS, count, async |connection, number| {
        let (path, content) = &files[number as usize % files.len()];
        connection
            .read_whole(path, content.length, |bytes| {
                std::hint::black_box(bytes);
            })
            .await
    });
    let (gets, latencies) = turns.await?;
    bench.end(Load { bytes: gets.len() * BYTES, units: gets.len(), latencies }).await?;
    bench.verify(&files).await
}
