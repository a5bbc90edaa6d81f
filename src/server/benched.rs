//! What benches/ measures by itself of connections: the reader of heads. In builds for benches only.

use super::framing::read_head;

/// Reads a head, as it is shown to handlers. Returns its length.
///
/// # Panics
/// When it is no whole head, or one that is refused.
#[must_use]
pub fn head(bytes: &[u8]) -> usize {
    let head = read_head(bytes).ok().flatten().expect("a whole head");
    assert!(head.refusal.is_none(), "a head that is served");
    head.len
}
