//! What an operator sees of uploads: overviews, lists, and the settings that may change meanwhile.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use crate::{
    Info, UploadId,
    history::HistoryReport,
    live::Values,
    post::GaugeReport,
    storage::{PartReport, StoreTuning},
    upload::view::{LeaseReport, UploadState},
};

/// All that is known of one upload.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The upload's name.
    pub id: UploadId,
    /// What it is about.
    pub state: UploadState,
    /// How many bytes count; `None` for a final upload whose bytes are not together.
    pub offset: Option<u64>,
    /// The length, when it is known.
    pub length: Option<u64>,
    /// What else is known; `None` when it has an owner that did not answer at once.
    pub info: Option<Info>,
    /// When it expires, in seconds since the Unix epoch.
    pub expires_at_secs: Option<u64>,
    /// When its bytes last changed.
    pub changed: SystemTime,
    /// What is known of its owner; `None` when it has none.
    pub owner: Option<OwnerReport>,
    /// Its parts in S3, as they are known to its owner or found; `None` on disk, or when that is not known.
    pub parts: Option<Vec<PartReport>>,
    /// Its log and its timeline: of its present owner and those before it, as far as they are remembered.
    pub history: Option<HistoryReport>,
}

/// The owner of an upload.
#[derive(Debug, Clone)]
pub struct OwnerReport {
    /// False when it did not answer at once; then the upload's info, the lease's request and the history are missing.
    pub has_answered: bool,
    /// The open lease.
    pub lease: Option<LeaseReport>,
    /// How many bytes a second have come over the last seconds.
    pub rate_bytes_per_sec: u64,
    /// Its mailbox.
    pub mailbox: GaugeReport,
}

/// One upload in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The upload's name.
    pub id: UploadId,
    /// What it is about.
    pub state: UploadState,
    /// How many bytes count, when that is known without much ado.
    pub offset: Option<u64>,
    /// The length, when it is known.
    pub length: Option<u64>,
    /// The client's name for it.
    pub filename: Option<String>,
    /// Whether it has an owner.
    pub is_live: bool,
    /// How many bytes a second have come over the last seconds; `None` without an owner.
    pub rate_bytes_per_sec: Option<u64>,
    /// Who sends.
    pub peer: Option<SocketAddr>,
    /// When its bytes last changed.
    pub changed: SystemTime,
}

/// A slice of a list: first the uploads that have owners, then the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The uploads; a page may be short, or empty, although more follow.
    pub uploads: Vec<Listed>,
    /// Where to go on; `None` at the end.
    pub next: Option<ListCursor>,
}

/// Where a list goes on. As text it has letters and digits only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListCursor {
    /// When the list was begun, in milliseconds since the Unix epoch.
    pub(super) began_ms: u64,
    pub(super) place: ListPlace,
}

/// Where in a list one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListPlace {
    /// Behind this upload, among those with owners.
    Live(String),
    /// Behind this, in the store; at its beginning if empty.
    Store(String),
}

/// Longer ones are none of ours: an id has 1,024 bytes at most.
const CURSOR_MAX: usize = 8 * 1024;

impl ListCursor {
    /// Whether it leads to uploads that have owners.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.place, ListPlace::Live(_))
    }

    /// Reads what [`fmt::Display`] wrote; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > CURSOR_MAX || !text.is_ascii() {
            return None;
        }
        let (kind, rest) = text.split_at_checked(1)?;
        let (began, key) = rest.split_once('x')?;
        let is_plain = !began.is_empty() && began.bytes().all(|digit| digit.is_ascii_digit());
        let began_ms = began.parse().ok().filter(|_| is_plain)?;
        let digits: Vec<u8> = key
            .chars()
            .map(|digit| {
                digit.to_digit(16).filter(|_| !digit.is_ascii_uppercase()).and_then(|digit| u8::try_from(digit).ok())
            })
            .collect::<Option<_>>()?;
        let (pairs, []) = digits.as_chunks::<2>() else { return None };
        let key = String::from_utf8(pairs.iter().map(|[high, low]| high << 4 | low).collect()).ok()?;
        let place = match kind {
            "l" => ListPlace::Live(key),
            "s" => ListPlace::Store(key),
            _ => return None,
        };
        Some(Self { began_ms, place })
    }
}

impl fmt::Display for ListCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key) = match &self.place {
            ListPlace::Live(key) => ('l', key),
            ListPlace::Store(key) => ('s', key),
        };
        write!(formatter, "{kind}{}x", self.began_ms)?;
        key.bytes().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The settings that take effect while all goes on. See [`Uploads::reconfigure`](super::Uploads::reconfigure).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuning {
    /// The largest upload, in bytes; `None` for no limit. Counts for uploads whose length is not known yet as well.
    pub max_size: Option<u64>,
    /// How many messages may wait in the mailbox of one owner.
    pub mailbox: usize,
    /// An owner without work ends after this long.
    pub idle_owner: Duration,
    /// How long a request waits for an owner or the store.
    pub patience: Duration,
    /// How long an upload lives after its last change; `None` for ever.
    pub expire_after: Option<Duration>,
    /// How long the reaper rests between two rounds; `None` switches it off.
    pub expire_interval: Option<Duration>,
    /// Whether a final upload may be made of unfinished partial ones.
    pub concatenation_unfinished: bool,
    /// Mailboxes whose messages wait longer than this (at the 99th percentile of a minute) are called slow.
    pub slow_after: Duration,
    /// How many bytes may be on their way to the store. A smaller number takes effect as memory comes back.
    pub memory_budget: usize,
    /// How many calls of hooks may be under way at once.
    pub hook_workers: usize,
    /// How many calls of hooks may wait.
    pub hook_queue: usize,
    /// What lies below the store.
    pub store: StoreTuning,
}

impl Tuning {
    pub(super) fn values(&self) -> Values {
        Values {
            max_size: self.max_size,
            idle_owner: self.idle_owner,
            patience: self.patience,
            expire_interval: self.expire_interval,
            slow_after: self.slow_after,
            concatenation_unfinished: self.concatenation_unfinished,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(began_ms: u64, key: String, live: bool) {
            let place = if live { ListPlace::Live(key) } else { ListPlace::Store(key) };
            let cursor = ListCursor { began_ms, place };
            let text = cursor.to_string();
            proptest::prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            proptest::prop_assert_eq!(ListCursor::parse(&text), Some(cursor));
        }

        #[test]
        fn garbage_is_no_cursor_and_harms_nobody(text in "[ls]?[0-9+-]{0,22}x?[0-9a-fA-Fü]{0,9}", any: String) {
            for text in [text, any] {
                if let Some(cursor) = ListCursor::parse(&text) {
                    // What is one after all says the same, up to leading zeros.
                    proptest::prop_assert_eq!(ListCursor::parse(&cursor.to_string()), Some(cursor));
                }
            }
        }
    }

    #[test]
    fn what_is_cut_or_too_long_is_no_cursor() {
        let whole = ListCursor { began_ms: 7, place: ListPlace::Store("a".to_owned()) }.to_string();
        assert_eq!(whole, "s7x61");
        for text in ["", "s", "s7", "7x61", "x61", "sx61", "s7x6", "s7x6g", "s7xff", "s-7x61", "ü7x61"] {
            assert_eq!(ListCursor::parse(text), None, "{text}");
        }
        assert_eq!(ListCursor::parse(&format!("s7x{}", "61".repeat(CURSOR_MAX))), None);
    }
}
