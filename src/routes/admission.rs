//! Who a request is from, whether it is let in, and whether one more upload of theirs is.

use std::sync::Arc;

use slog::info;
use wharf_actors::{AskFailure, Snapshot, events::Watcher};

use super::{Head, Reply, Site};
use crate::{
    auth::Denied,
    limits::{Client, Exceeded, Place},
    metrics::Cause,
    protocol::{Fields, Refusal, route::Route},
    telemetry::hostile,
};

/// For whoever has no token.
const CHALLENGE: &str = "Bearer";
/// For whoever has one that doesn't let in (RFC 6750, 3.1).
const INVALID: &str = "Bearer error=\"invalid_token\"";

/// When a client whose uploads are all open may look whether one has ended, in seconds.
const LOOK_AGAIN_SECS: u64 = 30;

/// Lets a request in: the site as the one sees it who sends it, where that makes a difference. Browsers ask without a token
/// what they may do, and get the page; everything else needs one.
pub(super) async fn admit(site: &Arc<Site>, head: &Head<'_>, route: &Route) -> Result<Option<Arc<Site>>, Reply> {
    let auth = &site.config.auth;
    match route {
        Route::Options | Route::Greeting | Route::Page(_) => return Ok(None),
        _ if auth.is_open() => return Ok(None),
        Route::Create | Route::Inspect(_) | Route::Append(_) | Route::Download(_) | Route::Terminate(_) => {}
    }
    match auth.admit(&head.fields.lines("authorization")).await {
        Ok(None) => Ok(None),
        Ok(Some(claimant)) => {
            let owner = Some(Arc::clone(&claimant.subject));
            let uploads = site.uploads.on_behalf_of(claimant);
            Ok(Some(Arc::new(Site { uploads, owner, ..Site::clone(site) })))
        }
        Err(Denied { cause, said }) => {
            note(site, head, cause, &said);
            Err(Reply::refusal(match cause {
                Cause::TokenMissing => Refusal::Unauthorized { challenge: CHALLENGE },
                // It passes, and clients throw an upload away for which HEAD fails.
                Cause::KeysUnavailable if matches!(route, Route::Inspect(_)) => Refusal::UploadLocked,
                Cause::KeysUnavailable => Refusal::Overloaded,
                _ => Refusal::Unauthorized { challenge: INVALID },
            }))
        }
    }
}

/// A place for one more upload.
pub(super) fn place(site: &Site, head: &Head<'_>) -> Result<Place, Refusal> {
    let forwarded_for = head.fields.lines("x-forwarded-for");
    let forwarded_for = forwarded_for.last().copied().filter(|_| site.config.locations.behind_proxy);
    let client = Client::seen(head.exchange.peer(), forwarded_for);
    site.limits.admit(site.owner.as_ref(), client).map_err(|Exceeded { cause, after }| {
        note(site, head, cause, site.owner.as_deref().unwrap_or_default());
        match after {
            Some(after) => Refusal::TooManyCreations { after_secs: after.as_secs() + 1 },
            None => Refusal::TooManyUploads { after_secs: LOOK_AGAIN_SECS },
        }
    })
}

/// The upload that was created has the place until it ends, unless it has ended already.
pub(super) async fn assign(place: Place, site: &Site, created: &Snapshot) {
    if created.record.is_some() || !place.counts() {
        return;
    }
    let id = &created.info.id;
    place.assign(id);
    // The last of the partial uploads may have come before the place was given.
    let has_ended =
        created.info.is_final() && matches!(site.uploads.record(id).await, Ok(Some(_)) | Err(AskFailure::Refused(_)));
    if has_ended {
        site.limits.ended(id);
    }
}

/// The client is told little; the log has the cause.
fn note(site: &Site, head: &Head<'_>, cause: Cause, said: &str) {
    site.metrics.refused_by_check(cause);
    info!(head.exchange.logger(), "request refused"; "cause" => cause.name(), "said" => hostile(said));
}
