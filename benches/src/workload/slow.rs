//! A fast client beside many slow ones, whose PATCHes are under way all the time and bring a little now and then.

use std::{cell::Cell, time::Duration};

use super::{for_each, pieces};
use crate::{
    client::{ClientError, Connection, Site},
    compare::{Bench, BenchError, Load},
    content::Content,
};

/// The fast client uploads so much more than one that is alone, so that the slow ones have time to be in its way.
pub(crate) const FAST_TIMES: u32 = 4;
const SLOW_BYTES: usize = 512 * 1024;
const DRIP_BYTES: usize = 4 * 1024;
const DRIP_INTERVAL: Duration = Duration::from_millis(100);
const PARALLEL: usize = 32;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let (site, slow) = (bench.site(), bench.sizes.slow);
    let fast = Content { seed: u64::from(slow), length: ((FAST_TIMES * bench.sizes.pieces_mib) as usize) << 20 };
    bench.warm_up().await?;
    let begun = for_each(0..u64::from(slow), PARALLEL, |seed| Slow::begin(site, seed)).await;
    let mut begun = begun.into_iter().collect::<Result<Vec<_>, _>>()?;
    bench.begin(fast.length + slow as usize * SLOW_BYTES).await?;
    let mut connection = Connection::open(site).await?;
    let ended = Cell::new(false);
    let upload = async {
        let uploaded = pieces::upload(&mut connection, fast).await;
        ended.set(true);
        uploaded
    };
    let (uploaded, dripped) = tokio::join!(upload, drip(&mut begun, &ended));
    let ((path, latencies), ()) = (uploaded?, dripped?);
    bench.end(Load { bytes: fast.length, units: latencies.len(), latencies }).await?;
    let ends = for_each(begun, slow as usize, Slow::end).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    bench.verify(&[ends, vec![(path, fast)]].concat()).await
}

/// A slow client, and how much it has sent.
struct Slow<'a> {
    connection: Connection<'a>,
    path: String,
    content: Content,
    sent: usize,
}

impl<'a> Slow<'a> {
    async fn begin(site: &'a Site, seed: u64) -> Result<Self, ClientError> {
        let (mut connection, content) = (Connection::open(site).await?, Content { seed, length: SLOW_BYTES });
        let path = connection.create(SLOW_BYTES).await?;
        connection.begin_append(&path, 0, SLOW_BYTES, &content.bytes(0, DRIP_BYTES)).await?;
        Ok(Self { connection, path, content, sent: DRIP_BYTES })
    }

    /// Sends a little, but never all of it.
    async fn drip(&mut self) -> Result<(), ClientError> {
        let to = (self.sent + DRIP_BYTES).min(SLOW_BYTES - DRIP_BYTES);
        self.connection.send(&self.content.bytes(self.sent, to)).await?;
        self.sent = to;
        Ok(())
    }

    async fn end(mut self) -> Result<(String, Content), ClientError> {
        self.connection.send(&self.content.bytes(self.sent, SLOW_BYTES)).await?;
        self.connection.end_append(SLOW_BYTES).await?;
        Ok((self.path, self.content))
    }
}

/// Has each of them send a little in turn, so that all have once in an interval.
async fn drip(slow: &mut [Slow<'_>], ended: &Cell<bool>) -> Result<(), ClientError> {
    const STEPS: u32 = 10;
    let share = slow.len().div_ceil(STEPS as usize).max(1);
    let mut interval = tokio::time::interval(DRIP_INTERVAL / STEPS);
    loop {
        for some in slow.chunks_mut(share) {
            interval.tick().await;
            if ended.get() {
                return Ok(());
            }
            for one in some {
                one.drip().await?;
            }
        }
    }
}
