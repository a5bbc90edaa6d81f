//! One upload in PATCHes of 1 MiB.

use std::time::{Duration, Instant};

use crate::{
    client::{ClientError, Connection},
    compare::{Bench, BenchError, Load},
    content::Content,
};

const PIECE_BYTES: usize = 1 << 20;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let content = Content { seed: 1, length: (bench.sizes.pieces_mib as usize) << 20 };
    bench.warm_up().await?;
    bench.begin(content.length).await?;
    let mut connection = Connection::open(bench.site()).await?;
    let (path, latencies) = upload(&mut connection, content).await?;
    bench.end(Load { bytes: content.length, units: latencies.len(), latencies }).await?;
    bench.verify(&[(path, content)]).await
}

/// The upload, and how long each PATCH took.
pub(super) async fn upload(
    connection: &mut Connection<'_>,
    content: Content,
) -> Result<(String, Vec<Duration>), ClientError> {
    let path = connection.create(content.length).await?;
    let mut latencies = Vec::new();
    for from in (0..content.length).step_by(PIECE_BYTES) {
        let began = Instant::now();
        connection.append(&path, content, from, content.length.min(from + PIECE_BYTES)).await?;
        latencies.push(began.elapsed());
    }
    Ok((path, latencies))
}
