//! A request as the application's hooks are told of it.

use std::{collections::BTreeMap, sync::Arc};

use wharf_actors::hooks::Caller;

use super::{Head, Site};

/// The request, when anybody wants to be told of it.
pub(super) fn caller(site: &Site, head: &Head<'_>) -> Option<Arc<Caller>> {
    site.uploads.wants_callers().then(|| {
        let mut header: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in head.fields.all() {
            header.entry(canonical(name)).or_default().push(String::from_utf8_lossy(value).into_owned());
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

/// A field's name as Go writes it, which tusd's hooks look for: a capital at its beginning and behind each hyphen.
fn canonical(name: &str) -> String {
    let mut is_first = true;
    let written = name.chars().map(|letter| {
        let letter = if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = letter == '-';
        letter
    });
    written.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_go_writes_them() {
        for (name, expected) in [
            ("host", "Host"),
            ("x-http-method-override", "X-Http-Method-Override"),
            ("TUS-RESUMABLE", "Tus-Resumable"),
            ("etag", "Etag"),
            ("x--y-", "X--Y-"),
        ] {
            assert_eq!(canonical(name), expected);
        }
    }
}
