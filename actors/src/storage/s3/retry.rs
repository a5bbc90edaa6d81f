//! Tries calls of S3 again when that may help: ever later, at random moments, and within a deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use slog::{Logger, debug};
use tokio::time::{Instant, sleep, timeout};

use super::client::{Call, ClientError, ErrorKind};

/// How long one goes on trying, and how long one waits in between. Clones count together.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    deadline_nanos: Arc<AtomicU64>,
    backoff_first: Duration,
    backoff_max: Duration,
    counts: Arc<Counts>,
}

/// How often a call was tried again, by what had become of the try before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryReport {
    /// S3 had asked for less.
    pub throttled: u64,
    /// There was no connection.
    pub unreachable: u64,
    /// S3 had failed, or had not answered.
    pub unavailable: u64,
    /// The request or the answer was damaged.
    pub corrupt: u64,
}

impl RetryReport {
    /// Each cause by name.
    #[must_use]
    pub fn by_cause(&self) -> [(&'static str, u64); 4] {
        [
            ("throttled", self.throttled),
            ("unreachable", self.unreachable),
            ("unavailable", self.unavailable),
            ("corrupt", self.corrupt),
        ]
    }
}

#[derive(Debug, Default)]
struct Counts {
    throttled: AtomicU64,
    unreachable: AtomicU64,
    unavailable: AtomicU64,
    corrupt: AtomicU64,
}

impl Counts {
    fn add(&self, kind: ErrorKind) {
        let count = match kind {
            ErrorKind::Throttled => &self.throttled,
            ErrorKind::Unreachable => &self.unreachable,
            ErrorKind::Corrupt => &self.corrupt,
            _ => &self.unavailable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A service that asks for less gets pauses that are so many times as long.
const THROTTLED_FACTOR: u32 = 4;

impl RetryPolicy {
    /// A policy that gives up `deadline` after the first try began. Pauses are at most `backoff_first` long at first,
    /// then twice as long each time, and never longer than `backoff_max`.
    #[must_use]
    pub fn new(deadline: Duration, backoff_first: Duration, backoff_max: Duration) -> Self {
        let policy = Self { deadline_nanos: Arc::default(), backoff_first, backoff_max, counts: Arc::default() };
        policy.set_deadline(deadline);
        policy
    }

    fn deadline(&self) -> Duration {
        Duration::from_nanos(self.deadline_nanos.load(Ordering::Relaxed))
    }

    /// Another deadline, for all clones and for calls under way as well.
    pub(crate) fn set_deadline(&self, deadline: Duration) {
        let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        self.deadline_nanos.store(nanos, Ordering::Relaxed);
    }

    /// What has been counted so far.
    #[must_use]
    pub fn report(&self) -> RetryReport {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &*self.counts;
        RetryReport {
            throttled: read(&counts.throttled),
            unreachable: read(&counts.unreachable),
            unavailable: read(&counts.unavailable),
            corrupt: read(&counts.corrupt),
        }
    }

    /// The longest pause after so many failures in a row (from 1 on).
    pub(crate) fn backoff_ceiling(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff_first.saturating_mul(doubled).min(self.backoff_max)
    }

    /// The pause after so many failures, the last of this kind. Anywhere up to the ceiling, so that those who failed
    /// together don't come back together; when S3 asked for less, of a higher ceiling's upper half.
    fn pause(&self, failures: u32, kind: ErrorKind, random: u32) -> Duration {
        let part = f64::from(random) / f64::from(u32::MAX);
        if kind == ErrorKind::Throttled {
            let ceiling = self.backoff_ceiling(failures).saturating_mul(THROTTLED_FACTOR).min(self.backoff_max);
            ceiling / 2 + (ceiling / 2).mul_f64(part)
        } else {
            self.backoff_ceiling(failures).mul_f64(part)
        }
    }
}

/// Calls until it succeeds, fails for good, or the deadline is over. A try that is under way then is given up.
///
/// # Errors
/// That of the last try. When it says that S3 has not acted, but an earlier try left that open, its kind is
/// [`ErrorKind::Unavailable`], so [`ClientError::may_have_been_applied`] holds for all tries together. This is not so for
/// errors that end the trying: after a lost answer, [`ErrorKind::Precondition`] or [`ErrorKind::NoSuchUpload`] may be the
/// echo of one's own success. Whoever may meet that counts its calls, and looks.
pub async fn retried<T>(
    policy: &RetryPolicy,
    what: &'static str,
    logger: &Logger,
    mut call: impl FnMut() -> Call<T>,
) -> Result<T, ClientError> {
    let began = Instant::now();
    let remaining = || policy.deadline().saturating_sub(began.elapsed());
    let (mut failures, mut perhaps_applied) = (0_u32, false);
    loop {
        let Ok(outcome) = timeout(remaining(), call()).await else { return Err(unanswered(what, failures)) };
        let error = match outcome {
            Ok(value) => return Ok(value),
            Err(error) if !error.may_retry() => return Err(error),
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        perhaps_applied |= error.may_have_been_applied();
        let pause = policy.pause(failures, error.kind, random());
        if pause >= remaining() {
            return Err(if perhaps_applied { left_open(error) } else { error });
        }
        policy.counts.add(error.kind);
        debug!(logger, "s3 call is tried again"; "call" => what, "failures" => failures, "error" => %error,
            "cause" => %error.source, "pause_ms" => u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        sleep(pause).await;
    }
}

fn unanswered(what: &'static str, failures: u32) -> ClientError {
    let cause = format!("no answer before the deadline, after {failures} failed tries");
    ClientError::new(ErrorKind::Unavailable, what, None, cause)
}

fn left_open(error: ClientError) -> ClientError {
    if error.may_have_been_applied() {
        return error;
    }
    ClientError { kind: ErrorKind::Unavailable, ..error }
}

/// Without the system's random source, the longest pause.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use ErrorKind::{Corrupt, Denied, Invalid, NoSuchUpload, Throttled, Unavailable, Unreachable};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy() -> RetryPolicy {
        RetryPolicy::new(60 * SECOND, SECOND, 8 * SECOND)
    }

    fn failed(kind: ErrorKind) -> ClientError {
        ClientError::new(kind, "UploadPart", None, "on purpose")
    }

    /// What comes of a call that fails in these ways, one after the other, and then succeeds; and how often it was made.
    async fn outcome(policy: &RetryPolicy, kinds: &[ErrorKind]) -> (Result<u8, ErrorKind>, usize) {
        let mut answers: VecDeque<Result<u8, ClientError>> = kinds.iter().map(|kind| Err(failed(*kind))).collect();
        answers.push_back(Ok(7));
        let mut calls = 0;
        let logger = Logger::root(slog::Discard, slog::o!());
        let result = retried(policy, "UploadPart", &logger, || {
            calls += 1;
            let answer = answers.pop_front().unwrap();
            Box::pin(async move { answer })
        });
        let result = result.await.map_err(|error| error.kind);
        (result, calls)
    }

    #[actix_rt::test]
    async fn what_may_pass_is_tried_again_and_counted() {
        tokio::time::pause();
        let policy = policy();
        assert_eq!(outcome(&policy, &[Unavailable, Throttled, Unreachable, Corrupt, Unavailable]).await, (Ok(7), 6));
        let counted = RetryReport { throttled: 1, unreachable: 1, unavailable: 2, corrupt: 1 };
        assert_eq!(policy.clone().report(), counted);
    }

    #[actix_rt::test]
    async fn what_stays_so_is_not_tried_again() {
        tokio::time::pause();
        for kind in [Denied, Invalid, NoSuchUpload, ErrorKind::NoSuchBucket, ErrorKind::Precondition] {
            let policy = policy();
            assert_eq!(outcome(&policy, &[kind]).await, (Err(kind), 1));
            assert_eq!(policy.report(), RetryReport::default());
            assert_eq!(outcome(&policy, &[Unavailable, kind]).await, (Err(kind), 2));
        }
    }

    #[actix_rt::test]
    async fn trying_ends_before_the_deadline() {
        tokio::time::pause();
        let began = Instant::now();
        let (result, calls) = outcome(&policy(), &[Throttled; 1_000]).await;
        assert_eq!(result, Err(Throttled));
        // The pauses lie between 2 and 4, then between 4 and 8 seconds.
        assert!((8..=16).contains(&calls), "{calls} calls");
        assert!(began.elapsed() < 60 * SECOND);
        assert!(began.elapsed() > 52 * SECOND, "gave up after {:?}", began.elapsed());
    }

    #[actix_rt::test]
    async fn an_error_tells_of_all_tries_whether_s3_may_have_acted() {
        tokio::time::pause();
        let kinds = [vec![Unavailable], vec![Throttled; 1_000]].concat();
        assert_eq!(outcome(&policy(), &kinds).await.0, Err(Unavailable));
        let kinds = [vec![Throttled], vec![Corrupt; 1_000]].concat();
        assert_eq!(outcome(&policy(), &kinds).await.0, Err(Corrupt));
        assert_eq!(outcome(&policy(), &[Unreachable; 1_000]).await.0, Err(Unreachable));
    }

    #[actix_rt::test]
    async fn a_call_without_an_answer_is_given_up_at_the_deadline() {
        tokio::time::pause();
        let began = Instant::now();
        let logger = Logger::root(slog::Discard, slog::o!());
        let result =
            retried(&policy(), "UploadPart", &logger, || -> Call<u8> { Box::pin(std::future::pending()) }).await;
        let error = result.unwrap_err();
        assert_eq!((error.kind, error.operation), (Unavailable, "UploadPart"));
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[test]
    fn pauses_double_up_to_their_maximum() {
        let policy = policy();
        let pauses = |kind, random| [1, 2, 3, 4, 5, 99].map(|failures| policy.pause(failures, kind, random).as_secs());
        assert_eq!(pauses(Unavailable, u32::MAX), [1, 2, 4, 8, 8, 8]);
        assert_eq!(pauses(Unavailable, 0), [0; 6]);
        assert_eq!(pauses(Throttled, u32::MAX), [4, 8, 8, 8, 8, 8]);
        assert_eq!(pauses(Throttled, 0), [2, 4, 4, 4, 4, 4]);
        let middle = policy.pause(3, Unreachable, u32::MAX / 2);
        assert!((middle.as_secs_f64() - 2.0).abs() < 0.001, "{middle:?}");
    }
}
