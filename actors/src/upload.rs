//! The owner of one upload.

pub(crate) mod state;
