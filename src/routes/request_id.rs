//! What a request is called in the log and in its answer: what its client or a proxy calls it, or 32 hexadecimal digits.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use wharf_actors::UploadId;

/// The longest `X-Request-ID` that is taken over.
const MAX_BYTES: usize = 128;

/// Where the numbers of this process begin. They are random, so that no other process has the same.
static BEGIN: LazyLock<[u64; 2]> = LazyLock::new(|| {
    let id = UploadId::random();
    let (high, low) = id.as_str().split_at(16);
    [high, low].map(|half| u64::from_str_radix(half, 16).unwrap_or_default())
});

static COUNT: AtomicU64 = AtomicU64::new(0);

/// The value of `X-Request-ID`, if it can stand in a line.
pub(super) fn given(value: Option<&[u8]>) -> Option<Arc<str>> {
    let is_plain = |id: &&[u8]| (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    value.filter(is_plain).and_then(|id| std::str::from_utf8(id).ok()).map(Arc::from)
}

/// A new one, unlike all others. That nobody could guess it is not needed, so the system is not asked for each.
pub(super) fn fresh() -> Arc<str> {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut text = [0; 32];
    for (half, begin) in text.chunks_exact_mut(16).zip(*BEGIN) {
        let mut number = mixed(begin.wrapping_add(count));
        for digit in half.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(number & 15) as usize];
            number >>= 4;
        }
    }
    Arc::from(std::str::from_utf8(&text).unwrap_or_default())
}

/// The finish of SplitMix64 (Steele, Lea and Flood, 2014): one to one, and numbers in a row look like random ones.
fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn what_is_given_is_taken_over_if_it_is_plain() {
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(given(Some(b"a-1/~")).as_deref(), Some("a-1/~"));
        assert_eq!(given(Some(&long.as_bytes()[1..])).as_deref(), Some(&long[1..]));
        for value in [None, Some(&b""[..]), Some(b"a b"), Some(b"\xff"), Some(b"a\n"), Some(long.as_bytes())] {
            assert_eq!(given(value), None, "{value:?}");
        }
    }

    #[test]
    fn fresh_ones_are_32_hexadecimal_digits_and_all_differ() {
        let make = || std::thread::spawn(|| (0..2000).map(|_| fresh()).collect::<Vec<_>>());
        let threads: Vec<_> = (0..4).map(|_| make()).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(is_digit)));
        for part in [..16, ..32] {
            assert_eq!(ids.iter().map(|id| &id[part]).collect::<HashSet<_>>().len(), 8000);
        }
    }
}
