//! Memory that this program holds and gives back as it sends. A virtual machine returns what is free to its host within
//! seconds, and whoever touches such a page first pays for it: seconds of processor time for a GiB, and not the same twice.
//! So this program touches much of what is free and holds it, and frees what a server's files will need just before it is
//! needed.

use std::cell::RefCell;

/// More than any allocator keeps for itself: each piece is given back at once.
const PIECE_BYTES: usize = 40 << 20;
const PAGE_BYTES: usize = 4096;
/// What stays free, for whoever else needs some.
const SPARE_BYTES: usize = 192 << 20;
/// So many pieces are given back ahead of what is sent.
const AHEAD: usize = 2;

#[derive(Default)]
struct Ballast {
    pieces: Vec<Vec<u8>>,
    /// How much has been sent since the last piece was given back.
    sent: usize,
}

thread_local! {
    static BALLAST: RefCell<Ballast> = RefCell::default();
}

/// A load will send so many bytes.
pub(crate) fn prepare(bytes: usize) {
    let (free, available) = memory();
    BALLAST.with_borrow_mut(|ballast| {
        let held = ballast.pieces.len() * PIECE_BYTES;
        let count = level(bytes, held, free, available).div_ceil(PIECE_BYTES);
        while ballast.pieces.len() < count {
            ballast.pieces.push(touched());
        }
        ballast.sent = 0;
        ballast.give_back(AHEAD);
    });
}

/// So many bytes have been sent.
pub(crate) fn sent(bytes: usize) {
    BALLAST.with_borrow_mut(|ballast| {
        ballast.sent += bytes;
        ballast.give_back(ballast.sent / PIECE_BYTES);
        ballast.sent %= PIECE_BYTES;
    });
}

impl Ballast {
    fn give_back(&mut self, count: usize) {
        self.pieces.truncate(self.pieces.len().saturating_sub(count));
    }
}

/// How much is to be held, of what is held or free now: all but a little, as far as that is no more than twice what is sent
/// (touching takes time), nor than half of what programs can have.
fn level(bytes: usize, held: usize, free: usize, available: usize) -> usize {
    let all = held + free.saturating_sub(SPARE_BYTES);
    all.min(2 * bytes).max(bytes).min((held + available) / 2)
}

fn touched() -> Vec<u8> {
    let mut piece = vec![0_u8; PIECE_BYTES];
    piece.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
    piece
}

/// What is free, and what programs can have, in bytes.
fn memory() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix(" kB")?.parse::<usize>().ok()
    };
    let bytes = |key: &str| kib(key).unwrap_or(0) * 1024;
    (bytes("MemFree:"), bytes("MemAvailable:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearly_all_that_is_free_is_held_up_to_a_limit() {
        const GIB: usize = 1 << 30;
        assert_eq!(level(2 * GIB, 0, 3 * GIB, 20 * GIB), 3 * GIB - SPARE_BYTES);
        assert_eq!(level(2 * GIB, GIB, 2 * GIB, 20 * GIB), 3 * GIB - SPARE_BYTES);
        assert_eq!(level(2 * GIB, 0, GIB, 20 * GIB), 2 * GIB);
        assert_eq!(level(GIB, 0, 19 * GIB, 20 * GIB), 2 * GIB);
        assert_eq!(level(8 * GIB, 0, 4 * GIB, 10 * GIB), 5 * GIB);
    }

    #[test]
    fn memory_is_given_back_as_bytes_are_sent() {
        let held = || BALLAST.with_borrow(|ballast| ballast.pieces.len());
        BALLAST.set(Ballast { pieces: vec![Vec::new(); 4], sent: 0 });
        sent(PIECE_BYTES - 1);
        assert_eq!(held(), 4);
        sent(1);
        assert_eq!(held(), 3);
        sent(5 * PIECE_BYTES);
        assert_eq!(held(), 0);
    }
}
