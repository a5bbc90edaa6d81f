//! PATCH: more bytes for an upload (tus 1.0.0, "PATCH").

use std::sync::Arc;

use bytes::Bytes;
use wharf_actors::{Appended, Appending, AskFailure, Begun, Lease, Refusal as Denied, Share, UploadId};

use super::{Head, Reply, Site, caller::caller, intake::Source};
use crate::{
    problem,
    protocol::{
        append::{self, AppendRequest},
        checksum::ChecksumRequest,
        expiration, reply,
    },
};

/// A PATCH that may go on: its head was right, and the upload is its to append to.
pub(super) struct Admitted {
    begun: Begun,
    checksum: Option<ChecksumRequest>,
}

/// Does all that can be done without the body.
pub(super) async fn admit(site: &Site, head: &Head<'_>, id: &UploadId) -> Result<Admitted, Reply> {
    let (appending, checksum) = asked(site, head, id).await?;
    begin(site, id, appending, checksum).await
}

/// What a client wants, once it is known that it may.
async fn asked(site: &Site, head: &Head<'_>, id: &UploadId) -> Result<(Appending, Option<ChecksumRequest>), Reply> {
    // First of all: a stranger must not even learn when the upload expires.
    let caller = caller(site, head);
    if let Err(failure) = site.uploads.ask_for_access(id, caller.as_ref()).await {
        return Err(Reply::told(problem::of(failure)));
    }
    let request = match append::parse(&head.fields, &site.config.rules) {
        Ok(request) => request,
        Err(refusal) => return Err(told_expiry(site, id, Reply::refusal(refusal)).await),
    };
    let AppendRequest { offset, declared_length, content_length, checksum } = request;
    let appending = Appending {
        offset,
        declared_length,
        announced: content_length,
        tentative: checksum.is_some(),
        request_id: Arc::clone(head.exchange.request_id()),
        peer: head.exchange.peer(),
        caller,
    };
    Ok((appending, checksum))
}

async fn begin(
    site: &Site,
    id: &UploadId,
    appending: Appending,
    checksum: Option<ChecksumRequest>,
) -> Result<Admitted, Reply> {
    match site.uploads.begin(id, appending).await {
        Ok(begun) => Ok(Admitted { begun, checksum }),
        Err(failure) => Err(refused(site, id, failure).await),
    }
}

/// tus 1.0.0, "Upload-Expires": it is in every answer to a PATCH of an upload that will expire.
async fn told_expiry(site: &Site, id: &UploadId, reply: Reply) -> Reply {
    reply.with(site.uploads.expires_at_secs(id).await.map(expiration::header))
}

async fn refused(site: &Site, id: &UploadId, failure: AskFailure) -> Reply {
    let is_there = matches!(
        failure,
        AskFailure::Refused(
            Denied::MismatchedOffset
                | Denied::InvalidLength
                | Denied::SizeExceeded
                | Denied::MaxSizeExceeded
                | Denied::NoSpace
                | Denied::StoreFailed
        )
    );
    let reply = Reply::told(problem::of(failure));
    if is_there { told_expiry(site, id, reply).await } else { reply }
}

pub(super) async fn append(
    site: &Site,
    head: &Head<'_>,
    id: &UploadId,
    mut source: Source,
    admitted: Option<Admitted>,
) -> Reply {
    let admitted = match admitted {
        Some(admitted) => Ok(admitted),
        None => match asked(site, head, id).await {
            Ok((appending, checksum)) => {
                let may_be_whole = checksum.is_none() && site.uploads.appends_whole();
                let len = appending.announced.filter(|len| may_be_whole && *len > 0);
                if let Some((bytes, share)) = len.and_then(|len| source.take_whole(site, len)) {
                    return append_whole(site, id, appending, bytes, share).await;
                }
                begin(site, id, appending, checksum).await
            }
            Err(reply) => Err(reply),
        },
    };
    match admitted {
        Ok(Admitted { begun: Begun::Lease { lease, expires_at_secs }, checksum }) => {
            take(site, source, lease, checksum, expires_at_secs).await
        }
        Ok(Admitted { begun: Begun::Complete { offset }, .. }) => {
            // A partial upload expires although it is complete.
            told_expiry(site, id, Reply::new(204, reply::appended(offset, None))).await
        }
        Err(reply) => reply,
    }
}

/// Appends a body that has come already.
async fn append_whole(site: &Site, id: &UploadId, appending: Appending, bytes: Bytes, share: Share) -> Reply {
    let received = bytes.len() as u64;
    match site.uploads.append_whole(id, appending, bytes, share).await {
        Ok(Appended::Committed(committed)) => {
            let mut reply = Reply::new(204, reply::appended(committed.offset, committed.expires_at_secs));
            reply.received = received;
            reply
        }
        Ok(Appended::Complete { offset }) => {
            // A partial upload expires although it is complete.
            told_expiry(site, id, Reply::new(204, reply::appended(offset, None))).await
        }
        Err(failure) => refused(site, id, failure).await,
    }
}

async fn take(
    site: &Site,
    source: Source,
    lease: Lease,
    checksum: Option<ChecksumRequest>,
    expires_at_secs: Option<u64>,
) -> Reply {
    let taken = source.take(site, lease, checksum).await;
    let mut reply = match taken.outcome {
        Ok(committed) => Reply::new(204, reply::appended(committed.offset, committed.expires_at_secs))
            .consulted(committed.consulted.as_deref()),
        Err(told) => Reply::told(told).with(expires_at_secs.map(expiration::header)),
    };
    reply.received = taken.received;
    reply
}
