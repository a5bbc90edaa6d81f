//! An upload whose operations go wrong as the control file says.

use std::sync::Arc;

use bytes::Bytes;

use super::Faults;
use crate::{
    Info, Record, Share, UploadId,
    storage::{Blob, Op, PartReport, Tap, Written},
};

pub(super) struct FaultyBlob {
    pub(super) blob: Box<dyn Blob>,
    pub(super) faults: Arc<Faults>,
}

impl FaultyBlob {
    fn plan<T: Send + 'static>(&self, operation: &'static str, op: Op<T>) -> Op<T> {
        self.faults.plan(operation).carry_out(op, Err)
    }
}

impl Blob for FaultyBlob {
    fn write(&mut self, at: u64, data: Vec<Bytes>) -> Op<Written> {
        let op = self.blob.write(at, data);
        self.faults.plan("write").carry_out(op, |error| Ok(Written { len: 0, failure: Some(error) }))
    }

    fn draw(&mut self, at: u64, tap: Tap) -> Op<Written> {
        let op = self.blob.draw(at, tap);
        self.faults.plan("write").carry_out(op, |error| Ok(Written { len: 0, failure: Some(error) }))
    }

    fn take_over(&mut self, shares: Vec<Share>) -> Vec<Share> {
        self.blob.take_over(shares)
    }

    fn durable(&self) -> Option<u64> {
        self.blob.durable()
    }

    fn parts(&self) -> Option<Vec<PartReport>> {
        self.blob.parts()
    }

    fn sync(&mut self) -> Op<()> {
        let op = self.blob.sync();
        self.plan("sync", op)
    }

    fn cut(&mut self, to: u64) -> Op<()> {
        let op = self.blob.cut(to);
        self.plan("cut", op)
    }

    fn stage(&mut self, base: u64) -> Op<()> {
        let op = self.blob.stage(base);
        self.plan("stage", op)
    }

    fn keep(&mut self) -> Op<()> {
        let op = self.blob.keep();
        self.plan("keep", op)
    }

    fn discard(&mut self, base: u64) -> Op<()> {
        let op = self.blob.discard(base);
        self.plan("discard", op)
    }

    fn save(&mut self, info: Info) -> Op<()> {
        let op = self.blob.save(info);
        self.plan("save", op)
    }

    fn finish(&mut self, info: Info) -> Op<Record> {
        let op = self.blob.finish(info);
        self.plan("finish", op)
    }

    fn concatenate(&mut self, partials: Vec<UploadId>) -> Op<u64> {
        let op = self.blob.concatenate(partials);
        self.plan("concatenate", op)
    }

    fn give_up(&mut self) {
        self.blob.give_up();
    }

    fn delete(&mut self) -> Op<()> {
        let op = self.blob.delete();
        self.plan("delete", op)
    }

    fn rest(&mut self) {
        self.blob.rest();
    }
}
