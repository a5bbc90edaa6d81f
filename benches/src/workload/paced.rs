//! Requests at a given pace, whatever the server does: a slow answer delays the next request, and this counts as its latency.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::for_each;
use crate::{
    client::{ClientError, Connection, Site},
    figures::Quantiles,
};

/// An upload that stays as it is.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) path: String,
    pub(crate) offset: usize,
}

/// How often what is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many requests.
    pub(crate) count: usize,
    /// How many each second, over all connections.
    pub(crate) per_second: u32,
    /// How many connections take turns.
    pub(crate) connections: usize,
}

/// How it went.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Paced {
    /// From the moment at which each request was to be sent to its answer.
    pub(crate) latency: Quantiles,
    /// From that moment to the one at which it was sent: what the client's own timer adds, and answers that came late.
    pub(crate) sent_late: Quantiles,
}

/// The latency of a request, from the moment at which it was to be sent, and how late it was sent.
pub(crate) type Times = (Duration, Duration);

/// Asks for each upload in turn.
///
/// # Errors
/// The first answer that is not right ends it.
pub(crate) async fn inspect(site: &Site, uploads: &[Known], pace: Pace) -> Result<Paced, ClientError> {
    let (latencies, delays) = inspect_all(site, uploads, pace).await?.into_iter().unzip();
    Ok(Paced { latency: Quantiles::of(latencies), sent_late: Quantiles::of(delays) })
}

/// The same, with the times of each request.
///
/// # Errors
/// The first answer that is not right ends it.
pub(crate) async fn inspect_all(site: &Site, uploads: &[Known], pace: Pace) -> Result<Vec<Times>, ClientError> {
    let connections = for_each(0..pace.connections, pace.connections, |_| Connection::open(site)).await;
    let mut connections = connections.into_iter().collect::<Result<Vec<_>, _>>()?;
    let asked = each(&mut connections, pace, async |connection, number| {
        let upload = &uploads[number % uploads.len()];
        connection.inspect(&upload.path, upload.offset).await
    });
    asked.await
}

/// Has those that take turns send one request after the other; as many take turns as the pace has connections.
///
/// # Errors
/// The first answer that is not right ends it.
pub(crate) async fn each<Turn>(
    turns: &mut [Turn],
    pace: Pace,
    request: impl AsyncFn(&mut Turn, usize) -> Result<(), ClientError>,
) -> Result<Vec<Times>, ClientError> {
    let (request, interval) = (&request, Duration::from_secs(1) / pace.per_second);
    let start = Instant::now() + interval;
    let outcomes = for_each(turns.iter_mut().enumerate(), pace.connections, |(turn, one)| async move {
        let mut times = Vec::with_capacity(pace.count / pace.connections + 1);
        for number in (turn..pace.count).step_by(pace.connections) {
            let intended = start + interval * u32::try_from(number).unwrap_or(u32::MAX);
            sleep_until(intended).await;
            let sent = Instant::now();
            request(one, number).await?;
            times.push((Instant::now() - intended, sent - intended));
        }
        Ok::<_, ClientError>(times)
    });
    Ok(outcomes.await.into_iter().collect::<Result<Vec<_>, _>>()?.concat())
}
