//! Moments for meters, which take them so often that an `Instant` and its arithmetic would be much of their cost.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of the system's monotonic clock. Never 0, which stands for "not yet".
#[must_use]
pub fn now_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // It began at or before the machine's start, and lasts for 584 years.
    now.tv_sec.unsigned_abs().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec.unsigned_abs())
}
