//! What an owner publishes of itself, to be read without asking it: numbers only. So a stuck owner shows as well, and a
//! list of thousands disturbs none of them.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU8, AtomicU64, Ordering, fence},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::view::UploadState;
use crate::post::METERED;

/// Stands for "none" where a number is published.
const NONE: u64 = u64::MAX;

/// Rates are told over so many milliseconds.
const WINDOW_MS: u64 = 5000;

/// See the module. The owner alone writes.
pub(crate) struct Sight {
    /// When the owner started, in milliseconds since the Unix epoch.
    pub(crate) started_ms: u64,
    /// The client's name for the upload.
    pub(crate) filename: Option<Box<str>>,
    state: AtomicU8,
    offset: AtomicU64,
    length: AtomicU64,
    changed_ms: AtomicU64,
    lease: LeaseSight,
    pace: Pace,
}

/// The open lease. Its number is written last and taken back first, so whoever finds the same number before and after has
/// read what belongs to it.
struct LeaseSight {
    number: AtomicU64,
    since_ms: AtomicU64,
    /// The peer: two halves of the address as IPv6, then the port, or `NONE`.
    peer: [AtomicU64; 3],
}

/// How many bytes came in the present window and in the one before.
#[derive(Default)]
struct Pace {
    window: AtomicU64,
    bytes: AtomicU64,
    before: AtomicU64,
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(NONE - 1)
}

fn of_ms(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(ms)
}

fn published(value: u64) -> Option<u64> {
    (value != NONE).then_some(value)
}

impl Sight {
    pub(crate) fn new(filename: Option<&str>, changed: SystemTime) -> Self {
        let number = |value| AtomicU64::new(value);
        Self {
            started_ms: unix_ms(SystemTime::now()),
            filename: filename.map(Box::from),
            state: AtomicU8::new(UploadState::Idle as u8),
            offset: number(NONE),
            length: number(NONE),
            changed_ms: number(unix_ms(changed)),
            lease: LeaseSight {
                number: number(NONE),
                since_ms: number(0),
                peer: std::array::from_fn(|_| number(NONE)),
            },
            pace: Pace::default(),
        }
    }

    /// Publishes where the upload stands.
    pub(super) fn stands(&self, state: UploadState, offset: Option<u64>, length: Option<u64>) {
        if METERED {
            self.state.store(state as u8, Ordering::Relaxed);
            self.offset.store(offset.unwrap_or(NONE), Ordering::Relaxed);
            self.length.store(length.unwrap_or(NONE), Ordering::Relaxed);
        }
    }

    /// Bytes have been stored.
    pub(super) fn grew(&self, bytes: u64, now: SystemTime) {
        if METERED {
            let now_ms = unix_ms(now);
            self.changed_ms.store(now_ms, Ordering::Relaxed);
            self.pace.add(bytes, now_ms);
        }
    }

    pub(super) fn lease_opened(&self, number: u64, peer: Option<SocketAddr>, now: SystemTime) {
        let halves = peer.map_or([NONE; 3], |peer| {
            let ip = match peer.ip() {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            #[expect(clippy::cast_possible_truncation, reason = "the halves of it")]
            let (high, low) = ((ip.to_bits() >> 64) as u64, ip.to_bits() as u64);
            [high, low, peer.port().into()]
        });
        self.lease_ended();
        fence(Ordering::Release);
        self.lease.since_ms.store(unix_ms(now), Ordering::Relaxed);
        self.lease.peer.iter().zip(halves).for_each(|(half, value)| half.store(value, Ordering::Relaxed));
        self.lease.number.store(number, Ordering::Release);
    }

    pub(super) fn lease_ended(&self) {
        self.lease.number.store(NONE, Ordering::Relaxed);
    }

    pub(crate) fn state(&self) -> UploadState {
        let state = self.state.load(Ordering::Relaxed);
        UploadState::ALL.into_iter().find(|known| *known as u8 == state).unwrap_or(UploadState::Ending)
    }

    pub(crate) fn offset(&self) -> Option<u64> {
        published(self.offset.load(Ordering::Relaxed))
    }

    pub(crate) fn length(&self) -> Option<u64> {
        published(self.length.load(Ordering::Relaxed))
    }

    pub(crate) fn changed(&self) -> SystemTime {
        of_ms(self.changed_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn rate(&self, now: SystemTime) -> u64 {
        self.pace.rate(unix_ms(now))
    }

    /// The open lease: its number, since when, and who holds it.
    pub(crate) fn lease(&self) -> Option<(u64, SystemTime, Option<SocketAddr>)> {
        loop {
            let number = published(self.lease.number.load(Ordering::Acquire))?;
            let since_ms = self.lease.since_ms.load(Ordering::Relaxed);
            let [high, low, port] = std::array::from_fn(|half| self.lease.peer[half].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            if self.lease.number.load(Ordering::Relaxed) == number {
                let ip = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).to_canonical();
                let peer = u16::try_from(port).ok().map(|port| SocketAddr::new(ip, port));
                return Some((number, of_ms(since_ms), peer));
            }
        }
    }
}

impl Pace {
    /// The owner alone calls this, so there is nobody to race with but readers, who may be off by a window.
    fn add(&self, bytes: u64, now_ms: u64) {
        let (window, now) = (self.window.load(Ordering::Relaxed), now_ms / WINDOW_MS);
        if window == now {
            self.bytes.store(self.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
            return;
        }
        let before = if window + 1 == now { self.bytes.load(Ordering::Relaxed) } else { 0 };
        self.before.store(before, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.window.store(now, Ordering::Relaxed);
    }

    /// Bytes per second over the last window's length: of the window before, the part that has not run out yet.
    fn rate(&self, now_ms: u64) -> u64 {
        let (window, now) = (self.window.load(Ordering::Relaxed), now_ms / WINDOW_MS);
        let (bytes, before) = match now.checked_sub(window) {
            Some(0) => (self.bytes.load(Ordering::Relaxed), self.before.load(Ordering::Relaxed)),
            Some(1) => (0, self.bytes.load(Ordering::Relaxed)),
            _ => return 0,
        };
        let left_ms = WINDOW_MS - now_ms % WINDOW_MS;
        bytes.saturating_add(before / WINDOW_MS * left_ms + before % WINDOW_MS * left_ms / WINDOW_MS) * 1000 / WINDOW_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_has_its_rate_and_one_that_stops_has_none() {
        let pace = Pace::default();
        for ms in (10_000..40_000).step_by(100) {
            pace.add(1000, ms);
            if ms >= 20_000 {
                let rate = pace.rate(ms);
                assert!((9_800..=10_300).contains(&rate), "{rate} at {ms}");
            }
        }
        assert!((4_000..=6_000).contains(&pace.rate(42_500)), "{}", pace.rate(42_500));
        assert_eq!((pace.rate(45_000), pace.rate(9_000)), (0, 0));
        pace.add(5_000, 100_000);
        assert_eq!(pace.rate(100_000), 1000);
    }

    #[test]
    fn what_is_published_is_read_back() {
        let now = UNIX_EPOCH + Duration::from_millis(1_234_567);
        let sight = Sight::new(Some("a.bin"), now);
        assert_eq!(
            (sight.state(), sight.offset(), sight.length(), sight.changed()),
            (UploadState::Idle, None, None, now)
        );
        sight.stands(UploadState::Waiting, Some(0), Some(9));
        assert_eq!((sight.state(), sight.offset(), sight.length()), (UploadState::Waiting, Some(0), Some(9)));
        assert_eq!(sight.lease(), None);
        for peer in ["1.2.3.4:5", "[2001:db8::7]:65535"] {
            let peer = Some(peer.parse().unwrap());
            sight.lease_opened(0, peer, now);
            assert_eq!(sight.lease(), Some((0, now, peer)));
        }
        sight.lease_opened(7, None, now);
        assert_eq!(sight.lease(), Some((7, now, None)));
        sight.lease_ended();
        assert_eq!(sight.lease(), None);
    }

    #[test]
    fn a_lease_is_never_read_with_the_peer_of_another() {
        let sight = Sight::new(None, UNIX_EPOCH);
        let peer = |number: u64| SocketAddr::new(Ipv6Addr::from_bits(u128::from(number) * 3 + (1 << 90)).into(), 7);
        let done = AtomicU8::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..20_000 {
                    sight.lease_opened(number, Some(peer(number)), of_ms(number));
                }
                done.store(1, Ordering::Release);
            });
            while done.load(Ordering::Acquire) == 0 {
                if let Some((number, since, seen)) = sight.lease() {
                    assert_eq!((since, seen), (of_ms(number), Some(peer(number))));
                }
            }
        });
        assert_eq!(sight.lease().unwrap().0, 19_999);
    }
}
