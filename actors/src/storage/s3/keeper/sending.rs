//! The way of an upload's parts to the pool and back.

use std::{future::Future, pin::Pin, time::Duration};

use futures_util::{FutureExt, StreamExt};
use tokio::{sync::watch, time::Instant};

use super::Keeper;
use crate::{
    parts::{Part, PartError},
    storage::{
        ErrorKind, StorageError,
        s3::client::{ETag, ErrorKind as S3Error},
    },
};

/// How many parts of one upload are handed to the pool at once.
const UNDER_WAY_MAX: usize = 4;

/// How much longer the parts of an upload are waited for that is to be deleted: mostly they are just coming back, and those
/// who wait for them get their answer.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Since when an upload is to be deleted, if it is.
pub(super) type GivenUp = watch::Receiver<Option<Instant>>;

/// A part under way.
pub(super) type Sending = Pin<Box<dyn Future<Output = (u16, Result<ETag, PartError>)> + Send>>;

impl Keeper {
    /// Brings on their way what has filled parts; waits while too many are.
    pub(super) async fn send_full_parts(&mut self) {
        // Behind a part that failed none counts.
        while self.staged.is_none() && self.failure.is_none() {
            let (used, end, length) = (self.plan.used(), self.plan.end(), self.info.length);
            let sizes = self.shared.sizes;
            let size =
                if self.shared.is_stuck() { sizes.least(used, end, length) } else { sizes.next(used, end, length) };
            if self.buffer.len() < size {
                return;
            }
            self.send_part(size).await;
        }
    }

    /// Brings so many bytes on their way; if that can't be, it is a failure.
    pub(super) async fn send_part(&mut self, len: u64) {
        while self.under_way.len() >= UNDER_WAY_MAX {
            if !self.one_done().await {
                self.fail(given_up());
                return;
            }
        }
        let Some(number) = self.plan.add(len) else {
            self.fail(StorageError::new(ErrorKind::Failed, "send a part", "all 10,000 parts are used"));
            return;
        };
        let (body, shares) = self.buffer.split_off_front(len);
        let part = Part {
            upload: self.number,
            key: self.key.clone(),
            multipart: self.multipart.clone(),
            number,
            body,
            shares,
        };
        let (sending, counted) = (self.shared.parts.upload(part), self.shared.relief.count(len));
        self.habits.sent();
        self.under_way.push(Box::pin(async move {
            let _counted = counted;
            (number, sending.await)
        }));
        // Handed over now, not when somebody waits for it.
        if let Some(Some((number, result))) = self.under_way.next().now_or_never() {
            self.on_part(number, result);
        }
    }

    pub(super) fn on_part(&mut self, number: u16, result: Result<ETag, PartError>) {
        match result {
            Ok(etag) => self.plan.stored(number, etag),
            Err(error) => {
                self.is_aborted |= matches!(&error, PartError::S3(cause) if cause.kind == S3Error::NoSuchUpload);
                self.fail(StorageError::new(ErrorKind::Failed, "store a part", error));
            }
        }
        self.tell_durable();
    }

    /// What failed first is what is told.
    fn fail(&mut self, error: StorageError) {
        self.failure.get_or_insert(error);
    }

    /// Waits until one more part has come to its end. False when none is under way, or none is waited for any more, because
    /// the upload is to be deleted.
    async fn one_done(&mut self) -> bool {
        let next = tokio::select! {
            biased;
            next = self.under_way.next() => next,
            () = is_given_up(&mut self.given_up) => None,
        };
        next.map(|(number, result)| self.on_part(number, result)).is_some()
    }

    /// Waits until no part is under way. False when that is not waited for any more.
    pub(super) async fn none_under_way(&mut self) -> bool {
        while self.one_done().await {}
        self.under_way.is_empty()
    }

    pub(super) async fn parts_done(&mut self) -> Result<(), StorageError> {
        if !self.none_under_way().await {
            self.fail(given_up());
        }
        self.failure.clone().map_or(Ok(()), Err)
    }
}

/// Does something long, unless the upload is to be deleted.
pub(super) async fn unless_given_up<T>(mut signal: GivenUp, work: impl Future<Output = T>) -> Result<T, StorageError> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = is_given_up(&mut signal) => Err(given_up()),
    }
}

fn given_up() -> StorageError {
    StorageError::new(ErrorKind::Failed, "wait for S3", "the upload is being deleted")
}

/// Waits until nothing of the upload is worth waiting for: a while after it was said that it is to be deleted.
async fn is_given_up(signal: &mut GivenUp) {
    let said = signal.wait_for(Option::is_some).await.map(|said| *said);
    match said {
        Ok(Some(said)) => tokio::time::sleep_until(said + LAST_WAIT).await,
        // The owner is gone, and did not say so.
        _ => std::future::pending().await,
    }
}
