//! What every client of S3 must do, shown on each that is built in, against the strict server.
#![cfg(feature = "s3")]

#[path = "s3_client/credentials.rs"]
mod credentials;
#[path = "s3_client/faults.rs"]
mod faults;
#[path = "s3_client/multipart.rs"]
mod multipart;
#[path = "s3_client/objects.rs"]
mod objects;
#[path = "s3_client/rig.rs"]
mod rig;
#[path = "s3_client/wire.rs"]
mod wire;
