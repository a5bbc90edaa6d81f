//! The connections.

pub mod framing;
