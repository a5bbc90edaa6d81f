//! What is counted of requests: atomics that the routes write, and the admin endpoint reads.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::protocol::Refusal;

mod latency;

pub(crate) use latency::{BOUNDS, Latency, LatencyReport, Recent};

/// Off only in a build that shows what counting costs.
const METERED: bool = !cfg!(feature = "unmetered");

/// What requests are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Patch,
    Delete,
    Options,
    Other,
}

impl Method {
    pub(crate) const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Patch, Self::Delete, Self::Options, Self::Other];

    /// The method of that name.
    pub(crate) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|method| method.name() == name).unwrap_or(Self::Other)
    }

    /// Its name, as a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

/// Why a check refused a request, beyond what its code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    TokenMissing,
    TokenMalformed,
    TokenTooLong,
    TokenWrong,
    TokenKey,
    TokenSignature,
    TokenExpired,
    TokenNotYetValid,
    TokenIssuer,
    TokenAudience,
    TokenClaim,
    KeysUnavailable,
    OpenPerOwner,
    OpenPerAddress,
    CreationsPerOwner,
    CreationsPerAddress,
}

impl Cause {
    pub(crate) const ALL: [Self; 16] = [
        Self::TokenMissing,
        Self::TokenMalformed,
        Self::TokenTooLong,
        Self::TokenWrong,
        Self::TokenKey,
        Self::TokenSignature,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::TokenIssuer,
        Self::TokenAudience,
        Self::TokenClaim,
        Self::KeysUnavailable,
        Self::OpenPerOwner,
        Self::OpenPerAddress,
        Self::CreationsPerOwner,
        Self::CreationsPerAddress,
    ];

    /// Its name, as a label and in the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenMalformed => "token_malformed",
            Self::TokenTooLong => "token_too_long",
            Self::TokenWrong => "token_wrong",
            Self::TokenKey => "token_key",
            Self::TokenSignature => "token_signature",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenIssuer => "token_issuer",
            Self::TokenAudience => "token_audience",
            Self::TokenClaim => "token_claim",
            Self::KeysUnavailable => "keys_unavailable",
            Self::OpenPerOwner => "open_per_owner",
            Self::OpenPerAddress => "open_per_address",
            Self::CreationsPerOwner => "creations_per_owner",
            Self::CreationsPerAddress => "creations_per_address",
        }
    }
}

/// A request that has come to its end.
pub(crate) struct Ended {
    pub(crate) method: Method,
    /// 0: the client went away before it was answered, and a code that there may be does not count.
    pub(crate) status: u16,
    /// Why it was refused, if it was.
    pub(crate) code: Option<&'static str>,
    pub(crate) sent_bytes: u64,
    pub(crate) took: Duration,
    /// When it ended.
    pub(crate) at: Instant,
}

/// The counters of the public listener, since the start.
pub(crate) struct Metrics {
    begun: [AtomicU64; Method::ALL.len()],
    latency: [Latency; Method::ALL.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
    checked: [AtomicU64; Cause::ALL.len()],
    aborted: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            begun: Default::default(),
            latency: Default::default(),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            checked: Default::default(),
            aborted: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }
}

/// Refused requests of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) count: u64,
}

/// What has been counted so far.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// Requests that have begun, by method.
    pub(crate) begun: [(Method, u64); Method::ALL.len()],
    /// How long those that ended took.
    pub(crate) latency: Vec<(Method, LatencyReport)>,
    /// Those that were refused, each kind at least once.
    pub(crate) refused: Vec<Refused>,
    /// Those that a check refused, by cause.
    pub(crate) checked: [(Cause, u64); Cause::ALL.len()],
    /// Those whose client went away before there was an answer.
    pub(crate) aborted: u64,
    /// Bytes of answers' bodies.
    pub(crate) sent_bytes: u64,
}

impl Metrics {
    pub(crate) fn began(&self, method: Method) {
        if METERED {
            self.begun[method as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A check has refused a request.
    pub(crate) fn refused_by_check(&self, cause: Cause) {
        if METERED {
            self.checked[cause as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn ended(&self, ended: Ended) {
        if !METERED {
            return;
        }
        self.latency[ended.method as usize].add(ended.took, ended.at);
        if ended.sent_bytes > 0 {
            self.sent_bytes.fetch_add(ended.sent_bytes, Ordering::Relaxed);
        }
        if ended.status == 0 {
            self.aborted.fetch_add(1, Ordering::Relaxed);
        } else if let Some(code) = ended.code
            && let Some(place) = Refusal::ALL.iter().position(|refusal| refusal.code() == code)
        {
            self.refused[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn report(&self) -> Report {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let refused = Refusal::ALL.iter().zip(&self.refused).map(|(refusal, count)| Refused {
            status: refusal.status(),
            code: refusal.code(),
            count: read(count),
        });
        Report {
            begun: std::array::from_fn(|place| (Method::ALL[place], read(&self.begun[place]))),
            latency: Method::ALL.iter().zip(&self.latency).map(|(method, took)| (*method, took.report())).collect(),
            refused: refused.filter(|refused| refused.count > 0).collect(),
            checked: std::array::from_fn(|place| (Cause::ALL[place], read(&self.checked[place]))),
            aborted: read(&self.aborted),
            sent_bytes: read(&self.sent_bytes),
        }
    }

    /// How long requests took in the last minute, by method, for those that came.
    pub(crate) fn recent(&self) -> Vec<(Method, Recent)> {
        let recent = Method::ALL.iter().zip(&self.latency).map(|(method, took)| (*method, took.last_minute()));
        recent.filter(|(_, recent)| recent.count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: u16, code: Option<&'static str>) -> Ended {
        Ended { method: Method::Patch, status, code, sent_bytes: 3, took: Duration::from_millis(2), at: Instant::now() }
    }

    #[test]
    fn each_method_has_its_place_and_its_name() {
        for (place, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!((method as usize, Method::of(method.name())), (place, method));
        }
        assert_eq!(
            (Method::of("PURGE"), Method::of("get"), Method::of("other")),
            (Method::Other, Method::Other, Method::Other)
        );
    }

    #[test]
    fn each_cause_has_its_place() {
        let metrics = Metrics::default();
        for (place, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place);
            metrics.refused_by_check(cause);
        }
        assert!(metrics.report().checked.iter().all(|(_, count)| *count == 1));
    }

    #[test]
    fn refusals_are_counted_by_their_codes() {
        let metrics = Metrics::default();
        metrics.began(Method::Patch);
        for (status, code) in [(204, None), (409, Some("ERR_MISMATCHED_OFFSET")), (0, None)] {
            metrics.ended(ended(status, code));
        }
        let report = metrics.report();
        assert_eq!(report.refused, [Refused { status: 409, code: "ERR_MISMATCHED_OFFSET", count: 1 }]);
        assert_eq!((report.aborted, report.sent_bytes, report.begun[3]), (1, 9, (Method::Patch, 1)));
        assert_eq!((metrics.recent()[0].0, metrics.recent()[0].1.count), (Method::Patch, 3));
    }
}
