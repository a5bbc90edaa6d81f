//! Several tries of one call, all within one time.

use std::{fmt, num::NonZeroU32, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::hooks::{HookError, HookFailure, Verdict};

/// How often a hook is called for one event, and within which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// So many tries, the first among them.
    pub most: NonZeroU32,
    /// The pause between two of them.
    pub backoff: Duration,
    /// The time for all of them and the pauses.
    pub timeout: Duration,
}

/// A try that came to nothing.
#[derive(Debug)]
pub(in crate::hooks) struct Missed {
    error: HookError,
    may_retry: bool,
}

impl Missed {
    /// It will be the same next time.
    pub(in crate::hooks) fn for_good(failure: HookFailure, cause: impl Into<String>) -> Self {
        Self { error: HookError::new(failure, cause), may_retry: false }
    }

    /// Another try may do better.
    pub(in crate::hooks) fn for_now(failure: HookFailure, cause: impl Into<String>) -> Self {
        Self { error: HookError::new(failure, cause), may_retry: true }
    }

    pub(in crate::hooks) fn saying(self, said: impl Into<String>) -> Self {
        Self { error: self.error.saying(said), ..self }
    }
}

impl Attempts {
    /// Calls until it succeeds, or fails for good, or there have been as many tries as may be, or the time is over.
    pub(in crate::hooks) async fn make<F>(self, call: impl FnMut() -> F) -> Result<Verdict, HookError>
    where
        F: Future<Output = Result<Verdict, Missed>>,
    {
        let mut failed = Failed::default();
        let tries = timeout(self.timeout, self.tries(call, &mut failed)).await;
        let mut error = match tries {
            Ok(Ok(verdict)) => return Ok(verdict),
            Ok(Err(error)) => error,
            Err(_) => HookError::new(HookFailure::TimedOut, format!("no answer within {:?}", self.timeout)),
        };
        error.cause.push_str(&failed.to_string());
        Err(error)
    }

    async fn tries<F>(self, mut call: impl FnMut() -> F, failed: &mut Failed) -> Result<Verdict, HookError>
    where
        F: Future<Output = Result<Verdict, Missed>>,
    {
        let began = Instant::now();
        loop {
            let Missed { error, may_retry } = match call().await {
                Ok(verdict) => return Ok(verdict),
                Err(missed) => missed,
            };
            let has_time = began.elapsed().saturating_add(self.backoff) < self.timeout;
            if !may_retry || failed.tries + 1 >= self.most.get() || !has_time {
                return Err(error);
            }
            *failed = Failed { tries: failed.tries + 1, last: error.cause };
            sleep(self.backoff).await;
        }
    }
}

/// The tries that failed before the one that counts.
#[derive(Default)]
struct Failed {
    tries: u32,
    last: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tries {
            0 => Ok(()),
            1 => write!(formatter, " (a try before: {})", self.last),
            tries => write!(formatter, " ({tries} tries before, the last: {})", self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::pending};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn attempts(most: u32, timeout: Duration) -> Attempts {
        Attempts { most: NonZeroU32::new(most).unwrap(), backoff: SECOND, timeout }
    }

    /// What comes of a call that ends as it is said, and how often it was made.
    async fn outcome(
        attempts: Attempts,
        call: impl Fn(u32) -> Result<Verdict, Missed>,
    ) -> (Result<Verdict, HookError>, u32) {
        let calls = Cell::new(0);
        let made = attempts.make(|| {
            calls.set(calls.get() + 1);
            std::future::ready(call(calls.get()))
        });
        (made.await, calls.get())
    }

    fn broken(call: u32) -> Missed {
        Missed::for_now(HookFailure::Unreachable, format!("broken {call}"))
    }

    #[actix_rt::test]
    async fn what_may_pass_is_tried_again_after_a_pause() {
        tokio::time::pause();
        let began = Instant::now();
        let (result, calls) =
            outcome(attempts(3, 15 * SECOND), |call| if call < 3 { Err(broken(call)) } else { Ok(Verdict::default()) })
                .await;
        assert_eq!((result, calls, began.elapsed().as_secs()), (Ok(Verdict::default()), 3, 2));
    }

    #[actix_rt::test]
    async fn the_last_failure_counts_and_the_others_are_told() {
        tokio::time::pause();
        let (result, calls) = outcome(attempts(3, 15 * SECOND), |call| Err(broken(call))).await;
        let error = result.unwrap_err();
        assert_eq!((error.failure, calls), (HookFailure::Unreachable, 3));
        assert_eq!(error.cause, "broken 3 (2 tries before, the last: broken 2)");
    }

    #[actix_rt::test]
    async fn what_stays_so_is_not_tried_again() {
        let missed = || Missed::for_good(HookFailure::Nonsense, "what?").saying("bla");
        let (result, calls) = outcome(attempts(3, 15 * SECOND), |_| Err(missed())).await;
        assert_eq!((result.unwrap_err(), calls), (missed().error, 1));
    }

    #[actix_rt::test]
    async fn no_pause_outlasts_the_time() {
        tokio::time::pause();
        let (result, calls) = outcome(attempts(9, 3 * SECOND), |call| Err(broken(call))).await;
        assert_eq!((result.unwrap_err().failure, calls), (HookFailure::Unreachable, 3));
    }

    #[actix_rt::test]
    async fn the_time_is_for_all_tries_together() {
        tokio::time::pause();
        let (began, calls) = (Instant::now(), Cell::new(0));
        let made = attempts(3, 15 * SECOND).make(|| {
            calls.set(calls.get() + 1);
            let call = calls.get();
            async move { if call == 1 { Err(broken(call)) } else { pending().await } }
        });
        let error = made.await.unwrap_err();
        assert_eq!(error.failure, HookFailure::TimedOut);
        assert_eq!(error.cause, "no answer within 15s (a try before: broken 1)");
        assert_eq!((calls.get(), began.elapsed().as_secs()), (2, 15));
    }
}
