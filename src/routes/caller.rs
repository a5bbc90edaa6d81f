//! A request as the application's hooks are told of it.

use std::{collections::BTreeMap, sync::Arc};

use wharf_actors::hooks::Caller;

use super::{Head, Site};
use crate::protocol::field_name_in_go;

/// The request, when anybody wants to be told of it.
pub(super) fn caller(site: &Site, head: &Head<'_>) -> Option<Arc<Caller>> {
    site.uploads.wants_callers().then(|| {
        let mut header: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in head.fields.all() {
            header.entry(field_name_in_go(name)).or_default().push(String::from_utf8_lossy(value).into_owned());
        }
        let exchange = head.exchange;
        Arc::new(Caller {
            method: exchange.method().to_owned(),
            uri: exchange.path().to_owned(),
            remote_addr: exchange.peer().map(|peer| peer.to_string()).unwrap_or_default(),
            header,
        })
    })
}
