//! PATCH: more bytes for an upload (tus 1.0.0, "PATCH").

use std::sync::Arc;

use wharf_actors::{Appending, AskFailure, Begun, Lease, Refusal as Denied, UploadId};

use super::{Head, Reply, Site, intake::Source};
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
    let request = append::parse(&head.fields, &site.config.rules).map_err(Reply::refusal)?;
    let AppendRequest { offset, declared_length, content_length, checksum } = request;
    let appending = Appending {
        offset,
        declared_length,
        announced: content_length,
        tentative: checksum.is_some(),
        request_id: Arc::clone(&head.exchange.request_id),
    };
    match site.uploads.begin(id, appending).await {
        Ok(begun) => Ok(Admitted { begun, checksum }),
        Err(failure) => Err(refused(site, id, failure).await),
    }
}

/// tus 1.0.0, "Expiration": Upload-Expires is in every answer to a PATCH of an upload that will expire.
async fn refused(site: &Site, id: &UploadId, failure: AskFailure) -> Reply {
    let is_there = matches!(
        failure,
        AskFailure::Refused(
            Denied::MismatchedOffset | Denied::InvalidLength | Denied::SizeExceeded | Denied::MaxSizeExceeded
        )
    );
    let expires_at_secs = if is_there { site.uploads.expires_at_secs(id).await } else { None };
    Reply::refusal(problem::of(failure)).with(expires_at_secs.map(expiration::header))
}

pub(super) async fn append(
    site: &Site,
    head: &Head<'_>,
    id: &UploadId,
    source: Source,
    admitted: Option<Admitted>,
) -> Reply {
    let admitted = match admitted {
        Some(admitted) => Ok(admitted),
        None => admit(site, head, id).await,
    };
    match admitted {
        Ok(Admitted { begun: Begun::Lease { lease, expires_at_secs }, checksum }) => {
            take(site, source, lease, checksum, expires_at_secs).await
        }
        Ok(Admitted { begun: Begun::Complete { offset }, .. }) => Reply::new(204, reply::appended(offset, None)),
        Err(reply) => reply,
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
        Ok(committed) => Reply::new(204, reply::appended(committed.offset, committed.expires_at_secs)),
        Err(refusal) => Reply::refusal(refusal).with(expires_at_secs.map(expiration::header)),
    };
    reply.received = taken.received;
    reply
}
