//! Uploads in S3 and in what speaks S3.

pub mod client;
pub mod retry;
