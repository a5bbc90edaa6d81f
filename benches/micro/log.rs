//! The log line of a request, as far as the thread pays for it that serves the request: the writer has one of its own.

use std::{
    io,
    time::{Duration, Instant},
};

use criterion::Criterion;
use slog::{Logger, info, o};
use wharf::{
    settings::{Log, LogFormat},
    telemetry::{Destination, logger},
};

const ROOM: usize = 4096;
/// Lines go in runs of so many, and the next run when all have been written: none is dropped, and none waits.
const RUN: u64 = 1024;

fn line(logger: &Logger) {
    info!(logger, "request"; "method" => "PATCH", "path" => "/files/4bfcc937b14e2676ae1e763a74b9ad77", "status" => 204,
        "received_bytes" => 16384, "sent_bytes" => 0, "duration_us" => 479, "peer" => "192.0.2.17:50336");
}

pub(crate) fn run(criterion: &mut Criterion) {
    let settings = Log { format: LogFormat::Text, level: slog::Level::Info, requests: true, buffer_lines: ROOM };
    let (root, _guard, control) = logger(&settings, Destination::writer(io::sink()));
    let logger = root.new(o!("request_id" => "550e881874c22d2d8e58134b80d6f1bc"));
    criterion.bench_function("log/a request's line", |bench| {
        bench.iter_custom(|count| {
            let (mut left, mut elapsed) = (count, Duration::ZERO);
            while left > 0 {
                let run = left.min(RUN);
                let began = Instant::now();
                (0..run).for_each(|_| line(&logger));
                elapsed += began.elapsed();
                while control.waiting() > 0 {
                    std::thread::yield_now();
                }
                left -= run;
            }
            elapsed
        });
    });
    assert_eq!(control.dropped(), 0, "lines were dropped, which is cheaper");
}
