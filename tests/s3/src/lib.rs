//! What the tests of S3 storage run against: [`Bed`], a strict S3 server in memory, and [`Proxy`], which stands between
//! a client and any S3 server and breaks requests on purpose. Never a dependency of the product.

mod bed;
mod proxy;

mod server;
mod store;

pub use bed::{Bed, Calls, Lag, Options, StoredObject, StoredPart, StoredUpload, UploadIds};
pub use proxy::{Counts, Fault, Kind, Operation, Proxy};
