//! What is uploaded: bytes that follow from an upload's number, so that they need not be kept to be compared.

use sha2::{Digest, Sha256};

const WORD: usize = 8;

/// The content of one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    /// Other seeds make other contents.
    pub(crate) seed: u64,
    /// How many bytes it has.
    pub(crate) length: usize,
}

impl Content {
    /// The bytes from one offset to another.
    pub(crate) fn bytes(self, from: usize, to: usize) -> Vec<u8> {
        let first = from / WORD;
        let words = (first..to.div_ceil(WORD)).flat_map(|index| word(self.seed, index as u64).to_le_bytes());
        words.skip(from - first * WORD).take(to - from).collect()
    }

    /// The SHA-256 of all of it.
    pub(crate) fn digest(self) -> [u8; 32] {
        Sha256::digest(self.bytes(0, self.length)).into()
    }
}

/// The word at an index: a SplitMix64 generator can be entered anywhere.
fn word(seed: u64, index: u64) -> u64 {
    let step = seed.wrapping_shl(32).wrapping_add(index).wrapping_add(1);
    let mixed = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_whole_wherever_they_are_cut() {
        let content = Content { seed: 7, length: 100 };
        let whole = content.bytes(0, 100);
        assert_eq!(whole.len(), 100);
        for cut in 0..=100 {
            assert_eq!([content.bytes(0, cut), content.bytes(cut, 100)].concat(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn contents_differ() {
        let digest = |seed| Content { seed, length: 64 }.digest();
        assert_ne!(digest(1), digest(2));
    }
}
