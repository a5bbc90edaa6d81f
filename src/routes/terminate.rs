//! DELETE: the end of an upload (tus 1.0.0, "Termination").

use wharf_actors::UploadId;

use super::{Head, Reply, Site, caller::caller};
use crate::problem;

pub(super) async fn terminate(site: &Site, head: &Head<'_>, id: &UploadId) -> Reply {
    let caller = caller(site, head);
    let terminated = match site.uploads.ask_for_access(id, caller.as_ref()).await {
        Ok(()) => site.uploads.terminate(id, caller).await,
        Err(failure) => Err(failure),
    };
    match terminated {
        Ok(response) => Reply::new(204, Vec::new()).overlaid(response.as_deref()),
        Err(failure) => Reply::told(problem::of(failure)),
    }
}
