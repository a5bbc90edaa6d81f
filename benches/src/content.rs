//! What is uploaded: bytes that follow from an upload's number, so that they need not be kept to be compared.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

const WORD: usize = 8;
/// How much of a large content is there at a time.
pub(crate) const PIECE_BYTES: usize = 256 * 1024;

/// The content of one upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    /// Other seeds make other contents.
    pub(crate) seed: u64,
    /// How many bytes it has.
    pub(crate) length: usize,
}

impl Content {
    /// The bytes from one offset to another.
    pub(crate) fn bytes(self, from: usize, to: usize) -> Vec<u8> {
        let mut bytes = vec![0; to - from];
        self.fill(from, &mut bytes);
        bytes
    }

    /// The bytes from an offset on, as many as there is room for.
    pub(crate) fn fill(self, from: usize, room: &mut [u8]) {
        let first = from / WORD;
        let (start, rest) = room.split_at_mut((WORD - from % WORD).min(room.len()));
        let word = |index: usize| word(self.seed, index as u64).to_le_bytes();
        start.copy_from_slice(&word(first)[from % WORD..][..start.len()]);
        for (index, target) in rest.chunks_mut(WORD).enumerate() {
            target.copy_from_slice(&word(first + 1 + index)[..target.len()]);
        }
    }

    /// The SHA-256 of all of it. That of a large one is remembered, since each server gets the same.
    pub(crate) fn digest(self) -> [u8; 32] {
        static KNOWN: Mutex<Option<HashMap<Content, [u8; 32]>>> = Mutex::new(None);
        if self.length <= PIECE_BYTES {
            return self.digested();
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        *known.get_or_insert_default().entry(self).or_insert_with(|| self.digested())
    }

    fn digested(self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        let mut piece = vec![0; PIECE_BYTES.min(self.length)];
        let mut at = 0;
        while at < self.length {
            let part = PIECE_BYTES.min(self.length - at);
            self.fill(at, &mut piece[..part]);
            hasher.update(&piece[..part]);
            at += part;
        }
        hasher.finalize().into()
    }
}

/// The SHA-256 of a file.
pub(crate) fn digest_of(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut piece, mut hasher) = (File::open(path)?, vec![0; PIECE_BYTES], Sha256::new());
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&piece[..count]),
        }
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
    fn a_large_content_has_the_digest_of_its_bytes() {
        let content = Content { seed: 3, length: 2 * PIECE_BYTES + 5 };
        let expected: [u8; 32] = Sha256::digest(content.bytes(0, content.length)).into();
        assert_eq!((content.digest(), content.digest()), (expected, expected));
    }

    #[test]
    fn contents_differ() {
        let digest = |seed| Content { seed, length: 64 }.digest();
        assert_ne!(digest(1), digest(2));
    }
}
