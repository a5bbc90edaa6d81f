//! What is at the root: the page to upload with, and the greeting.

use bytes::Bytes;

use super::{Body, Head, Reply, Site};
use crate::protocol::{Header, VERSION, download::is_known, route::PageFile};

/// A few words for whoever looks.
pub(super) fn greeting(site: &Site) -> Reply {
    let text = format!(
        "Welcome to wharf\n================\n\nThis is a server for resumable uploads (tus {VERSION}).\n\nSend uploads to {}\n",
        site.config.rules.base_path
    );
    let mut reply = Reply::new(200, vec![("content-type", "text/plain; charset=utf-8".into())]).with(vary(site));
    reply.body = Body::Text(text);
    reply
}

/// A file of the page.
pub(super) fn page(site: &Site, head: &Head<'_>, file: PageFile) -> Reply {
    let page = &site.config.page;
    let (etag, bytes) = (&page.file(file).etag, &page.file(file).bytes);
    let mut headers = page.headers(file);
    if file == PageFile::Index {
        headers.extend(vary(site));
    }
    if is_known(&head.fields, etag) {
        return Reply::new(304, headers);
    }
    if head.exchange.method() == "HEAD" {
        return Reply::new(200, headers).with([("content-length", bytes.len().to_string().into())]);
    }
    let mut reply = Reply::new(200, headers);
    reply.body = Body::Ready(Bytes::clone(bytes));
    reply
}

/// The root has two forms when both are on.
fn vary(site: &Site) -> Option<Header> {
    let rules = &site.config.rules;
    (rules.page && rules.greeting).then(|| ("vary", "Accept".into()))
}
