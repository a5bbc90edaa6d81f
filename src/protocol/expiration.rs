//! The expiration extension: `Upload-Expires`, and dates as HTTP writes them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Header;

/// The last second that an HTTP date can say: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// The header that tells when an upload expires.
#[must_use]
pub fn header(expires_at_secs: u64) -> Header {
    ("upload-expires", http_date(expires_at_secs).into())
}

/// A time in seconds since the Unix epoch as an IMF-fixdate (RFC 9110, 5.6.7). What lies beyond the year 9999 is
/// written as its end.
#[must_use]
pub fn http_date(secs: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs.min(LAST_SECOND)))
}

/// A time in whole seconds since the Unix epoch, as HTTP dates count; what lies before it counts as the epoch.
#[must_use]
pub fn whole_secs(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads an HTTP date in any of its three forms, as seconds since the Unix epoch.
pub(super) fn parse_http_date(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.is_ascii())?;
    httpdate::parse_http_date(text).ok().map(whole_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_fixed_and_never_overflow() {
        for (secs, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_796_117_400, "Tue, 01 Dec 2026 09:30:00 GMT"),
            (LAST_SECOND, "Fri, 31 Dec 9999 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(header(secs), ("upload-expires", date.to_owned().into()));
        }
    }

    #[test]
    fn all_three_forms_are_read() {
        for (date, secs) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("1994-11-06T08:49:37Z", None),
            ("", None),
            ("\u{fc}", None),
        ] {
            assert_eq!(parse_http_date(date.as_bytes()), secs, "{date:?}");
        }
    }

    #[test]
    fn fractions_and_times_before_the_epoch_are_cut() {
        assert_eq!(whole_secs(UNIX_EPOCH + Duration::from_millis(1999)), 1);
        assert_eq!(whole_secs(UNIX_EPOCH - Duration::from_secs(5)), 0);
    }

    proptest::proptest! {
        #[test]
        fn a_date_that_is_written_reads_the_same(secs in 0..=LAST_SECOND, value: Vec<u8>, text: String) {
            proptest::prop_assert_eq!(parse_http_date(http_date(secs).as_bytes()), Some(secs));
            let _ = (parse_http_date(&value), parse_http_date(text.as_bytes()));
        }
    }
}
