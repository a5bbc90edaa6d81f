//! GET of one large file, some times over.

use std::time::Instant;

use crate::{
    client::Connection,
    compare::{Bench, BenchError, Load},
    content::Content,
};

/// How often it is read.
pub(crate) const TIMES: usize = 4;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let content = Content { seed: 1, length: (bench.sizes.download_mib as usize) << 20 };
    let files = bench.place(&[content]).await?;
    bench.begin(0).await?;
    let mut connection = Connection::open(bench.site()).await?;
    let mut latencies = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        connection
            .read_whole(&files[0].0, content.length, |bytes| {
                std::hint::black_box(bytes);
            })
            .await?;
        latencies.push(began.elapsed());
    }
    bench.end(Load { bytes: TIMES * content.length, units: TIMES, latencies }).await?;
    bench.verify(&files).await
}
