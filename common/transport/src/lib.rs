//! How producers and workers reach the broker and the store, and what they keep there of a job.
#![forbid(unsafe_code)]

mod broker;
mod error;
mod masked;
mod publisher;
mod queue_depths;
pub mod records;
mod redis_link;
mod tls;
mod topology;

pub use broker::{Broker, MALFORMED_HEADER};
pub use error::Error;
pub use masked::masked;
pub use publisher::{Message, Publisher};
pub use redis_link::{RedisLink, is_passing};
pub use tls::Tls;
pub use topology::{LATER, QueueLimits, Topology};
