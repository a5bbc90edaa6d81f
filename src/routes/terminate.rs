//! DELETE: the end of an upload (tus 1.0.0, "Termination").

use wharf_actors::UploadId;

use super::{Reply, Site};
use crate::problem;

pub(super) async fn terminate(site: &Site, id: &UploadId) -> Reply {
    match site.uploads.terminate(id).await {
        Ok(()) => Reply::new(204, Vec::new()),
        Err(failure) => Reply::refusal(problem::of(failure)),
    }
}
