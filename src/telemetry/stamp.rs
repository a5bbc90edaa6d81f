//! The time of a line. Its date and second are written out once a second on each thread; a line adds its microseconds.

use std::{
    cell::Cell,
    time::{SystemTime, UNIX_EPOCH},
};

/// `2026-12-01T09:30:00`, of one second.
#[derive(Clone, Copy)]
struct Second {
    since_epoch: u64,
    text: [u8; 19],
}

thread_local! {
    static LAST: Cell<Second> = const { Cell::new(Second { since_epoch: 0, text: *b"1970-01-01T00:00:00" }) };
}

/// Adds the present time in UTC, as `2026-12-01T09:30:00.123456Z`.
pub(super) fn push_now(line: &mut String) {
    // A clock that is set before 1970 shows 1970.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    push(line, now.as_secs(), now.subsec_micros());
}

fn push(line: &mut String, secs: u64, micros: u32) {
    let mut second = LAST.get();
    if second.since_epoch != secs {
        second = Second { since_epoch: secs, text: written(secs) };
        LAST.set(second);
    }
    let mut text = [b'.'; 27];
    text[..19].copy_from_slice(&second.text);
    decimal(&mut text[20..26], u64::from(micros));
    text[26] = b'Z';
    line.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

/// The last digits of a number, as many as there is room for.
fn decimal(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn written(secs: u64) -> [u8; 19] {
    let (days, second) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00";
    let parts = [(0..4, year), (5..7, month), (8..10, day)];
    let parts = parts.into_iter().chain([(11..13, second / 3600), (14..16, second / 60 % 60), (17..19, second % 60)]);
    for (place, number) in parts {
        decimal(&mut text[place], number);
    }
    text
}

/// The Gregorian date so many days after 1970-01-01. Years are counted from March, so that the leap day is their last.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const DAYS_BEFORE: u64 = 719_468;
    let days = days + DAYS_BEFORE;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    // Without their leap days, all years of the era have 365.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months of 31, 30, 31, 30, 31 days: five of them have 153, and so on until the year ends.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pushed(secs: u64, micros: u32) -> String {
        let mut line = String::new();
        push(&mut line, secs, micros);
        line
    }

    #[test]
    fn a_time_has_all_its_digits() {
        assert_eq!(pushed(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(pushed(1_796_117_400, 1_020), "2026-12-01T09:30:00.001020Z");
        assert_eq!(pushed(1_796_117_400, 999_999), "2026-12-01T09:30:00.999999Z");
        assert_eq!(pushed(951_782_399, 1), "2000-02-28T23:59:59.000001Z");
        assert_eq!(pushed(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(pushed(4_107_542_399, 1), "2100-02-28T23:59:59.000001Z");
        assert_eq!(pushed(4_107_542_400, 1), "2100-03-01T00:00:00.000001Z");
        assert_eq!(pushed(253_402_300_799, 7), "9999-12-31T23:59:59.000007Z");
    }

    #[test]
    fn now_is_between_before_and_after() {
        let mut line = String::new();
        let before = SystemTime::now();
        push_now(&mut line);
        let after = SystemTime::now();
        let text = |time: SystemTime| {
            let time = time.duration_since(UNIX_EPOCH).unwrap();
            pushed(time.as_secs(), time.subsec_micros())
        };
        assert!(text(before) <= line && line <= text(after), "{line}");
    }

    proptest::proptest! {
        /// The crate that writes dates of HTTP headers has a calendar of its own.
        #[test]
        fn any_second_is_what_others_write(secs in 0_u64..253_402_300_800) {
            let theirs = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs));
            let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
            let month = months.iter().position(|month| *month == &theirs[8..11]).unwrap() + 1;
            let expected = format!("{}-{month:02}-{}T{}.000000Z", &theirs[12..16], &theirs[5..7], &theirs[17..25]);
            proptest::prop_assert_eq!(pushed(secs, 0), expected);
        }
    }
}
