//! Load programs.
fn main() {}
