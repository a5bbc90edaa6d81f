//! POST: a new upload, and perhaps its first bytes (the creation extensions of tus 1.0.0).

use std::sync::Arc;

use wharf_actors::{
    Appending, Begun, Created, Kind, NewUpload, Snapshot, UploadId,
    hooks::{Caller, HookResponse},
};

use super::{
    Head, Reply, Site, admission,
    caller::caller,
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
    let CreateRequest { kind, length, metadata, max_size, body } = match create::parse(&head.fields, &site.config.rules)
    {
        Ok(request) => request,
        Err(refusal) => return Reply::refusal(refusal),
    };
    let seat = match admission::place(site, head) {
        Ok(seat) => seat,
        Err(refusal) => return Reply::refusal(refusal),
    };
    let (kind, raw_concat) = match kind {
        CreateKind::Single => (Kind::Single, None),
        CreateKind::Partial => (Kind::Partial, None),
        CreateKind::Final { partials, raw } => (Kind::Final { partials }, Some(raw)),
    };
    let id = UploadId::random();
    let raw_metadata = metadata.raw.filter(|raw| !raw.is_empty());
    let caller = caller(site, head);
    let (metadata, to) = (metadata.pairs, caller.clone());
    let new = NewUpload { id, length, metadata, raw_metadata, kind, raw_concat, place: None, max_size, caller: to };
    let created = match site.uploads.create(new).await {
        Ok(created) => created,
        Err(failure) => return Reply::told(problem::of(failure)),
    };
    let Created { snapshot: created, response, consulted } = created;
    admission::assign(seat, site, &created).await;
    let id = created.info.id.clone();
    let location = location::location(&id, &site.config.locations, &head.fields, head.is_secure);
    let reply = match body {
        None => Reply::new(201, reply::created(location, None, created.expires_at_secs)),
        Some(body) => {
            let first = First { site, head, location, created: &created, response: response.as_deref(), caller };
            return first.bytes(&id, body, source).await;
        }
    };
    reply.overlaid_at_creation(response.as_deref()).consulted(consulted.as_deref())
}

/// A creation that brings bytes.
struct First<'a> {
    site: &'a Site,
    head: &'a Head<'a>,
    location: String,
    created: &'a Snapshot,
    /// What the application wants laid over the answer.
    response: Option<&'a HookResponse>,
    caller: Option<Arc<Caller>>,
}

impl First<'_> {
    /// Whatever becomes of the bytes: the upload is there, and the client is told where.
    async fn bytes(self, id: &UploadId, body: BodyRequest, source: Source) -> Reply {
        let Self { site, head, location, created, response, caller } = self;
        let appending = Appending {
            offset: 0,
            declared_length: None,
            announced: body.content_length,
            tentative: body.checksum.is_some(),
            request_id: Arc::clone(head.exchange.request_id()),
            peer: head.exchange.peer(),
            caller,
        };
        let taken = match site.uploads.begin(id, appending).await {
            Ok(Begun::Lease { lease, .. }) => source.paced(site, id).take(site, lease, body.checksum).await,
            Ok(Begun::Complete { offset }) => {
                let told = reply::created(location, Some(offset), created.expires_at_secs);
                return Reply::new(201, told).overlaid_at_creation(response);
            }
            Err(failure) => Taken::refused(problem::of(failure)),
        };
        let received = taken.received;
        let mut reply = match taken.outcome {
            Ok(committed) => {
                let told = reply::created(location, Some(committed.offset), committed.expires_at_secs);
                Reply::new(201, told).overlaid_at_creation(response).consulted(committed.consulted.as_deref())
            }
            Err(told) => Reply::told(told)
                .with([("location", location.into())])
                .with(created.expires_at_secs.map(expiration::header)),
        };
        reply.received = received;
        reply
    }
}
