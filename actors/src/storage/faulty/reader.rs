//! Reading that goes wrong as the control file says.

use std::{os::fd::OwnedFd, sync::Arc};

use bytes::Bytes;

use super::{Faults, Op};
use crate::storage::{Reader, Sent};

pub(super) struct FaultyReader {
    pub(super) reader: Box<dyn Reader>,
    pub(super) faults: Arc<Faults>,
}

impl Reader for FaultyReader {
    fn read(&mut self, at: u64, len: usize) -> Op<Bytes> {
        self.faults.plan("read").carry_out(self.reader.read(at, len), Err)
    }

    fn can_send(&self) -> bool {
        self.reader.can_send()
    }

    fn send(&mut self, socket: Arc<OwnedFd>, at: u64, len: usize) -> Op<Sent> {
        self.faults.plan("read").carry_out(self.reader.send(socket, at, len), Err)
    }
}
