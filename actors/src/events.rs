//! What happens to uploads, pools and mailboxes, for whoever listens. It costs nothing while nobody does, and nobody
//! waits for a listener: one that is too slow loses the oldest events, and is told how many.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

use crate::UploadId;

/// So many events wait for a listener before it loses the oldest.
const ROOM: usize = 1024;

/// Hears of each upload that takes no more bytes. Unlike a listener it misses none, and is called by the owner itself: it
/// must be quick, and may hear of an upload more than once, or of one that never was.
pub trait Watcher: std::fmt::Debug + Send + Sync {
    /// The upload is finished, or not there any more.
    fn ended(&self, id: &UploadId);
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An upload was created.
    UploadCreated {
        /// Which one.
        id: UploadId,
        /// Its length, when it is known.
        length: Option<u64>,
    },
    /// An upload has come further; told at most twice a second for each.
    UploadProgress {
        /// Which one.
        id: UploadId,
        /// How far.
        offset: u64,
        /// Its length, when it is known.
        length: Option<u64>,
        /// How fast, over the last seconds.
        rate_bytes_per_sec: u64,
    },
    /// A request that appended has ended before its time.
    UploadInterrupted {
        /// Which one.
        id: UploadId,
        /// How far it has come.
        offset: u64,
        /// Why.
        cause: Interruption,
    },
    /// Another request appends now; the one before has been ended for it.
    UploadTakenOver {
        /// Which one.
        id: UploadId,
        /// Where it goes on.
        offset: u64,
    },
    /// All bytes of an upload are there.
    UploadFinished {
        /// Which one.
        id: UploadId,
        /// How many bytes.
        length: u64,
    },
    /// An upload was deleted because somebody asked for it.
    UploadTerminated {
        /// Which one.
        id: UploadId,
        /// How far it had come.
        offset: u64,
    },
    /// An upload was deleted because its time had run out.
    UploadExpired {
        /// Which one.
        id: UploadId,
        /// How far it had come.
        offset: u64,
    },
    /// A pool is to have another number of workers.
    PoolResized {
        /// Which one.
        pool: &'static str,
        /// How many it was to have before.
        from: usize,
        /// How many it is to have.
        to: usize,
    },
    /// The mailboxes of a kind have become slow, or are quick again.
    MailboxSlow {
        /// The kind, or the queue of a pool.
        kind: &'static str,
        /// Whether they are slow now.
        is_slow: bool,
        /// All but one in a hundred messages of the last minute waited no longer than this.
        dwell_p99: Duration,
        /// How long the oldest waiting message has waited, as far as it is known.
        oldest_age: Option<Duration>,
    },
}

/// Why a request that appended has ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interruption {
    /// Another request wanted the upload.
    TakenOver,
    /// An operator has ended it.
    ByOperator,
    /// The upload was deleted.
    Terminated,
    /// The application wanted no more of it.
    Stopped,
    /// The server ends.
    ShuttingDown,
    /// The store was full.
    NoSpace,
    /// The store failed.
    StoreFailed,
    /// More bytes at once than the store takes.
    TooLarge,
    /// The connection was reset.
    ConnectionLost,
    /// The body ended too early.
    UnexpectedEof,
    /// No byte came for too long.
    ReadTimeout,
    /// The body was broken in form.
    Malformed,
    /// The digest of the bytes was another.
    ChecksumMismatch,
    /// The body was longer than the upload had room for.
    TooLong,
}

impl Interruption {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 14] = [
        Self::TakenOver,
        Self::ByOperator,
        Self::Terminated,
        Self::Stopped,
        Self::ShuttingDown,
        Self::NoSpace,
        Self::StoreFailed,
        Self::TooLarge,
        Self::ConnectionLost,
        Self::UnexpectedEof,
        Self::ReadTimeout,
        Self::Malformed,
        Self::ChecksumMismatch,
        Self::TooLong,
    ];

    /// A name for labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TakenOver => "taken_over",
            Self::ByOperator => "by_operator",
            Self::Terminated => "terminated",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting_down",
            Self::NoSpace => "no_space",
            Self::StoreFailed => "store_failed",
            Self::TooLarge => "too_large",
            Self::ConnectionLost => "connection_lost",
            Self::UnexpectedEof => "unexpected_eof",
            Self::ReadTimeout => "read_timeout",
            Self::Malformed => "malformed",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::TooLong => "too_long",
        }
    }

    /// In words, for the log.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::TakenOver => "wanted by another request",
            Self::ByOperator => "interrupted by an operator",
            Self::Terminated => "upload terminated",
            Self::Stopped => "stopped by the application",
            Self::ShuttingDown => "server shuts down",
            Self::NoSpace => "store full",
            Self::StoreFailed => "store failed",
            Self::TooLarge => "more at once than the store takes",
            Self::ConnectionLost => "connection lost",
            Self::UnexpectedEof => "unexpected end of body",
            Self::ReadTimeout => "read timeout",
            Self::Malformed => "malformed body",
            Self::ChecksumMismatch => "checksum mismatch",
            Self::TooLong => "body too long",
        }
    }
}

/// Where events are told. Clones tell the same listeners.
#[derive(Debug, Clone)]
pub struct Events {
    sender: Sender<Event>,
    listeners: Arc<AtomicUsize>,
}

/// One who listens, from the moment of its making on.
#[derive(Debug)]
pub struct Listener {
    receiver: Receiver<Event>,
    counted: Arc<AtomicUsize>,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The next event.
    Event(Event),
    /// It was too slow: so many events are lost to it. The next one it hears came after these.
    Lost(u64),
}

impl Default for Events {
    fn default() -> Self {
        Self { sender: Sender::new(ROOM), listeners: Arc::default() }
    }
}

impl Events {
    /// Whether somebody listens.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.listeners.load(Ordering::Relaxed) > 0
    }

    /// Tells what happened, if somebody listens; only then it is put into words.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_heard() {
            // The last listener may have gone meanwhile.
            let _ = self.sender.send(event());
        }
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Listener { receiver: self.sender.subscribe(), counted: Arc::clone(&self.listeners) }
    }
}

impl Listener {
    /// The next event, as soon as there is one; `None` when no more will come. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Heard> {
        match self.receiver.recv().await {
            Ok(event) => Some(Heard::Event(event)),
            Err(RecvError::Lagged(count)) => Some(Heard::Lost(count)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.counted.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn event(to: usize) -> Event {
        Event::PoolResized { pool: "test", from: 0, to }
    }

    #[test]
    fn what_nobody_hears_is_not_even_made() {
        let events = Events::default();
        events.tell(|| unreachable!("nobody listens"));
        let mut listener = events.listen();
        events.clone().tell(|| event(1));
        assert_eq!(listener.next().now_or_never(), Some(Some(Heard::Event(event(1)))));
        assert_eq!(listener.next().now_or_never(), None);
        drop(listener);
        events.tell(|| unreachable!("nobody listens any more"));
    }

    #[test]
    fn a_slow_listener_is_told_how_much_it_lost_and_holds_up_nobody() {
        let events = Events::default();
        let (mut slow, mut quick) = (events.listen(), events.listen());
        for number in 0..ROOM + 7 {
            events.tell(|| event(number));
            assert_eq!(quick.next().now_or_never(), Some(Some(Heard::Event(event(number)))));
        }
        assert_eq!(slow.next().now_or_never(), Some(Some(Heard::Lost(7))));
        assert_eq!(slow.next().now_or_never(), Some(Some(Heard::Event(event(7)))));
        drop(events);
        assert_eq!(std::iter::from_fn(|| slow.next().now_or_never().flatten()).count(), ROOM - 1);
    }

    #[test]
    fn each_cause_has_its_place_and_its_name() {
        for (place, cause) in Interruption::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, place);
        }
        let names: std::collections::BTreeSet<_> = Interruption::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Interruption::ALL.len());
    }
}
