//! POST: a new upload, and perhaps its first bytes (the creation extensions of tus 1.0.0).

use std::sync::Arc;

use wharf_actors::{Appending, Begun, Kind, NewUpload, Snapshot, UploadId};

use super::{
    Head, Reply, Site,
    intake::{Source, Taken},
};
use crate::{
    problem,
    protocol::{
        Refusal,
        create::{self, BodyRequest, CreateKind, CreateRequest},
        expiration, location, reply,
    },
};

/// Checks the head only, for a client that waits for `100 Continue`.
pub(super) fn check(site: &Site, head: &Head<'_>) -> Result<(), Refusal> {
    create::parse(&head.fields, &site.config.rules).map(|_| ())
}

pub(super) async fn create(site: &Site, head: &Head<'_>, source: Source) -> Reply {
    let CreateRequest { kind, length, metadata, body } = match create::parse(&head.fields, &site.config.rules) {
        Ok(request) => request,
        Err(refusal) => return Reply::refusal(refusal),
    };
    let (kind, raw_concat) = match kind {
        CreateKind::Single => (Kind::Single, None),
        CreateKind::Partial => (Kind::Partial, None),
        CreateKind::Final { partials, raw } => (Kind::Final { partials }, Some(raw)),
    };
    let id = UploadId::random();
    let raw_metadata = metadata.raw.filter(|raw| !raw.is_empty());
    let new = NewUpload { id, length, metadata: metadata.pairs, raw_metadata, kind, raw_concat };
    let created = match site.uploads.create(new).await {
        Ok(created) => created,
        Err(failure) => return Reply::refusal(problem::of(failure)),
    };
    let id = created.info.id.clone();
    let location = location::location(&id, &site.config.locations, &head.fields, head.is_secure);
    match body {
        None => Reply::new(201, reply::created(location, None, created.expires_at_secs)),
        Some(body) => first_bytes(site, head, &id, body, source, location, &created).await,
    }
}

/// Whatever becomes of the bytes: the upload is there, and the client is told where.
async fn first_bytes(
    site: &Site,
    head: &Head<'_>,
    id: &UploadId,
    body: BodyRequest,
    source: Source,
    location: String,
    created: &Snapshot,
) -> Reply {
    let appending = Appending {
        offset: 0,
        declared_length: None,
        announced: body.content_length,
        tentative: body.checksum.is_some(),
        request_id: Arc::clone(head.exchange.request_id()),
        peer: head.exchange.peer(),
    };
    let taken = match site.uploads.begin(id, appending).await {
        Ok(Begun::Lease { lease, .. }) => source.take(site, lease, body.checksum).await,
        Ok(Begun::Complete { offset }) => {
            return Reply::new(201, reply::created(location, Some(offset), created.expires_at_secs));
        }
        Err(failure) => Taken::refused(problem::of(failure)),
    };
    let received = taken.received;
    let mut reply = match taken.outcome {
        Ok(committed) => Reply::new(201, reply::created(location, Some(committed.offset), committed.expires_at_secs)),
        Err(refusal) => Reply::refusal(refusal)
            .with([("location", location.into())])
            .with(created.expires_at_secs.map(expiration::header)),
    };
    reply.received = received;
    reply
}
