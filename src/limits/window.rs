//! How often something happened in the last minute, in slices of five seconds.

use std::time::Duration;

const SLICE_SECS: u64 = 5;
/// The present slice, and as many before it as cover a minute.
const SLICES: usize = 13;

/// The last minute. It never forgets too soon, so no minute has more than is allowed; it may forget a slice too late.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    counts: [u32; SLICES],
    /// The number of the present slice.
    present: u64,
}

impl Window {
    /// Counts one more, unless there have been `most` already: then it tells in how long there will be room.
    pub(super) fn take(&mut self, now: Duration, most: u32) -> Result<(), Duration> {
        self.turn_to(now.as_secs() / SLICE_SECS);
        let sum: u32 = self.counts.iter().sum();
        if sum < most {
            self.counts[self.place(0)] += 1;
            return Ok(());
        }
        // As many slices must run out as bring the sum below.
        let mut left = sum;
        for age in (0..SLICES).rev() {
            left -= self.counts[self.place(age)];
            if left < most {
                let ends = (self.present + (SLICES - age) as u64) * SLICE_SECS;
                return Err(Duration::from_secs(ends).saturating_sub(now));
            }
        }
        Err(Duration::from_secs(SLICE_SECS * SLICES as u64))
    }

    /// Whether nothing happened in the last minute.
    pub(super) fn is_empty(&mut self, now: Duration) -> bool {
        self.turn_to(now.as_secs() / SLICE_SECS);
        self.counts.iter().all(|count| *count == 0)
    }

    fn place(&self, age: usize) -> usize {
        let slices = SLICES as u64;
        usize::try_from((self.present + slices - age as u64) % slices).unwrap_or_default()
    }

    fn turn_to(&mut self, slice: u64) {
        // A clock that was read before another thread's turn may lie behind.
        while self.present < slice {
            self.present = if slice - self.present > SLICES as u64 { slice - SLICES as u64 } else { self.present + 1 };
            let place = self.place(0);
            self.counts[place] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn so_many_a_minute_and_it_is_told_when_there_is_room() {
        let mut window = Window::default();
        for at in [100, 101, 111] {
            assert_eq!(window.take(secs(at), 3), Ok(()));
        }
        // The slice that begins at 100 counts until 165.
        assert_eq!(window.take(secs(112), 3), Err(secs(53)));
        assert_eq!(window.take(secs(164), 3), Err(secs(1)));
        assert_eq!(window.take(secs(165), 3), Ok(()));
        // When the limit was lowered meanwhile, more must run out.
        assert_eq!(window.take(secs(165), 1), Err(secs(65)));
        assert!(!window.is_empty(secs(229)) && window.is_empty(secs(230)));
        assert_eq!(window.take(secs(1 << 40), 1), Ok(()));
        assert_eq!(window.take(secs(1 << 40), 0).err().map(|wait| wait > secs(0)), Some(true));
    }

    proptest::proptest! {
        #[test]
        fn no_minute_has_more(steps in proptest::collection::vec(0_u64..9_000, 1..400), most in 1_u32..9) {
            let (mut window, mut now, mut taken) = (Window::default(), 0, Vec::new());
            for step in steps {
                now += step;
                match window.take(Duration::from_millis(now), most) {
                    Ok(()) => taken.push(now),
                    Err(wait) => {
                        let then = Duration::from_millis(now) + wait;
                        proptest::prop_assert!(window.clone().take(then, most).is_ok());
                        proptest::prop_assert!(wait <= Duration::from_secs(65));
                    }
                }
            }
            for (place, at) in taken.iter().enumerate() {
                let within = taken[place..].iter().filter(|other| **other < at + 60_000).count();
                proptest::prop_assert!(within <= most as usize, "{within} within a minute of {at}");
            }
        }
    }
}
