//! GET and HEAD of a finished upload: what is sent, by its validators and the range that is asked for (RFC 9110, 13 and
//! 14).

use std::time::SystemTime;

pub use super::media::{content_disposition, content_type};
use super::{
    Fields,
    expiration::{parse_http_date, whole_secs},
};

/// What a download's answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Download {
    /// Everything: 200.
    Full,
    /// The bytes from `first` to `last`, both included: 206.
    Part {
        /// The first byte's offset.
        first: u64,
        /// The last byte's offset, below the length.
        last: u64,
    },
    /// Nothing, the client has it: 304.
    NotModified,
    /// Nothing, the file isn't the one that the client means: 412.
    PreconditionFailed,
    /// Nothing, the range lies beyond the end: 416.
    Unsatisfiable,
}

/// Decides what to send of a file of `length` bytes, last changed at `modified` if that is known, with the quoted entity
/// tag `etag`. Preconditions are taken in the order of RFC 9110, 13.2.2; those of dates don't count without one (13.1.3, 13.1.4).
#[must_use]
pub fn decide(fields: &dyn Fields, length: u64, etag: &str, modified: Option<SystemTime>, method: &str) -> Download {
    let modified = modified.map(whole_secs);
    if let Some(outcome) = precondition(fields, etag, modified) {
        return outcome;
    }
    // Only GET knows ranges (14.2), and only a single line makes sense.
    if method != "GET" || fields.count("range") != 1 || !range_counts(fields, etag, modified) {
        return Download::Full;
    }
    fields.first("range").map_or(Download::Full, |value| range(value, length))
}

/// Whether the client has what `etag` names, by its `If-None-Match`. For what has no other validator.
#[must_use]
pub fn is_known(fields: &dyn Fields, etag: &str) -> bool {
    lists(&fields.lines("if-none-match"), etag, Comparison::Weak)
}

fn precondition(fields: &dyn Fields, etag: &str, modified: Option<u64>) -> Option<Download> {
    let date = |name| fields.first(name).filter(|_| fields.count(name) == 1).and_then(parse_http_date);
    let dates = |name| modified.zip(date(name));
    let if_match = fields.lines("if-match");
    let fails = if if_match.is_empty() {
        dates("if-unmodified-since").is_some_and(|(modified, date)| modified > date)
    } else {
        !lists(&if_match, etag, Comparison::Strong)
    };
    if fails {
        return Some(Download::PreconditionFailed);
    }
    let is_known = if fields.lines("if-none-match").is_empty() {
        dates("if-modified-since").is_some_and(|(modified, date)| modified <= date)
    } else {
        is_known(fields, etag)
    };
    is_known.then_some(Download::NotModified)
}

/// Whether `If-Range` lets the range count (13.1.5): an entity tag must match strongly, a date exactly.
fn range_counts(fields: &dyn Fields, etag: &str, modified: Option<u64>) -> bool {
    match fields.first("if-range").map(<[u8]>::trim_ascii) {
        None => true,
        Some(tag) if tag.starts_with(b"\"") => tag == etag.as_bytes(),
        Some(date) => parse_http_date(date).zip(modified).is_some_and(|(date, modified)| date == modified),
    }
}

/// How entity tags are compared (8.8.3.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    /// Weak tags match nothing.
    Strong,
    /// Weak tags are as good as others.
    Weak,
}

/// Whether a list of entity tags, or `*`, includes `etag`. What follows a malformed tag is not read.
fn lists(lines: &[&[u8]], etag: &str, comparison: Comparison) -> bool {
    let (etag, is_weak) = etag.strip_prefix("W/").map_or((etag, false), |etag| (etag, true));
    lines.iter().any(|line| {
        let mut rest = line.trim_ascii();
        if rest == b"*" {
            return true;
        }
        while let Some((tag, tag_is_weak, after)) = next_tag(rest) {
            let may_match = comparison == Comparison::Weak || !(is_weak || tag_is_weak);
            if may_match && tag == etag.as_bytes() {
                return true;
            }
            rest = after;
        }
        false
    })
}

/// The first entity tag of a list with its quotes, whether it is weak, and what follows it.
fn next_tag(list: &[u8]) -> Option<(&[u8], bool, &[u8])> {
    let start = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
    let (rest, is_weak) = match list[start..].strip_prefix(b"W/") {
        Some(rest) => (rest, true),
        None => (&list[start..], false),
    };
    let inner = rest.strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')? + 2;
    Some((&rest[..end], is_weak, &rest[end..]))
}

/// Reads `Range` (14.1.2). One range is served. What is malformed, in another unit, or several ranges are ignored, as
/// 14.2 allows, and so is any range of an empty file, which has no byte to name.
fn range(value: &[u8], length: u64) -> Download {
    match single_range(value) {
        _ if length == 0 => Download::Full,
        Some((Some(first), last)) if first < length => {
            Download::Part { first, last: last.unwrap_or(u64::MAX).min(length - 1) }
        }
        Some((None, Some(suffix))) if suffix > 0 => {
            Download::Part { first: length.saturating_sub(suffix), last: length - 1 }
        }
        Some(_) => Download::Unsatisfiable,
        None => Download::Full,
    }
}

/// The two numbers of the only range in `value`, of which the first may be missing, or the second.
fn single_range(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(value).ok()?;
    let (unit, ranges) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = ranges.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
    let (range, None) = (ranges.next()?, ranges.next()) else { return None };
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| if text.is_empty() { Some(None) } else { saturating_number(text).map(Some) };
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last => None,
        numbers => Some(numbers),
    }
}

/// Reads digits; a number that is too large counts as the largest, which lies beyond the end of any file.
fn saturating_number(text: &str) -> Option<u64> {
    text.bytes().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Download::*, *};
    use crate::protocol::testing::fields;

    const ETAG: &str = "\"a,b\"";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn of(lines: &[(&str, &str)], method: &str) -> Download {
        let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_900);
        decide(&fields(lines), 100, ETAG, Some(modified), method)
    }

    #[test]
    fn a_single_range_is_served() {
        for (range, expected) in [
            ("bytes=0-0", Part { first: 0, last: 0 }),
            ("bytes=10-19", Part { first: 10, last: 19 }),
            ("bytes=10-", Part { first: 10, last: 99 }),
            ("bytes=-10", Part { first: 90, last: 99 }),
            ("bytes=-100", Part { first: 0, last: 99 }),
            ("bytes=-1000", Part { first: 0, last: 99 }),
            ("bytes=99-1000", Part { first: 99, last: 99 }),
            ("bytes=0-99999999999999999999999999", Part { first: 0, last: 99 }),
            ("bytes=-99999999999999999999999999", Part { first: 0, last: 99 }),
            ("BYTES= , 10-19 ,", Part { first: 10, last: 19 }),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=99999999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=0-1,5-6", Full),
            ("bytes=5-4", Full),
            ("bytes=", Full),
            ("bytes=,", Full),
            ("bytes=-", Full),
            ("bytes=5", Full),
            ("bytes=a-b", Full),
            ("bytes=0-b", Full),
            ("bytes=+1-5", Full),
            ("bytes=--5", Full),
            ("bytes=1-5-", Full),
            ("bytes 0-5", Full),
            ("lines=0-5", Full),
            ("", Full),
            ("\u{fc}", Full),
        ] {
            assert_eq!(of(&[("range", range)], "GET"), expected, "{range:?}");
        }
        assert_eq!(of(&[("range", "bytes=0-0"), ("range", "bytes=1-1")], "GET"), Full);
        assert_eq!(of(&[("range", "bytes=0-0")], "HEAD"), Full);
    }

    #[test]
    fn an_empty_file_is_always_whole() {
        for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-"] {
            assert_eq!(decide(&fields(&[("range", range)]), 0, ETAG, Some(UNIX_EPOCH), "GET"), Full, "{range}");
        }
    }

    #[test]
    fn a_range_counts_if_the_file_is_the_same() {
        let part = Part { first: 0, last: 4 };
        for (if_range, expected) in [
            (ETAG, part),
            (" \"a,b\" ", part),
            (DATE, part),
            ("W/\"a,b\"", Full),
            ("\"other\"", Full),
            ("\"a,b", Full),
            (EARLIER, Full),
            (LATER, Full),
            ("*", Full),
            ("", Full),
        ] {
            assert_eq!(of(&[("range", "bytes=0-4"), ("if-range", if_range)], "GET"), expected, "{if_range:?}");
        }
        assert_eq!(of(&[("range", "bytes=100-"), ("if-range", "\"other\"")], "GET"), Full);
        assert_eq!(of(&[("if-range", ETAG)], "GET"), Full);
    }

    #[test]
    fn preconditions_are_taken_in_order() {
        for (lines, expected) in [
            (vec![("if-match", ETAG)], Full),
            (vec![("if-match", "*")], Full),
            (vec![("if-match", "\"x\", \"a,b\"")], Full),
            (vec![("if-match", "\"x\""), ("if-match", ETAG)], Full),
            (vec![("if-match", "\"x\"")], PreconditionFailed),
            (vec![("if-match", "W/\"a,b\"")], PreconditionFailed),
            (vec![("if-match", "")], PreconditionFailed),
            (vec![("if-match", "a,b")], PreconditionFailed),
            (vec![("if-match", ETAG), ("if-unmodified-since", EARLIER)], Full),
            (vec![("if-unmodified-since", EARLIER)], PreconditionFailed),
            (vec![("if-unmodified-since", DATE)], Full),
            (vec![("if-unmodified-since", "yesterday")], Full),
            (vec![("if-none-match", ETAG)], NotModified),
            (vec![("if-none-match", "W/\"a,b\"")], NotModified),
            (vec![("if-none-match", "\"x\",,\t\"a,b\" ")], NotModified),
            (vec![("if-none-match", "*")], NotModified),
            (vec![("if-none-match", "\"a\",\"b\"")], Full),
            (vec![("if-none-match", "\"x\" broken \"a,b\"")], Full),
            (vec![("if-none-match", "\"x\""), ("if-modified-since", LATER)], Full),
            (vec![("if-modified-since", DATE)], NotModified),
            (vec![("if-modified-since", LATER)], NotModified),
            (vec![("if-modified-since", EARLIER)], Full),
            (vec![("if-modified-since", DATE), ("if-modified-since", DATE)], Full),
            (vec![("if-match", "\"x\""), ("if-none-match", ETAG)], PreconditionFailed),
            (vec![("if-match", ETAG), ("if-none-match", ETAG)], NotModified),
            (vec![("if-none-match", ETAG), ("range", "bytes=100-")], NotModified),
            (vec![("if-match", ETAG), ("range", "bytes=1-2")], Part { first: 1, last: 2 }),
        ] {
            assert_eq!(of(&lines, "GET"), expected, "{lines:?}");
            let without_range = if matches!(expected, Part { .. }) { Full } else { expected };
            assert_eq!(of(&lines, "HEAD"), without_range, "HEAD {lines:?}");
        }
    }

    #[test]
    fn without_a_date_of_ours_dates_do_not_count() {
        let undated = |lines: &[(&str, &str)]| decide(&fields(lines), 100, ETAG, None, "GET");
        for name in ["if-unmodified-since", "if-modified-since"] {
            assert_eq!([EARLIER, DATE, LATER].map(|date| undated(&[(name, date)])), [Full, Full, Full], "{name}");
        }
        assert_eq!(undated(&[("if-range", "yesterday"), ("range", "bytes=0-0")]), Full);
        assert_eq!(undated(&[("if-range", ETAG), ("range", "bytes=0-0")]), Part { first: 0, last: 0 });
    }

    #[test]
    fn a_weak_tag_of_ours_never_matches_strongly() {
        let weak = |lines: &[(&str, &str)]| decide(&fields(lines), 100, "W/\"a\"", Some(UNIX_EPOCH), "GET");
        assert_eq!(weak(&[("if-match", "W/\"a\"")]), PreconditionFailed);
        assert_eq!(weak(&[("if-match", "\"a\"")]), PreconditionFailed);
        assert_eq!(weak(&[("if-none-match", "\"a\"")]), NotModified);
        assert_eq!(weak(&[("if-range", "\"a\""), ("range", "bytes=0-0")]), Full);
        assert_eq!(weak(&[("if-range", "W/\"a\""), ("range", "bytes=0-0")]), Full);
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_within_the_file(value: Vec<u8>, text in "bytes=[-0-9, ]{0,12}", length: u64) {
            for value in [value, text.into_bytes()] {
                if let Part { first, last } = range(&value, length) {
                    proptest::prop_assert!(first <= last && last < length);
                }
            }
        }

        #[test]
        fn a_range_that_is_written_is_the_one_that_is_served(length in 1..=u64::MAX, one: u64, two: u64) {
            let (one, two) = (one % length, two % length);
            let (first, last) = (one.min(two), one.max(two));
            proptest::prop_assert_eq!(range(format!("bytes={first}-{last}").as_bytes(), length), Part { first, last });
        }

        /// RFC 9110, 14.1.2, over the bytes of a small file.
        #[test]
        fn a_range_serves_the_bytes_that_it_names(length in 1..20_u64, first in 0..25_u64, last in 0..25_u64) {
            let served = |text: String| match range(text.as_bytes(), length) {
                Part { first, last } => (first..=last).collect::<Vec<_>>(),
                Unsatisfiable => Vec::new(),
                other => panic!("{text}: {other:?}"),
            };
            let file = 0..length;
            let from: Vec<u64> = file.clone().filter(|at| *at >= first).collect();
            proptest::prop_assert_eq!(served(format!("bytes={first}-")), from.clone());
            let end: Vec<u64> = file.clone().filter(|at| at + last >= length).collect();
            proptest::prop_assert_eq!(served(format!("bytes=-{last}")), end);
            if first <= last {
                let between: Vec<u64> = from.into_iter().filter(|at| *at <= last).collect();
                proptest::prop_assert_eq!(served(format!(" Bytes = , {first}-{last} ,").replace(" =", "=")), between);
            }
        }

        /// RFC 9110, 8.8.3: a list matches when one of its tags does, however it is spread over lines.
        #[test]
        fn a_list_of_tags_is_read_as_it_was_written(
            tags in proptest::collection::vec(("(W/)?", "[a-c,/W]{0,2}"), 1..5), own in "[a-c,/W]{0,2}", cut: proptest::sample::Index,
        ) {
            let written: Vec<String> = tags.iter().map(|(weak, tag)| format!("{weak}\"{tag}\"")).collect();
            let (one, two) = written.split_at(cut.index(written.len()));
            let lines: Vec<String> = [one, two].iter().filter(|part| !part.is_empty()).map(|part| part.join(" ,\t")).collect();
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            let etag = format!("\"{own}\"");
            let weakly = tags.iter().any(|(_, tag)| *tag == own);
            let strongly = tags.iter().any(|(weak, tag)| weak.is_empty() && *tag == own);
            proptest::prop_assert_eq!(lists(&lines, &etag, Comparison::Weak), weakly);
            proptest::prop_assert_eq!(lists(&lines, &etag, Comparison::Strong), strongly);
        }

        #[test]
        fn no_validator_panics(name in "if-(none-)?match|if-(un)?modified-since|if-range", value: Vec<u8>) {
            let lines = vec![(name, value), ("range".to_owned(), b"bytes=0-".to_vec())];
            let _ = decide(&lines, 5, ETAG, Some(UNIX_EPOCH), "GET");
        }
    }
}
