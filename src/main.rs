//! The wharf server.
fn main() {}
