//! How producers and workers reach the broker and the store, and the [record](records) of a job.
#![forbid(unsafe_code)]

pub mod audit;
mod audit_file;
mod broker;
mod error;
mod foreign;
mod masked;
mod message_trace;
mod publisher;
mod queue_depths;
pub mod records;
mod redis_link;
mod refusal;
pub mod subscription;
mod tls;
mod topology;

pub use broker::{Broker, DEAD_LETTERING_FIX, MALFORMED_HEADER, Server};
pub use error::{Error, OpenState, StoreError};
pub use masked::masked;
pub use message_trace::{MessageTrace, trace_headers};
pub use publisher::{Message, Publisher};
pub use redis_link::RedisLink;
pub use refusal::Refusal;
pub use tls::Tls;
pub use topology::{Kept, LATER, QueueLimits, Topology};
