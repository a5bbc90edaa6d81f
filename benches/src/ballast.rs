//! Memory that this program holds and gives back as it sends. A virtual machine returns what is free to its host within
//! seconds, and whoever touches such a page first pays for it: seconds of processor time for a GiB, and not the same twice.
//! So the pages that a server's files will need are touched here, and freed when it is about to need them.

use std::cell::RefCell;

/// More than any allocator keeps for itself: each piece is given back at once.
const PIECE_BYTES: usize = 40 << 20;
const PAGE_BYTES: usize = 4096;

#[derive(Default)]
struct Ballast {
    pieces: Vec<Vec<u8>>,
    /// How much has been sent since the last piece was given back.
    sent: usize,
}

thread_local! {
    static BALLAST: RefCell<Ballast> = RefCell::default();
}

/// Touches memory for so many bytes; what was held before is given back.
pub(crate) fn take(bytes: usize) {
    let pieces = (0..bytes.div_ceil(PIECE_BYTES)).map(|_| {
        let mut piece = vec![0_u8; PIECE_BYTES];
        piece.iter_mut().step_by(PAGE_BYTES).for_each(|byte| *byte = 1);
        piece
    });
    BALLAST.set(Ballast { pieces: pieces.collect(), sent: 0 });
    // The server is always ahead by one piece, and by what else it takes.
    BALLAST.with_borrow_mut(|ballast| ballast.pieces.truncate(ballast.pieces.len().saturating_sub(2)));
}

/// So many bytes have been sent.
pub(crate) fn sent(bytes: usize) {
    BALLAST.with_borrow_mut(|ballast| {
        ballast.sent += bytes;
        if ballast.sent >= PIECE_BYTES {
            ballast.sent -= PIECE_BYTES;
            ballast.pieces.pop();
        }
    });
}

/// Gives back what is left.
pub(crate) fn drop_all() {
    BALLAST.set(Ballast::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_as_bytes_are_sent() {
        let held = || BALLAST.with_borrow(|ballast| ballast.pieces.len());
        take(4 * PIECE_BYTES);
        assert_eq!(held(), 2);
        sent(PIECE_BYTES - 1);
        assert_eq!(held(), 2);
        sent(1);
        assert_eq!(held(), 1);
        drop_all();
        assert_eq!(held(), 0);
    }
}
