//! The state machine of an owner: all events of a PATCH, without actor, store or clock.

use std::hint::black_box;

use criterion::Criterion;
use wharf_actors::benched::patch;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("state machine");
    for pieces in [1, 64] {
        group.bench_function(format!("a PATCH of {pieces} pieces"), |bench| bench.iter(|| patch(black_box(pieces))));
    }
    group.finish();
}
