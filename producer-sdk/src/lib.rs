//! Rust client of a sandfleet.
#![forbid(unsafe_code)]
