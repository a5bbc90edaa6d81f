//! What benches/ measures by itself of connections: the reader of heads. In builds for benches only.

use super::framing::{mask, read_head};

/// Reads a head and hides what it says of a body, as is done before actix-http sees it. Returns its length.
///
/// # Panics
/// When it is no whole head, or one that is refused.
#[must_use]
pub fn head(bytes: &mut [u8]) -> usize {
    let head = read_head(bytes).ok().flatten().expect("a whole head");
    assert!(head.refusal.is_none(), "a head that is served");
    mask(bytes, &head);
    head.len
}
