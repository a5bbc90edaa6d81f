//! A timer that is set over and over and hardly ever runs out: several times in each request, or for each piece of a body. So
//! to set it costs no more than to note the time: the runtime's own timer is moved when it has run out too early. Where thousands
//! wait, to move that would touch the timers of others each time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that costs nothing until it is first waited for.
#[derive(Default)]
pub struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
}

impl Timer {
    /// It runs out after this time, whatever it was set to before.
    pub fn set(&mut self, duration: Duration) {
        // A time that no clock can show never comes.
        self.at = Instant::now().checked_add(duration);
    }

    /// It does not run out any more.
    pub fn clear(&mut self) {
        self.at = None;
    }

    /// Whether it is to run out.
    pub fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready when it has run out. Pending for ever while it isn't set.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Whether it has run out, as far as a look at it tells.
    fn has_run_out(timer: &mut Timer) -> bool {
        poll_fn(|context| timer.poll(context)).now_or_never().is_some()
    }

    #[tokio::test]
    async fn it_runs_out_when_it_was_set_to_last() {
        let mut timer = Timer::default();
        assert!(!has_run_out(&mut timer));
        timer.set(Duration::ZERO);
        poll_fn(|context| timer.poll(context)).await;
        timer.set(LONG);
        assert!(!has_run_out(&mut timer), "later than before");
        timer.set(Duration::from_millis(1));
        poll_fn(|context| timer.poll(context)).await;
        timer.set(LONG);
        assert!(!has_run_out(&mut timer));
        timer.set(Duration::from_millis(1));
        timer.clear();
        assert!(!timer.is_set() && !has_run_out(&mut timer));
        timer.set(Duration::MAX);
        assert!(!has_run_out(&mut timer));
    }

    #[tokio::test]
    async fn a_later_time_wakes_who_waits_since_the_earlier_one() {
        let mut timer = Timer::default();
        timer.set(Duration::from_millis(1));
        assert!(!has_run_out(&mut timer));
        timer.set(Duration::from_millis(20));
        poll_fn(|context| timer.poll(context)).await;
    }
}
