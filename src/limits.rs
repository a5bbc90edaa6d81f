//! Limits that are held in memory: how many uploads one owner or one address may have open and may create in a minute, and
//! how fast bytes are taken.

mod client;
mod pace;
mod seats;
mod window;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dashmap::DashMap;
use tokio::sync::watch;
use wharf_actors::{UploadId, events::Watcher};

pub(crate) use client::Client;
use pace::Pace;
use seats::{Full, Key, Most, Seats};

use crate::metrics::Cause;

/// A reader is given a sixty-fourth of a second's bytes at a time, within these bounds: many readers then take turns often.
const LEAST_BYTES: u64 = 1024;
const MOST_BYTES: u64 = 256 * 1024;

/// So many uploads have a pace of their own before those are looked for that need none any more.
const PACES: usize = 4096;

/// What is allowed; 0 for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) open_per_owner: u32,
    pub(crate) open_per_address: u32,
    pub(crate) creations_per_minute_per_owner: u32,
    pub(crate) creations_per_minute_per_address: u32,
    pub(crate) bytes_per_sec_per_upload: u64,
    pub(crate) bytes_per_sec_in_all: u64,
}

/// Why nothing is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    pub(crate) cause: Cause,
    /// When it may be tried again, if that can be said.
    pub(crate) after: Option<Duration>,
}

/// All limits, and what they are measured by. There is one of them, whatever the settings become.
#[derive(Debug)]
pub(crate) struct Limits {
    config: watch::Sender<Config>,
    began: Instant,
    seats: Seats,
    in_all: Pace,
    paces: DashMap<UploadId, Arc<Pace>>,
    /// How often a reader had to wait.
    waits: AtomicU64,
}

impl Watcher for Limits {
    fn ended(&self, id: &UploadId) {
        self.seats.end(id, self.now());
    }
}

impl Limits {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            config: watch::Sender::new(config),
            began: Instant::now(),
            seats: Seats::default(),
            in_all: Pace::default(),
            paces: DashMap::new(),
            waits: AtomicU64::new(0),
        })
    }

    /// From now on this is allowed.
    pub(crate) fn set(&self, config: Config) {
        self.config.send_replace(config);
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// How many open uploads are counted.
    pub(crate) fn open(&self) -> usize {
        self.seats.open()
    }

    /// How often a reader had to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Takes a place for one more upload of this owner from this client.
    pub(crate) fn admit(self: &Arc<Self>, owner: Option<&Arc<str>>, client: Option<Client>) -> Result<Place, Exceeded> {
        let config = *self.config.borrow();
        let of_owner = Most { open: config.open_per_owner, per_minute: config.creations_per_minute_per_owner };
        let of_client = Most { open: config.open_per_address, per_minute: config.creations_per_minute_per_address };
        let owner = owner.map(|owner| (Key::Owner(Arc::clone(owner)), of_owner));
        let client = client.map(|client| (Key::Client(client), of_client));
        let mut place = Place { limits: Arc::clone(self), keys: Vec::new() };
        for (key, most) in owner.into_iter().chain(client) {
            // What has been taken before goes back with the place.
            self.seats.take(&key, most, self.now()).map_err(|full| exceeded(&key, full))?;
            if most.open > 0 || most.per_minute > 0 {
                place.keys.push(key);
            }
        }
        Ok(place)
    }

    /// Whether bytes may come only so fast.
    pub(crate) fn are_bytes_limited(&self) -> bool {
        let config = self.config.borrow();
        config.bytes_per_sec_per_upload > 0 || config.bytes_per_sec_in_all > 0
    }

    /// The pace at which a request may read bytes of this upload; `None` when there is no limit as it begins.
    pub(crate) fn throttle(self: &Arc<Self>, id: &UploadId) -> Option<Throttle> {
        let (is_limited, are_all) = {
            let config = self.config.borrow();
            (config.bytes_per_sec_per_upload > 0, config.bytes_per_sec_in_all > 0)
        };
        let throttle = || Throttle { limits: Arc::clone(self), upload: is_limited.then(|| self.pace_of(id)) };
        (is_limited || are_all).then(throttle)
    }

    /// Those who append to an upload one after the other share its pace, so a new request is no way around it.
    fn pace_of(&self, id: &UploadId) -> Arc<Pace> {
        if self.paces.len() >= PACES {
            let now = self.now();
            self.paces.retain(|_, pace| Arc::strong_count(pace) > 1 || !pace.is_over(now));
        }
        Arc::clone(&self.paces.entry(id.clone()).or_default())
    }
}

fn exceeded(key: &Key, full: Full) -> Exceeded {
    let (cause, after) = match (key, full) {
        (Key::Owner(_), Full::Open) => (Cause::OpenPerOwner, None),
        (Key::Client(_), Full::Open) => (Cause::OpenPerAddress, None),
        (Key::Owner(_), Full::Minute(after)) => (Cause::CreationsPerOwner, Some(after)),
        (Key::Client(_), Full::Minute(after)) => (Cause::CreationsPerAddress, Some(after)),
    };
    Exceeded { cause, after }
}

/// A place for one upload. It is free again when this is dropped, unless an upload has it by then.
#[derive(Debug)]
pub(crate) struct Place {
    limits: Arc<Limits>,
    keys: Vec<Key>,
}

impl Place {
    /// The upload has it, until it ends.
    pub(crate) fn assign(mut self, id: &UploadId) {
        if !self.keys.is_empty() {
            self.limits.seats.assign(id, std::mem::take(&mut self.keys), self.limits.now());
        }
    }

    /// Whether anything is counted with it.
    pub(crate) fn counts(&self) -> bool {
        !self.keys.is_empty()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.keys.iter().for_each(|key| self.limits.seats.leave(key, self.limits.now()));
    }
}

/// How fast one request may read.
pub(crate) struct Throttle {
    limits: Arc<Limits>,
    upload: Option<Arc<Pace>>,
}

/// Leave to read so many bytes, from some time on. What is not read of them when this is dropped is given back.
pub(crate) struct Turn {
    limits: Arc<Limits>,
    upload: Option<Arc<Pace>>,
    rates: (u64, u64),
    left: u64,
    at: Instant,
    waits: bool,
}

impl Throttle {
    /// Takes the next turn; `None` when there is no limit.
    pub(crate) fn turn(&self) -> Option<Turn> {
        let Limits { config, began, in_all, .. } = &*self.limits;
        let (of_upload, of_all) = {
            let config = config.borrow();
            (self.upload.as_ref().map_or(0, |_| config.bytes_per_sec_per_upload), config.bytes_per_sec_in_all)
        };
        let slower = [of_upload, of_all].into_iter().filter(|rate| *rate > 0).min()?;
        let bytes = (slower / 64).clamp(LEAST_BYTES, MOST_BYTES);
        let now = self.limits.now();
        let mut at = now;
        if let Some(pace) = self.upload.as_ref().filter(|_| of_upload > 0) {
            at = at.max(pace.reserve(bytes, of_upload, now));
        }
        if of_all > 0 {
            at = at.max(in_all.reserve(bytes, of_all, now));
        }
        let waits = at > now;
        self.limits.waits.fetch_add(u64::from(waits), Ordering::Relaxed);
        let (limits, upload) = (Arc::clone(&self.limits), self.upload.clone());
        Some(Turn { limits, upload, rates: (of_upload, of_all), left: bytes, at: *began + at, waits })
    }
}

impl Turn {
    /// How many bytes may be read.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX)
    }

    /// From when on, if not at once.
    pub(crate) fn wait_until(&self) -> Option<Instant> {
        self.waits.then_some(self.at)
    }

    /// So many have been read.
    pub(crate) fn used(mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (of_upload, of_all) = self.rates;
        if let Some(pace) = self.upload.as_ref().filter(|_| of_upload > 0) {
            pace.give_back(self.left, of_upload);
        }
        if of_all > 0 {
            self.limits.in_all.give_back(self.left, of_all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> UploadId {
        UploadId::parse(text).unwrap()
    }

    fn client(address: &str) -> Option<Client> {
        Client::seen(address.parse().ok(), None)
    }

    #[test]
    fn owner_and_address_are_counted_side_by_side() {
        let limits = Limits::new(Config { open_per_owner: 1, open_per_address: 2, ..Config::default() });
        let (ann, bob, here, there) =
            (Arc::from("ann"), Arc::from("bob"), client("192.0.2.1:1"), client("192.0.2.2:1"));
        let refused = |owner, from| limits.admit(owner, from).err().map(|exceeded| exceeded.cause);
        limits.admit(Some(&ann), here).unwrap().assign(&id("a"));
        assert_eq!(refused(Some(&ann), there), Some(Cause::OpenPerOwner));
        limits.admit(None, here).unwrap().assign(&id("b"));
        assert_eq!(refused(Some(&bob), here), Some(Cause::OpenPerAddress));
        // What the owner had for a moment was given back.
        limits.admit(Some(&bob), there).unwrap().assign(&id("c"));
        limits.ended(&id("a"));
        drop(limits.admit(Some(&ann), here).unwrap());
        limits.admit(Some(&ann), here).unwrap().assign(&id("d"));
        assert_eq!((refused(Some(&ann), there), limits.open()), (Some(Cause::OpenPerOwner), 3));
        limits.set(Config::default());
        assert!(!limits.admit(Some(&ann), here).unwrap().counts());
        ["b", "c", "d"].iter().for_each(|name| limits.ended(&id(name)));
        assert_eq!(limits.open(), 0);
    }

    #[test]
    fn requests_of_an_upload_share_its_pace_and_others_have_their_own() {
        let limits = Limits::new(Config { bytes_per_sec_per_upload: 1, ..Config::default() });
        let [first, second, other] = ["a", "a", "b"].map(|name| limits.throttle(&id(name)).unwrap());
        let turn = first.turn().unwrap();
        assert_eq!((turn.bytes(), turn.wait_until()), (1024, None));
        turn.used(1024);
        let waits = second.turn().unwrap();
        assert!(waits.wait_until().is_some());
        // Whoever reads nothing costs the next one no time.
        let at = waits.wait_until();
        drop(waits);
        assert_eq!(second.turn().unwrap().wait_until(), at);
        assert!(other.turn().unwrap().wait_until().is_none());
        assert_eq!(limits.waits(), 2);
    }

    #[test]
    fn all_share_one_pace_and_without_limits_there_is_none() {
        let limits = Limits::new(Config { bytes_per_sec_in_all: 64 * 1024 * 1024, ..Config::default() });
        let [first, second] = ["a", "b"].map(|name| limits.throttle(&id(name)).unwrap());
        assert_eq!(first.turn().unwrap().bytes(), 256 * 1024);
        limits.set(Config { bytes_per_sec_in_all: 1, ..Config::default() });
        let turn = first.turn().unwrap();
        assert_eq!(turn.bytes(), 1024);
        assert!(second.turn().unwrap().wait_until().is_some());
        drop(turn);
        limits.set(Config::default());
        assert!(first.turn().is_none() && second.turn().is_none());
        assert!(limits.throttle(&id("c")).is_none());
        assert!(limits.paces.is_empty());
    }

    #[test]
    fn paces_that_nobody_needs_are_forgotten() {
        let limits = Limits::new(Config { bytes_per_sec_per_upload: 1 << 40, ..Config::default() });
        let kept = limits.throttle(&id("kept")).unwrap();
        for number in 0..PACES * 2 {
            drop(limits.throttle(&id(&format!("upload-{number}"))));
        }
        assert!(limits.paces.len() <= PACES && limits.paces.contains_key(&id("kept")));
        drop(kept);
    }
}
