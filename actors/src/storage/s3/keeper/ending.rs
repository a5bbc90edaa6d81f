//! How an upload in S3 comes to its end: completed, put together from others, or deleted.

use bytes::Bytes;
use futures_util::TryStreamExt;
use slog::warn;

use super::{Buffer, Keeper, sending::unless_given_up};
use crate::{
    Info, Kind, Record, UploadId,
    storage::{
        ErrorKind, StorageError,
        s3::{
            client::{Attributes, ETag, ErrorKind as S3Error},
            failed, keys,
            plan::{PART_MAX_BYTES, PART_MIN_BYTES, PARTS_MAX, Plan},
            reader::BREAKS_MAX,
        },
    },
};

/// A finished upload that is to become a part of another.
struct Source {
    key: String,
    len: u64,
}

impl Keeper {
    /// Makes the object out of the parts, and marks the upload as finished.
    pub(super) async fn finish(&mut self, info: Info) -> Result<Record, StorageError> {
        // The length may have been declared since the tail was put: then its bytes are the last part.
        self.info.length = info.length;
        self.sync().await?;
        if info.kind == Kind::Partial && info.own.as_ref().is_some_and(|own| own.expires_at_secs.is_some()) {
            // Before it is finished: a crash in between must not leave it unseen for ever.
            let marker = self.shared.key(&keys::lapsing(&self.name, &self.multipart));
            self.shared.put(&marker, Bytes::new(), Attributes::default()).await.map_err(failed("finish"))?;
        }
        self.complete(&info).await?;
        if self.tail_exists {
            // Before the mark: what is marked nobody clears up. It doesn't count any more, so it may stay.
            self.tail_exists = self.shared.delete(vec![keys::tail(&self.key)]).await.is_err();
        }
        self.save(info).await?;
        if self.info.is_final() {
            // What stays of this is found at the next start.
            let _ = self.shared.delete(vec![self.shared.key(&keys::waiting(&self.name))]).await;
        }
        self.record()
            .await?
            .ok_or_else(|| StorageError::new(ErrorKind::Failed, "finish", "the object has another length"))
    }

    /// The object. One that S3 has made of our parts, and has named, is not looked at: when it was stored is asked when
    /// somebody wants to know.
    async fn record(&mut self) -> Result<Option<Record>, StorageError> {
        let Some((etag, length)) = self.object.as_ref().zip(self.info.length) else {
            return self.shared.finished(&self.info, &self.name).await;
        };
        let record = Record { info: self.info.clone(), length, etag: etag.quoted(), modified: None };
        Ok((self.plan.end() == length).then_some(record))
    }

    async fn complete(&mut self, info: &Info) -> Result<(), StorageError> {
        if !self.is_completed {
            self.object = self.make_object(info).await?;
            self.is_completed = true;
        }
        Ok(())
    }

    /// Nothing, when the object is there but what S3 has said of it was lost.
    async fn make_object(&mut self, info: &Info) -> Result<Option<ETag>, StorageError> {
        if info.length == Some(0) {
            // Some services refuse parts without bytes.
            let attributes = keys::attributes(info);
            let object = self.shared.put(&self.key, Bytes::new(), attributes).await.map_err(failed("finish"))?;
            self.shared.abort(&self.key, &self.multipart).await.map_err(failed("finish"))?;
            return Ok(Some(object));
        }
        let whole = || StorageError::new(ErrorKind::Failed, "finish", "a part is missing");
        let parts: Vec<(u16, ETag)> = self.plan.whole().ok_or_else(whole)?;
        let complete = || self.shared.client.complete(&self.key, &self.multipart, &parts);
        let error = match self.shared.call("complete", complete).await {
            Ok(object) => return Ok(Some(object)),
            Err(error) => error,
        };
        // An answer was lost, perhaps: the object tells whether it is there.
        if (error.kind == S3Error::NoSuchUpload || error.may_have_been_applied())
            && self.shared.finished(info, &self.name).await?.is_some()
        {
            return Ok(None);
        }
        let kind = if error.kind == S3Error::NoSuchUpload { ErrorKind::NotFound } else { ErrorKind::Failed };
        Err(StorageError::new(kind, "finish", error))
    }

    /// Puts the finished uploads together, by S3 itself when their sizes allow.
    pub(super) async fn concatenate(&mut self, partials: Vec<UploadId>) -> Result<u64, StorageError> {
        // Numbers are used again, for the same bytes: nothing of an earlier try may be under way.
        if !self.none_under_way().await {
            return self.parts_done().await.map(|()| 0);
        }
        (self.plan, self.buffer, self.failure) = (Plan::default(), Buffer::default(), None);
        let mut sources = Vec::with_capacity(partials.len());
        for partial in partials {
            sources.push(self.source(&partial).await?);
        }
        let total = sources.iter().map(|source| source.len).sum();
        self.info.length = Some(total);
        sources.retain(|source| source.len > 0);
        let pieces = sources.iter().map(|source| source.len.div_ceil(PART_MAX_BYTES)).sum::<u64>();
        let long_enough = sources.iter().rev().skip(1).all(|source| source.len >= PART_MIN_BYTES);
        if long_enough && pieces <= u64::from(PARTS_MAX) {
            self.copy(&sources).await?;
        } else {
            self.stream(&sources).await?;
        }
        Ok(total)
    }

    async fn source(&mut self, partial: &UploadId) -> Result<Source, StorageError> {
        let (info, id) = self.shared.info(partial).await?;
        let record = self.shared.finished(&info, &id.name).await?;
        let gone = || StorageError::new(ErrorKind::NotFound, "concatenate", "a partial upload is gone");
        Ok(Source { key: self.shared.key(&id.name), len: record.ok_or_else(gone)?.length })
    }

    async fn copy(&mut self, sources: &[Source]) -> Result<(), StorageError> {
        for source in sources {
            // S3 copies no range of so small an object; only the last may be one that is too small for a part besides.
            if source.len <= PART_MIN_BYTES {
                self.stream(std::slice::from_ref(source)).await?;
                continue;
            }
            // In pieces of about the same size, so that none is too small.
            let pieces = source.len.div_ceil(PART_MAX_BYTES);
            let step = source.len.div_ceil(pieces);
            let mut start = 0;
            while start < source.len {
                let end = (start + step).min(source.len);
                let used_up = || StorageError::new(ErrorKind::Failed, "concatenate", "all 10,000 parts are used");
                let number = self.plan.add(end - start).ok_or_else(used_up)?;
                let (key, multipart, range) = (&self.key, &self.multipart, (start, end - 1));
                let copy = || self.shared.client.copy_part(key, multipart, number, &source.key, range);
                let copied = self.shared.call("copy a part", copy);
                let copied = unless_given_up(self.given_up.clone(), copied).await;
                // One that was given up may come to its end in S3 all the same.
                self.has_stray_parts |= copied.is_err();
                self.plan.stored(number, copied?.map_err(failed("concatenate"))?);
                start = end;
            }
        }
        Ok(())
    }

    async fn stream(&mut self, sources: &[Source]) -> Result<(), StorageError> {
        for source in sources {
            let (mut at, mut breaks) = (0, 0);
            while at < source.len {
                let get = || self.shared.client.get_object(&source.key, Some((at, source.len - 1)));
                let object = self.shared.call("read a partial upload", get).await.map_err(failed("concatenate"))?;
                let mut body = object.body;
                // A body that breaks off is asked for again from there on.
                let before = at;
                while let Ok(Some(piece)) = body.try_next().await {
                    at += piece.len() as u64;
                    self.buffer.push(vec![piece], Vec::new());
                    self.send_full_parts().await;
                    self.failure.clone().map_or(Ok(()), Err)?;
                }
                breaks = if at == before { breaks + 1 } else { 0 };
                if breaks > BREAKS_MAX {
                    return Err(StorageError::new(ErrorKind::Failed, "concatenate", "a partial upload can't be read"));
                }
            }
        }
        let rest = self.buffer.len();
        if rest > 0 {
            self.send_part(rest).await;
        }
        self.parts_done().await
    }

    /// Removes all that S3 has of the upload. Parts that are under way, perhaps for minutes, are not waited for: what comes
    /// of them goes when the last has ended, by [`Self::clear_up`].
    pub(super) async fn delete(&mut self) -> Result<(), StorageError> {
        let shared = &self.shared;
        shared.abort(&self.key, &self.multipart).await.map_err(failed("delete"))?;
        let bytes = vec![self.key.clone(), keys::tail(&self.key)];
        shared.delete(bytes).await.map_err(failed("delete"))?;
        let mut known = vec![keys::info(&self.key), shared.key(&keys::waiting(&self.name))];
        if self.info.kind == Kind::Partial {
            known.push(shared.key(&keys::lapsing(&self.name, &self.multipart)));
        }
        shared.delete(known).await.map_err(failed("delete"))?;
        self.buffer = Buffer::default();
        shared.left_with.remove(&self.key);
        self.is_deleted = true;
        self.has_stray_parts |= !self.under_way.is_empty();
        // Who asks now finds nothing; what still comes is of a multipart upload that nobody can know.
        self.ticket = None;
        Ok(())
    }

    /// A part that was under way when its upload was deleted may have been stored after the abort.
    pub(super) async fn clear_up(&mut self) {
        if self.has_stray_parts && self.shared.abort(&self.key, &self.multipart).await.is_err() {
            warn!(self.shared.logger, "parts of a deleted upload may be left"; "key" => &self.key, "multipart" => &self.multipart);
        }
    }
}
