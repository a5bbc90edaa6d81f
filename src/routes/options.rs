//! OPTIONS, and the greeting outside the base path.

use super::{Body, Reply, Site};
use crate::protocol::reply;

/// What the server can do (tus 1.0.0, "OPTIONS").
pub(super) fn options(site: &Site) -> Reply {
    Reply::new(200, reply::options(&site.config.rules))
}

/// A few words for whoever looks.
pub(super) fn greeting(site: &Site) -> Reply {
    let text = format!(
        "Welcome to wharf\n================\n\nThis is a server for resumable uploads (tus {}).\n\nSend uploads to {}\n",
        crate::protocol::VERSION,
        site.config.rules.base_path
    );
    let mut reply = Reply::new(200, vec![("content-type", "text/plain; charset=utf-8".to_owned())]);
    reply.body = Body::Text(text);
    reply
}
