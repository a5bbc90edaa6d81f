//! A request's body on its way to the upload's owner. One task owns the body from its first byte to its last.

use std::{collections::VecDeque, future::poll_fn, pin::pin, task::Poll};

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use wharf_actors::{AskFailure, Committed, Departure, Lease, Share, Stored, Tap, UploadId};

use super::Site;
use crate::{
    limits::{Throttle, Turn},
    problem::{self, Told},
    protocol::{
        Fields, Refusal,
        checksum::{self, ChecksumRequest, Expected, Hasher},
    },
    server::{BodyError, Incoming, Timer, Trailers},
};

/// How much memory a message takes at least when there is little.
const LEAST_SHARE_BYTES: usize = 64 * 1024;

/// With so many bytes on their way in the whole process, a message carries less: what still lies in a processor's cache when
/// the disk's threads come to it costs less to write, and that outweighs that there are more messages. Not so for other stores.
const CACHED_BYTES: usize = 4 * 1024 * 1024;
const CROWDED_MESSAGE_BYTES: usize = 256 * 1024;

/// Shorter pieces are put together.
const CRUMB_BYTES: usize = 1024;

/// A body that has not been read yet.
pub(super) struct Source {
    incoming: Option<Incoming>,
    /// How fast it may be read; `None` for any speed.
    throttle: Option<Throttle>,
}

/// What became of a body.
pub(super) struct Taken {
    pub(super) outcome: Result<Committed, Told>,
    /// How many of its bytes were read.
    pub(super) received: u64,
}

impl Taken {
    pub(super) fn refused(told: Told) -> Self {
        Self { outcome: Err(told), received: 0 }
    }
}

/// Why reading has ended.
enum End {
    /// The body is over.
    Whole,
    /// The body has more than the upload has room for.
    TooLong,
    /// It broke off.
    Broken(Departure, Refusal),
    /// The owner wants the lease back, or has failed: it knows why.
    Yielded(Told),
}

/// What has been read but not handed over yet.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    /// Small pieces since the last large one.
    crumbs: BytesMut,
    len: usize,
}

impl Batch {
    /// A piece keeps alive what it was read with. Where a client sends its bytes in tiny chunks, that is many times as much,
    /// so these are put together.
    fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() < CRUMB_BYTES {
            self.crumbs.extend_from_slice(&bytes);
        } else {
            let crumbs = self.take_crumbs();
            self.pieces.extend(crumbs.into_iter().chain([bytes]));
        }
    }

    fn take_crumbs(&mut self) -> Option<Bytes> {
        let crumbs = std::mem::take(&mut self.crumbs);
        // Made to size: it grew by doubling.
        (!crumbs.is_empty()).then(|| Bytes::copy_from_slice(&crumbs))
    }

    fn into_pieces(mut self) -> Vec<Bytes> {
        let last = self.take_crumbs();
        self.pieces.extend(last);
        self.pieces
    }
}

/// Appends that are not answered yet: the window. An owner stores them, and answers, in their order.
#[derive(Default)]
struct InFlight(VecDeque<Stored>);

impl InFlight {
    /// What became of the oldest; `None` when there is none. May be dropped and called again.
    async fn next(&mut self) -> Option<Result<(), AskFailure>> {
        let outcome = self.0.front_mut()?.await;
        self.0.pop_front();
        Some(outcome)
    }
}

struct Intake<'a> {
    site: &'a Site,
    lease: Lease,
    source: Source,
    hasher: Option<Hasher>,
    in_flight: InFlight,
    /// Runs out when the client has sent nothing for too long.
    patience: Timer,
    /// So many bytes that lie in the socket are being taken from there by the store. Nothing else is read meanwhile.
    drawing: Option<usize>,
    received: u64,
    room: Option<u64>,
}

impl Source {
    pub(super) fn new(incoming: Option<Incoming>) -> Self {
        Self { incoming, throttle: None }
    }

    /// The body of a request that appends to this upload: it is read as fast as the limits allow.
    pub(super) fn paced(self, site: &Site, id: &UploadId) -> Self {
        Self { throttle: site.limits.throttle(id), ..self }
    }

    /// The whole body, if it is one of so many bytes, they have come already, there is memory for them, and nothing limits how
    /// fast they may come. Nothing is taken of it if not.
    pub(super) fn take_whole(&mut self, site: &Site, len: u64) -> Option<(Bytes, Share)> {
        let incoming = self.incoming.as_mut().filter(|_| !site.limits.are_bytes_limited())?;
        let share = site.uploads.budget().try_take(usize::try_from(len).ok()?)?;
        incoming.take_whole(len).map(|bytes| (bytes, share))
    }

    /// Waits until there is something to read; false when the timer runs out before.
    async fn readable(&mut self, patience: &mut Timer) -> bool {
        let Some(incoming) = &mut self.incoming else { return true };
        let mut readable = pin!(incoming.readable());
        poll_fn(|context| match readable.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => patience.poll(context).map(|()| false),
        })
        .await
    }

    /// What is there already, up to about so many bytes. `None` when nothing is.
    fn read_now(&mut self, most: usize) -> Option<Result<Option<Bytes>, BodyError>> {
        match &mut self.incoming {
            Some(incoming) => incoming.read(most).now_or_never(),
            None => Some(Ok(None)),
        }
    }

    /// Reads the body into the lease and commits it. Whatever happens, what arrived is kept, unless there is a checksum
    /// that it does not meet.
    pub(super) async fn take(self, site: &Site, lease: Lease, checksum: Option<ChecksumRequest>) -> Taken {
        let room = lease.room();
        let hasher = checksum.as_ref().map(Hasher::for_request);
        let (in_flight, patience) = Default::default();
        let mut intake =
            Intake { site, lease, source: self, hasher, in_flight, patience, drawing: None, received: 0, room };
        let end = intake.read().await;
        let received = intake.received;
        Taken { outcome: intake.settle(end, checksum).await, received }
    }
}

impl Intake<'_> {
    async fn read(&mut self) -> End {
        loop {
            let window_open = self.in_flight.0.len() < self.site.config.window && self.drawing.is_none();
            self.patience.set(self.site.config.body_read);
            let is_readable = tokio::select! {
                biased;
                end = self.lease.ended() => return End::Yielded(problem::of_end(end)),
                Some(stored) = self.in_flight.next() => {
                    match stored {
                        Ok(()) => self.note_stored(),
                        Err(failure) => return End::Yielded(self.why(failure)),
                    }
                    continue;
                }
                is_readable = self.source.readable(&mut self.patience), if window_open => is_readable,
            };
            if !is_readable {
                return End::Broken(Departure::ReadTimeout, Refusal::ReadTimeout);
            }
            let turn = match self.turn().await {
                Ok(turn) => turn,
                Err(end) => return end,
            };
            let most = turn.as_ref().map_or(usize::MAX, Turn::bytes);
            let Some(turn) = self.draw(most, turn) else { continue };
            let handed_over = match self.share(most).await {
                Ok(share) => self.hand_over(share, turn),
                Err(end) => Some(end),
            };
            if let Some(end) = handed_over {
                return end;
            }
        }
    }

    /// Waits until bytes may be read, if they come too fast. Meanwhile they stay in the socket, so that the client is slowed
    /// down, and nothing is held for them.
    async fn turn(&mut self) -> Result<Option<Turn>, End> {
        let turn = self.source.throttle.as_ref().and_then(Throttle::turn);
        let Some(at) = turn.as_ref().and_then(Turn::wait_until) else { return Ok(turn) };
        let waiting = tokio::time::sleep_until(at.into());
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                biased;
                end = self.lease.ended() => return Err(End::Yielded(problem::of_end(end))),
                Some(stored) = self.in_flight.next() => {
                    match stored {
                        Ok(()) => self.note_stored(),
                        Err(failure) => return Err(End::Yielded(self.why(failure))),
                    }
                }
                () = &mut waiting => return Ok(turn),
            }
        }
    }

    /// Something that was handed over is stored.
    fn note_stored(&mut self) {
        // What is drawn was handed over last.
        if self.in_flight.0.is_empty()
            && let (Some(len), Some(incoming)) = (self.drawing.take(), &mut self.source.incoming)
        {
            incoming.drawn(len);
        }
    }

    /// Has the store take what lies in the socket, if it can and nobody needs to see it on the way. Gives the turn back if not.
    fn draw(&mut self, most: usize, turn: Option<Turn>) -> Option<Option<Turn>> {
        let room = self.room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
        let most = most.min(self.site.config.message_bytes).min(room);
        let incoming = self.source.incoming.as_mut().filter(|_| self.hasher.is_none() && self.site.uploads.draws());
        let Some((socket, len)) = incoming.and_then(|incoming| incoming.lend(most)) else { return Some(turn) };
        self.received += len as u64;
        if let Some(room) = &mut self.room {
            *room -= len as u64;
        }
        if let Some(turn) = turn {
            turn.used(len);
        }
        self.drawing = Some(len);
        self.in_flight.0.push_back(self.lease.draw(Tap { socket, len }));
        None
    }

    /// Memory for a whole message if there is so much, else for a small one, as soon as that is there. Nothing is read
    /// before, so that whoever waits here holds nothing.
    async fn share(&mut self, at_most: usize) -> Result<Share, End> {
        let (budget, most) = (self.site.uploads.budget(), self.site.config.message_bytes);
        let is_crowded = self.site.uploads.draws() && budget.report().used.saturating_add(most) > CACHED_BYTES;
        let most = if is_crowded { most.min(CROWDED_MESSAGE_BYTES) } else { most }.min(at_most);
        if let Some(share) = budget.try_take(most) {
            return Ok(share);
        }
        tokio::select! {
            biased;
            end = self.lease.ended() => Err(End::Yielded(problem::of_end(end))),
            share = tokio::time::timeout(self.site.config.body_read, budget.take(most.min(LEAST_SHARE_BYTES))) => {
                share.map_err(|_| End::Yielded(Refusal::Overloaded.into()))
            }
        }
    }

    /// Hands over all that is there already, in one message.
    fn hand_over(&mut self, mut share: Share, turn: Option<Turn>) -> Option<End> {
        let mut batch = Batch::default();
        let mut end = None;
        while end.is_none() && batch.len < share.bytes() {
            end = match self.source.read_now(share.bytes() - batch.len) {
                None => break,
                Some(Ok(None)) => Some(End::Whole),
                Some(Err(error)) => Some(broken(&error)),
                Some(Ok(Some(bytes))) => self.add(&mut batch, bytes),
            };
        }
        if let Some(turn) = turn {
            turn.used(batch.len);
        }
        if batch.len > 0 {
            share.shrink(batch.len);
            self.in_flight.0.push_back(self.lease.append(batch.into_pieces(), share));
        }
        end
    }

    fn add(&mut self, batch: &mut Batch, mut bytes: Bytes) -> Option<End> {
        self.received += bytes.len() as u64;
        let mut end = None;
        if let Some(room) = &mut self.room {
            if bytes.len() as u64 > *room {
                // What fits is kept (tusd does so too); the rest tells that the client is wrong.
                bytes.truncate(usize::try_from(*room).unwrap_or(usize::MAX));
                end = Some(End::TooLong);
            }
            *room -= bytes.len() as u64;
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        if !bytes.is_empty() {
            batch.push(bytes);
        }
        end
    }

    /// Why an append failed. When the lease had ended, the reason for that says more.
    fn why(&mut self, failure: AskFailure) -> Told {
        self.lease.ended().now_or_never().map_or_else(|| problem::of(failure), problem::of_end)
    }

    async fn settle(mut self, end: End, checksum: Option<ChecksumRequest>) -> Result<Committed, Told> {
        let too_long = matches!(end, End::TooLong);
        match end {
            End::Whole => {
                let digest = self.trailer()?;
                if let Some((hasher, checksum)) = self.hasher.take().zip(checksum)
                    && let Err(refusal) = verify(hasher, checksum, digest)
                {
                    self.lease.release(Departure::ChecksumMismatch);
                    return Err(refusal.into());
                }
            }
            End::TooLong if self.hasher.is_some() => {
                self.lease.release(Departure::TooLong);
                return Err(Refusal::UploadSizeExceeded.into());
            }
            End::TooLong => {}
            End::Broken(departure, refusal) => {
                self.lease.release(departure);
                // What arrived counts before the client is told: its next question finds it.
                while self.in_flight.next().await.is_some() {}
                return Err(refusal.into());
            }
            End::Yielded(told) => {
                self.lease.release(Departure::Yielded);
                while self.in_flight.next().await.is_some() {}
                return Err(told);
            }
        }
        let committed = self.lease.commit().await.map_err(problem::of)?;
        if too_long { Err(Refusal::UploadSizeExceeded.into()) } else { Ok(committed) }
    }

    /// The digest in the body's trailer, if one came.
    fn trailer(&mut self) -> Result<Option<Expected>, Refusal> {
        let Some(incoming) = self.source.incoming.take() else { return Ok(None) };
        let trailers = TrailerFields(incoming.into_trailers());
        match (trailers.count("upload-checksum"), trailers.first("upload-checksum")) {
            (1, Some(value)) if self.hasher.is_some() => checksum::parse_checksum(value).map(Some),
            (0 | 1, _) => Ok(None),
            _ => Err(Refusal::InvalidChecksum),
        }
    }
}

/// A body that broke off: by a fault of its form, or because the client has gone.
fn broken(error: &BodyError) -> End {
    match error {
        BodyError::Fault(_) => End::Broken(Departure::Malformed, Refusal::BadRequest),
        BodyError::Cut => End::Broken(Departure::UnexpectedEof, Refusal::UnexpectedEof),
        BodyError::Lost(_) => End::Broken(Departure::ConnectionLost, Refusal::ConnectionReset),
    }
}

/// The lines behind a chunked body.
struct TrailerFields(Trailers);

impl Fields for TrailerFields {
    fn first(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| known == name).count()
    }
}

/// An announced trailer that did not come is as bad as a wrong one: the client meant the bytes to be checked.
fn verify(hasher: Hasher, checksum: ChecksumRequest, trailer: Option<Expected>) -> Result<(), Refusal> {
    let expected = match checksum {
        ChecksumRequest::Given(expected) => expected,
        ChecksumRequest::Trailer => trailer.ok_or(Refusal::InvalidChecksum)?,
    };
    hasher.verify(&expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_put_together_and_stay_in_order() {
        let bytes = Bytes::from((0..10_000_u32).map(|at| at as u8).collect::<Vec<_>>());
        let mut batch = Batch::default();
        let mut at = 0;
        for len in [1, 1, 1023, 1024, 5, 3000, 2000, 1, 2] {
            batch.push(bytes.slice(at..at + len));
            at += len;
        }
        assert_eq!(batch.len, at);
        let pieces = batch.into_pieces();
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [1025, 1024, 5, 3000, 2000, 3]);
        assert_eq!(pieces.concat(), bytes[..at]);
    }
}
