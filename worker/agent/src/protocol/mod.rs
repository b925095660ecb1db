//! What the worker and the agent's processes say to each other.

pub mod frame;
pub mod launcher;
pub mod mac;
pub mod message;
pub mod sender;
pub mod zygote;
