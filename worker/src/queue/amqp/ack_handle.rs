//! The right to settle one delivery from RabbitMQ.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use lapin::{Acker, options::BasicAckOptions, types::FieldTable};
use sandfleet_common::{PrintableText, names};
use sandfleet_transport::{Message, Publisher};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, watch},
};

use super::{
    headers::{carried, note_death, put_off_once_more, returns},
    poller::Source,
    republish::{REQUEUE, move_to, sent},
    session::Session,
};
use crate::queue::AckHandle;

pub(super) struct AmqpAckHandle {
    pub(super) acker: Acker,
    /// The message's id, as the producer set it.
    pub(super) id: String,
    /// Its headers, which go where it goes: what they say is the message's and not the job's.
    pub(super) headers: FieldTable,
    /// Who published it first, if the broker vouches for it.
    pub(super) published_by: Option<String>,
    pub(super) source: Arc<Source>,
    pub(super) prefix: Arc<str>,
    pub(super) publisher: Arc<Publisher>,
    /// A delivery is settled on the channel it came over, so that stays open until then.
    pub(super) session: Arc<Session>,
    pub(super) runtime: Handle,
    /// Whether the queue was stopped.
    pub(super) stopped: watch::Receiver<bool>,
    /// The slot it occupies until it is settled.
    pub(super) _slot: Option<OwnedSemaphorePermit>,
}

impl AmqpAckHandle {
    /// Whether the channel it came over still stands.
    pub(super) fn is_settleable(&self) -> bool {
        self.acker.usable()
    }

    /// Moves the message, whose time is over, to the dead letters.
    pub(super) async fn expire(self, body: Vec<u8>) -> Result<(), String> {
        let mut headers = self.carried();
        note_death(&mut headers, "expired", &self.source.queue, Some(Timestamp::now()));
        let exchange = names::dead_exchange(&self.prefix);
        Box::new(self).move_to(exchange, String::new(), headers, body).await
    }

    /// The headers that go on with it.
    fn carried(&self) -> FieldTable {
        carried(&self.headers, self.published_by.as_deref())
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
        let mut stopped = self.stopped.clone();
        // An error means that the queue was dropped.
        let stopped = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        move_to(&self.publisher, &self.acker, message, returns(&self.headers), stopped).await
    }
}

#[async_trait]
impl AckHandle for AmqpAckHandle {
    async fn ack(self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        sent(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn requeue(self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        sent(self.acker.nack(REQUEUE)).await
    }

    async fn later(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        let (exchange, headers) = put_off_once_more(&self.prefix, self.carried());
        let queue = self.source.queue.clone();
        self.move_to(exchange, queue, headers, body).await
    }

    async fn set_aside(
        self: Box<Self>,
        body: Vec<u8>,
        reason: &PrintableText,
    ) -> Result<(), String> {
        let mut headers = self.carried();
        note_death(&mut headers, reason, &self.source.queue, Some(Timestamp::now()));
        let exchange = names::unreadable_exchange(&self.prefix);
        self.move_to(exchange, String::new(), headers, body).await
    }

    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        self.source.back_off();
        // To the end of its queue as a new message: returned, it would be the first again, and
        // only so many returns are granted to it.
        let queue = self.source.queue.clone();
        let headers = self.carried();
        // Over an exchange of the fleet's: who may publish to the default one reaches every queue of the broker.
        let exchange = names::requeue_exchange(&self.prefix);
        self.move_to(exchange, queue, headers, body).await
    }
}

impl Drop for AmqpAckHandle {
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
