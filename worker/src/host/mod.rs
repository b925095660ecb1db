//! The host that programs run on: what of it is in trouble, and what it can still give.

pub mod limits;
pub mod memory;
pub mod processes;
