//! Bytes that are not in a part yet, and the shares of the memory budget that they take.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Share;

#[derive(Default)]
pub(super) struct Buffer {
    pieces: VecDeque<Bytes>,
    len: u64,
    shares: VecDeque<Share>,
}

impl Buffer {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn push(&mut self, data: Vec<Bytes>, shares: Vec<Share>) {
        self.len += data.iter().map(|bytes| bytes.len() as u64).sum::<u64>();
        self.pieces.extend(data);
        self.shares.extend(shares);
    }

    /// All bytes, which stay.
    pub(super) fn bytes(&self) -> Vec<Bytes> {
        self.pieces.iter().cloned().collect()
    }

    /// Takes so many bytes from the front, with as many bytes' worth of shares as there are.
    pub(super) fn split_off_front(&mut self, len: u64) -> (Vec<Bytes>, Vec<Share>) {
        let (mut left, mut taken) = (len.min(self.len), Vec::new());
        self.len -= left;
        while left > 0
            && let Some(mut piece) = self.pieces.pop_front()
        {
            if piece.len() as u64 > left {
                let front = piece.split_to(usize::try_from(left).unwrap_or(usize::MAX));
                self.pieces.push_front(piece);
                piece = front;
            }
            left -= piece.len() as u64;
            taken.push(piece);
        }
        (taken, self.split_off_shares(len))
    }

    /// A piece may lie in both halves, and so may the memory it takes: what stays keeps at least its own.
    fn split_off_shares(&mut self, len: u64) -> Vec<Share> {
        let mut left = usize::try_from(len).unwrap_or(usize::MAX);
        let mut taken = Vec::new();
        while left > 0
            && let Some(mut share) = self.shares.pop_front()
        {
            if share.bytes() > left {
                taken.extend(share.split(left));
                self.shares.push_front(share);
                break;
            }
            left -= share.bytes();
            taken.push(share);
        }
        taken
    }

    /// Cuts to so many bytes.
    pub(super) fn truncate(&mut self, len: u64) {
        let (kept, shares) = self.split_off_front(len);
        *self = Self::default();
        self.push(kept, shares);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Budget;

    #[test]
    fn what_is_taken_takes_its_share_along() {
        let budget = Budget::new(100);
        let mut buffer = Buffer::default();
        for _ in 0..3 {
            buffer.push(vec![Bytes::from_static(b"0123456789")], vec![budget.try_take(10).unwrap()]);
        }
        let (bytes, shares) = buffer.split_off_front(14);
        assert_eq!(bytes.concat(), b"01234567890123");
        assert_eq!(shares.iter().map(Share::bytes).sum::<usize>(), 14);
        assert_eq!((buffer.len(), buffer.bytes().concat()), (16, b"4567890123456789".to_vec()));
        drop(shares);
        assert_eq!(budget.report().used, 16);
        buffer.truncate(3);
        assert_eq!((buffer.bytes().concat(), budget.report().used), (b"456".to_vec(), 3));
    }
}
