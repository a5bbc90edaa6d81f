//! OPTIONS: what the server can do.

use super::{Reply, Site};
use crate::protocol::reply;

/// What the server can do (tus 1.0.0, "OPTIONS").
pub(super) fn options(site: &Site) -> Reply {
    Reply::new(200, reply::options(&site.config.rules))
}
