//! What an earlier run has left in the outbox: decides of each event whether it is owed, because what it tells of came to
//! pass before that run ended.

use std::sync::Arc;

use slog::error;

use super::{EventKind, Notice, messages::Fate, pool::Hooks};
use crate::{
    UploadId,
    storage::{ErrorKind, Storage},
};

/// So many names are read at once.
const PAGE: usize = 1000;

/// Goes through the outbox. Returns the uploads that may have all their bytes and are not finished: their owners are to
/// be woken, who finish them.
pub(crate) async fn recover(hooks: &Hooks, storage: &Arc<dyn Storage>) -> Vec<UploadId> {
    let (mut after, mut unfinished) = (String::new(), Vec::new());
    loop {
        let names = match hooks.store().list(after.clone(), PAGE).await {
            Ok(names) => names,
            Err(error) => {
                error!(hooks.logger(), "the outbox can't be read"; "error" => %error);
                return unfinished;
            }
        };
        let Some(last) = names.last() else { return unfinished };
        after.clone_from(last);
        for name in names {
            unfinished.extend(take_up(hooks, storage, name).await);
        }
    }
}

async fn take_up(hooks: &Hooks, storage: &Arc<dyn Storage>, name: String) -> Option<UploadId> {
    let blame = |error: &dyn std::fmt::Display| {
        error!(hooks.logger(), "an event can't be read"; "event_id" => &name, "error" => %error);
    };
    let content = match hooks.store().read(name.clone()).await {
        Ok(content) => content?,
        Err(error) => {
            blame(&error);
            return None;
        }
    };
    let notice = match Notice::restore(name.clone(), content) {
        Ok(notice) => notice,
        Err(error) => {
            blame(&error);
            return None;
        }
    };
    let Ok(id) = UploadId::parse(&notice.call.event.upload.id) else {
        blame(&"it tells of no upload");
        return None;
    };
    let found = storage.finished_length(&id).await.map_err(|error| error.kind);
    let fate = match (notice.kind(), found) {
        // Finished; or finished once, and deleted since: what is deleted unfinished takes its note with it.
        (EventKind::PostFinish, Ok(Some(_)) | Err(ErrorKind::NotFound)) => Fate::Came,
        (EventKind::PostFinish, _) => Fate::Open,
        (_, Err(ErrorKind::NotFound)) => Fate::Came,
        // It is still there: whoever wanted it deleted was not told that it is, and may ask again.
        (_, Ok(_)) => Fate::Failed,
        (_, Err(_)) => Fate::Open,
    };
    hooks.recovered(&notice, fate);
    (fate == Fate::Open).then_some(id)
}
