//! The right to settle one delivery from RabbitMQ.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::names;
use sandfleet_sdk::{Message, Publisher};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time};

use super::{
    Receipt,
    lane::Source,
    supervisor::{Session, why},
};

/// The header of a dead letter that says why it is one.
pub(super) const REASON_HEADER: &str = "x-sandfleet-reason";
/// Headers travel in one frame, and a reason may quote what it is about.
const MAX_REASON_BYTES: usize = 1024;
/// How long the socket may take to swallow a few bytes.
const TIMEOUT: Duration = Duration::from_secs(10);

const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

pub(super) struct AmqpReceipt {
    pub(super) acker: Acker,
    /// The message's id, as the producer set it.
    pub(super) id: String,
    pub(super) source: Arc<Source>,
    pub(super) prefix: Arc<str>,
    pub(super) publisher: Arc<Publisher>,
    /// A delivery is settled on the channel it came over, so that stays open until then.
    pub(super) session: Arc<Session>,
    pub(super) runtime: Handle,
    /// The slot it occupies until it is settled.
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

impl AmqpReceipt {
    /// Whether the channel it came over still stands.
    pub(super) fn is_settleable(&self) -> bool {
        self.acker.usable()
    }

    /// Publishes the message elsewhere and settles it here.
    async fn move_to(
        self: Box<Self>,
        exchange: String,
        routing_key: String,
        headers: FieldTable,
        body: Vec<u8>,
    ) -> Result<(), String> {
        let message = Message { exchange, routing_key, id: self.id.clone(), headers, body };
        // First there and only then gone from here: twice is better than never.
        match self.publisher.publish(message).await {
            Ok(()) => Self::sent(self.acker.ack(BasicAckOptions::default())).await,
            Err(error) => {
                let reason = why(&error);
                Self::sent(self.acker.nack(REQUEUE)).await?;
                Err(reason)
            }
        }
    }

    async fn sent(sending: impl Future<Output = lapin::Result<bool>>) -> Result<(), String> {
        match time::timeout(TIMEOUT, sending).await {
            Ok(Ok(true)) => Ok(()),
            // The library's way to say that the channel was gone before.
            Ok(Ok(false)) => Err("the channel it came over is gone".into()),
            Ok(Err(error)) => Err(why(&error)),
            Err(_) => Err(format!("the connection took nothing for {TIMEOUT:?}")),
        }
    }
}

#[async_trait]
impl Receipt for AmqpReceipt {
    async fn ack(self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        Self::sent(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn requeue(self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        Self::sent(self.acker.nack(REQUEUE)).await
    }

    async fn dead_letter(self: Box<Self>, body: Vec<u8>, reason: &str) -> Result<(), String> {
        let mut headers = FieldTable::default();
        headers.insert(REASON_HEADER.into(), AMQPValue::LongString(shortened(reason).into()));
        let exchange = names::dead_exchange(&self.prefix);
        self.move_to(exchange, String::new(), headers, body).await
    }

    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        self.source.rest();
        // To the end of its queue as a new message: returned, it would be the first again, and
        // only so many returns are granted to it.
        let queue = self.source.queue.clone();
        self.move_to(String::new(), queue, FieldTable::default(), body).await
    }
}

impl Drop for AmqpReceipt {
    fn drop(&mut self) {
        if self.acker.usable() {
            let (acker, session) = (self.acker.clone(), self.session.clone());
            self.runtime.spawn(async move {
                // If this doesn't reach the broker, the end of the connection does.
                let _ = acker.nack(REQUEUE).await;
                drop(session);
            });
        }
    }
}

fn shortened(reason: &str) -> &str {
    let mut end = reason.len().min(MAX_REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = "ä".repeat(MAX_REASON_BYTES);
        assert_eq!(shortened(&format!("x{long}")).len(), MAX_REASON_BYTES - 1);
    }
}
