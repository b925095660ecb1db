//! The `sandfleet` binary.
fn main() {}
