//! What the tests of S3 storage run against: [`Bed`], a strict S3 server in memory; [`Proxy`], which stands between a
//! client and any S3 server and breaks requests on purpose; and [`Visitor`], who looks into a bucket, and changes it,
//! past the server under test. Never a dependency of the product.

mod bed;
mod proxy;
mod visitor;

mod server;
mod store;

pub use bed::{Bed, Calls, Lag, Options, StoredObject, StoredPart, StoredUpload, UploadIds};
pub use proxy::{Counts, Fault, Kind, Operation, Proxy};
pub use visitor::{Place, Visitor};
