//! Many uploads that stall at once, as one of the workloads that servers are compared by.

use super::stalled;
use crate::{
    compare::{Bench, BenchError, Load},
    report::Outcome,
};

/// How many HEADs are sent meanwhile.
const HEADS: usize = 1000;

pub(crate) async fn run(bench: &mut Bench<'_>) -> Result<(), BenchError> {
    let options = stalled::Options::of(bench.sizes.stalled, HEADS.min(bench.sizes.heads as usize));
    let bytes = options.bytes();
    bench.warm_up().await?;
    bench.begin(bytes).await?;
    let report = stalled::run(bench.target, &options).await?;
    if !report.is_right() {
        bench.failures.extend(report.failures.told());
        bench.failures.push(format!("{} stalled and {} were completed", report.stalled, report.completed));
    }
    bench.end(Load { bytes, units: report.completed, latencies: Vec::new() }).await?;
    if let Some(measured) = &mut bench.measured {
        measured.upload_kib = Some(report.memory_per_upload_kib);
        measured.latency = Some(report.heads_while_stalled.latency);
    }
    Ok(())
}
