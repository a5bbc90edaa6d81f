//! One large upload in one PATCH.

use std::time::Instant;

use crate::{
    client::Connection,
    compare::{Bench, BenchError, Load},
    content::Content,
};

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let content = Content { seed: 1, length: (bench.sizes.large_mib as usize) << 20 };
    bench.warm_up().await?;
    bench.begin(content.length).await?;
    let began = Instant::now();
    let mut connection = Connection::open(bench.site()).await?;
    let path = connection.create(content.length).await?;
    connection.append(&path, content, 0, content.length).await?;
    connection.inspect(&path, content.length).await?;
    bench.end(Load { bytes: content.length, units: 1, latencies: vec![began.elapsed()] }).await?;
    bench.verify(&[(path, content)]).await
}
