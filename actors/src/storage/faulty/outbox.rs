//! An outbox that goes wrong as the control file says.

use std::sync::Arc;

use bytes::Bytes;

use super::{Faults, Op};
use crate::storage::OutboxStore;

pub(super) struct FaultyOutbox {
    pub(super) outbox: Arc<dyn OutboxStore>,
    pub(super) faults: Arc<Faults>,
}

impl OutboxStore for FaultyOutbox {
    fn put(&self, name: String, content: Bytes) -> Op<()> {
        self.faults.plan("note_event").carry_out(self.outbox.put(name, content), Err)
    }

    fn read(&self, name: String) -> Op<Option<Bytes>> {
        self.faults.plan("read_event").carry_out(self.outbox.read(name), Err)
    }

    fn remove(&self, name: String) -> Op<()> {
        self.faults.plan("remove_event").carry_out(self.outbox.remove(name), Err)
    }

    fn list(&self, after: String, limit: usize) -> Op<Vec<String>> {
        self.outbox.list(after, limit)
    }
}
