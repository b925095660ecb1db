//! Where jobs come from.

mod amqp;
mod later;
mod limited;
mod memory;
pub mod settle;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use sandfleet_common::PrintableText;
use sandfleet_transport::MessageTrace;

use crate::trouble::Trouble;

pub use amqp::{
    AmqpConfig, AmqpQueue, DEAD_LETTERS_AT_A_TIME, DeadLetterStatus, DeadLetters, Death, Gate,
    KeptMessage, KeptMessages, Look,
};
pub use later::waited;
pub use limited::LimitedQueue;
pub use memory::{MemoryQueue, SetAside};

/// A source of jobs.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The next delivery. Waits for one, also while the broker is away; `None` once the queue was
    /// [stopped](Queue::stop) or will never hold anything again.
    async fn next(&self) -> Option<Delivery>;

    /// Takes no more deliveries and hands back those that were not taken with
    /// [`next`](Queue::next) yet. Those already taken can still be settled.
    async fn stop(&self);

    /// Whether deliveries can be had at present, and what to know all the same; or why not.
    async fn check(&self) -> Result<Option<String>, Trouble>;

    /// Whether it takes no messages from this process at present.
    fn is_blocked(&self) -> bool {
        false
    }

    /// Of each queue that a job was taken from, by its name: when the last of them had been submitted, in Unix
    /// milliseconds.
    fn taken_until(&self) -> Vec<(String, i64)> {
        Vec::new()
    }
}

/// One message as bytes, with the right to settle it: once, with [`settle`](settle::settle). Dropped unsettled,
/// it goes back to the queue.
pub struct Delivery {
    /// The message's body, not looked at yet.
    pub body: Vec<u8>,
    /// How often it was put off with [`Later`](settle::Settlement::Later).
    pub put_off: u32,
    /// Why its properties could not be parsed, if that is so: then nothing in the body counts.
    pub malformed: Option<PrintableText>,
    /// Whether the broker had delivered it before.
    pub is_redelivered: bool,
    /// Where it is noted when the last job that was taken from its queue had been submitted.
    pub(in crate::queue) taken_until: Option<Arc<AtomicI64>>,
    /// The broker's user that published it, if the broker vouches for that; a worker that published it again is not
    /// meant.
    pub published_by: Option<String>,
    /// What its headers say of its job's trace.
    pub trace: MessageTrace,
    pub(in crate::queue) ack_handle: Box<dyn AckHandle>,
}

impl Delivery {
    /// Notes when its job was submitted, if it says so.
    pub fn note_queued_at(&self, queued_at: Option<Timestamp>) {
        if let (Some(taken_until), Some(queued_at)) = (&self.taken_until, queued_at) {
            taken_until.fetch_max(queued_at.as_millisecond(), Ordering::Relaxed);
        }
    }
}

/// What a backend does for [`settle`](settle::settle), which alone may call it.
#[async_trait]
pub(in crate::queue) trait AckHandle: Send + Sync {
    /// The job is done with: its result is stored.
    async fn ack(self: Box<Self>, body: Vec<u8>) -> Result<(), String>;
    /// The job goes back to the queue for another worker.
    async fn requeue(self: Box<Self>, body: Vec<u8>) -> Result<(), String>;
    /// The job goes to the end of its queue, and its queue has to wait for a moment.
    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String>;
    /// The job comes back to its queue after a while.
    async fn later(self: Box<Self>, body: Vec<u8>) -> Result<(), String>;
    /// The message goes to the queue of unreadable messages with `reason` beside it.
    async fn set_aside(
        self: Box<Self>,
        body: Vec<u8>,
        reason: &PrintableText,
    ) -> Result<(), String>;
}
