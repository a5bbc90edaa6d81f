//! HEAD: where an upload stands (tus 1.0.0, "HEAD").

use wharf_actors::{Kind, Snapshot, UploadId};

use super::{Head, Reply, Site, caller::caller, download};
use crate::{
    problem,
    protocol::{
        Rules, concat,
        download::{Download, decide},
        metadata, reply,
    },
};

pub(super) async fn inspect(site: &Site, head: &Head<'_>, id: &UploadId) -> Reply {
    let allowed = site.uploads.ask_for_access(id, caller(site, head).as_ref()).await;
    let snapshot = match allowed {
        Ok(()) => site.uploads.inspect(id).await,
        Err(failure) => Err(failure),
    };
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(failure) => return Reply::told(problem::of_inspection(failure)),
    };
    let told = reply::inspected(&told(&snapshot, &site.config.rules));
    let Some(record) = snapshot.record else { return Reply::new(200, told) };
    // A finished upload is a file as well: caches and downloaders ask for its validators. Ranges are for GET only.
    let outcome = decide(&head.fields, record.length, &record.etag, record.modified, "HEAD");
    let (status, mut headers) = download::headers(&record, outcome);
    let is_whole = outcome == Download::Full;
    headers.retain(|(name, _)| *name != "content-length");
    let told = told.into_iter().filter(|(name, _)| is_whole || *name != "content-length");
    Reply::new(status, headers).with(told)
}

fn told(snapshot: &Snapshot, rules: &Rules) -> reply::Snapshot {
    let info = &snapshot.info;
    let own = info.own.as_ref();
    let rebuilt = || (!info.metadata.is_empty()).then(|| metadata::encode(&info.metadata));
    let raw_concat = match &info.kind {
        Kind::Single => None,
        Kind::Partial => Some(concat::PARTIAL.to_owned()),
        Kind::Final { partials } => Some(
            own.and_then(|own| own.raw_concat.clone()).unwrap_or_else(|| concat::rebuild(partials, &rules.base_path)),
        ),
    };
    reply::Snapshot {
        offset: snapshot.offset,
        length: info.length,
        deferred: info.length.is_none() && !info.is_final(),
        raw_metadata: own.and_then(|own| own.raw_metadata.clone()).or_else(rebuilt).filter(|raw| !raw.is_empty()),
        raw_concat,
        expires_at_secs: snapshot.expires_at_secs,
    }
}
