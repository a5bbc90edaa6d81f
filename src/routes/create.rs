//! POST: a new upload, and perhaps its first bytes (the creation extensions of tus 1.0.0).

use std::sync::Arc;

use wharf_actors::{
    Appending, AskFailure, Begun, Created, CreatedWhole, Kind, NewUpload, Snapshot, UploadId,
    hooks::{Caller, HookResponse},
};

use super::{
    Head, Reply, Site, admission,
    caller::caller,
    intake::{Source, Taken},
};
use crate::{
    limits::Place,
    problem::{self, Told},
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

pub(super) async fn create(site: &Site, head: &Head<'_>, mut source: Source) -> Reply {
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
    let all_bytes = whole(&kind, length, body.as_ref()).filter(|_| site.uploads.creates_whole());
    let id = UploadId::random();
    let raw_metadata = metadata.raw.filter(|raw| !raw.is_empty());
    let caller = caller(site, head);
    let (metadata, to) = (metadata.pairs, caller.clone());
    let new = NewUpload { id, length, metadata, raw_metadata, kind, raw_concat, place: None, max_size, caller: to };
    if let Some((bytes, share)) = all_bytes.and_then(|length| source.take_whole(site, length)) {
        let received = bytes.len() as u64;
        let created = site.uploads.create_whole(new, vec![bytes], share).await;
        let mut reply = with_all_bytes(site, head, seat, created).await;
        reply.received = received;
        return reply;
    }
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

/// How long an upload is that comes with all its bytes, as far as the head tells, and with nothing to be checked before they
/// count.
fn whole(kind: &Kind, length: Option<u64>, body: Option<&BodyRequest>) -> Option<u64> {
    let takes_bytes = matches!(kind, Kind::Single | Kind::Partial);
    let announced = body.filter(|body| body.checksum.is_none()).and_then(|body| body.content_length);
    announced.filter(|announced| takes_bytes && *announced > 0 && length == Some(*announced))
}

/// The answer to a creation whose bytes were all there. If some could not be stored, the upload is there all the same, and the
/// client is told where.
async fn with_all_bytes(site: &Site, head: &Head<'_>, seat: Place, created: Result<CreatedWhole, AskFailure>) -> Reply {
    let CreatedWhole { snapshot, failure } = match created {
        Ok(created) => created,
        Err(failure) => return Reply::told(problem::of(failure)),
    };
    admission::assign(seat, site, &snapshot).await;
    let location = location::location(&snapshot.info.id, &site.config.locations, &head.fields, head.is_secure);
    match failure {
        None => Reply::new(201, reply::created(location, snapshot.offset, snapshot.expires_at_secs)),
        Some(failure) => cut(location, snapshot.expires_at_secs, problem::of(failure)),
    }
}

/// The upload is there, but not all that came with its creation.
fn cut(location: String, expires_at_secs: Option<u64>, told: Told) -> Reply {
    Reply::told(told).with([("location", location.into())]).with(expires_at_secs.map(expiration::header))
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
            Err(told) => cut(location, created.expires_at_secs, told),
        };
        reply.received = received;
        reply
    }
}
