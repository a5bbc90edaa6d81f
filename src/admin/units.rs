//! Moments and durations as they are told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, macros::format_description};

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn moment(at: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // What is beyond the calendar (a file's date may be anything) is told as its end.
    let nanos = at.duration_since(UNIX_EPOCH).map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(i128::MAX));
    let last = || OffsetDateTime::from_unix_timestamp(253_402_300_799).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or_else(|_| last());
    at.format(format).unwrap_or_default()
}

/// The present moment.
pub(super) fn now() -> String {
    moment(SystemTime::now())
}

/// A moment that is known in seconds since the Unix epoch.
pub(super) fn moment_of_secs(secs: u64) -> String {
    moment(UNIX_EPOCH.checked_add(Duration::from_secs(secs)).unwrap_or(UNIX_EPOCH))
}

/// Milliseconds, to three places.
pub(super) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(moment(UNIX_EPOCH + Duration::from_millis(1_764_205_323_004)), "2025-11-27T01:02:03.004Z");
        assert_eq!(moment(UNIX_EPOCH - Duration::from_secs(5)), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59.000Z");
        assert_eq!(moment_of_secs(u64::MAX), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn durations_are_milliseconds() {
        for (micros, told) in [(0, 0.0), (1, 0.001), (12_345, 12.345), (2_000_000, 2000.0)] {
            assert!((ms(Duration::from_micros(micros)) - told).abs() < 1e-9);
        }
    }
}
