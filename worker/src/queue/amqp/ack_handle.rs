//! The right to settle one delivery from RabbitMQ.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{PrintableText, names};
use sandfleet_transport::{MALFORMED_HEADER, Message, Publisher};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time};

use super::{
    super::later,
    AckHandle,
    backoff::{self, jittered},
    dead_letters::QUEUE_HEADER,
    poller::Source,
    supervisor::{Session, why},
};

/// The header of a dead letter that says why it is one.
pub(super) const REASON_HEADER: &str = "x-sandfleet-reason";
/// The header that says how often a message was put off.
const PUT_OFF_HEADER: &str = "x-sandfleet-put-off";
/// How the names of headers begin that are the broker's.
const BROKERS: &str = "x-";
/// How those begin that are ours.
const OURS: &str = "x-sandfleet-";
/// Headers by which a publisher has the broker deliver copies elsewhere (RabbitMQ's sender-selected
/// distribution). Published again they would route again, with the worker's rights, and a message that
/// names its own queue would multiply without end.
const ROUTING: [&str; 2] = ["CC", "BCC"];
/// What a message may carry on in headers of its own, names and values together. All headers travel in
/// one frame: what just fits into it when it arrives must not grow past it when something is added.
const MAX_CARRIED_BYTES: usize = 4096;
/// How long the socket may take to swallow a few bytes.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

pub(super) struct AmqpAckHandle {
    pub(super) acker: Acker,
    /// The message's id, as the producer set it.
    pub(super) id: String,
    /// Its headers, which go where it goes: what they say is the message's and not the job's.
    pub(super) headers: FieldTable,
    pub(super) source: Arc<Source>,
    pub(super) prefix: Arc<str>,
    pub(super) publisher: Arc<Publisher>,
    /// A delivery is settled on the channel it came over, so that stays open until then.
    pub(super) session: Arc<Session>,
    pub(super) runtime: Handle,
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
        let mut headers = carried(&self.headers);
        for (name, text) in [(REASON_HEADER, "expired"), (QUEUE_HEADER, &self.source.queue)] {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        }
        let exchange = names::dead_exchange(&self.prefix);
        Box::new(self).move_to(exchange, String::new(), headers, body).await
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
        move_to(&self.publisher, &self.acker, message, returns(&self.headers)).await
    }
}

/// Publishes a message elsewhere and settles it where it came from, to which it was returned so many
/// times before.
pub(super) async fn move_to(
    publisher: &Publisher,
    acker: &Acker,
    message: Message,
    returns: u32,
) -> Result<(), String> {
    // First there and only then gone from here: twice is better than never.
    match publisher.publish(message).await {
        Ok(()) => sent(acker.ack(BasicAckOptions::default())).await,
        Err(error) => {
            let reason = why(&error);
            // It would be the next to be delivered, and only so many returns are granted to it. Its slot
            // stays taken meanwhile, so that no more of them are held than there are slots.
            time::sleep(jittered(backoff::pause(returns))).await;
            sent(acker.nack(REQUEUE)).await?;
            Err(reason)
        }
    }
}

/// Waits until a settlement is on its way.
pub(super) async fn sent(sending: impl Future<Output = lapin::Result<bool>>) -> Result<(), String> {
    match time::timeout(TIMEOUT, sending).await {
        Ok(Ok(true)) => Ok(()),
        // The library's way to say that the channel was gone before.
        Ok(Ok(false)) => Err("the channel it came over is gone".into()),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err(format!("the connection took nothing for {TIMEOUT:?}")),
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
        let (exchange, headers) = put_off_once_more(&self.prefix, carried(&self.headers));
        let queue = self.source.queue.clone();
        self.move_to(exchange, queue, headers, body).await
    }

    async fn set_aside(
        self: Box<Self>,
        body: Vec<u8>,
        reason: &PrintableText,
    ) -> Result<(), String> {
        let mut headers = carried(&self.headers);
        headers.insert(REASON_HEADER.into(), AMQPValue::LongString(reason.as_str().into()));
        let queue = names::unreadable_queue(&self.prefix);
        self.move_to(String::new(), queue, headers, body).await
    }

    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        self.source.back_off();
        // To the end of its queue as a new message: returned, it would be the first again, and
        // only so many returns are granted to it.
        let queue = self.source.queue.clone();
        let headers = carried(&self.headers);
        self.move_to(String::new(), queue, headers, body).await
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

/// The headers that a message keeps when it is published again: plain values of its own within
/// [`MAX_CARRIED_BYTES`]; not those that the broker sets anew, nor any that route, nor the one that says
/// that the others were lost, since what is published then is sound.
pub(super) fn carried(headers: &FieldTable) -> FieldTable {
    let mut carried = FieldTable::default();
    let mut left = MAX_CARRIED_BYTES;
    // Ours first: however much else there is, how often it was put off and when it expires is kept.
    let is_ours = |name: &str| name.starts_with(OURS);
    let (ours, others): (Vec<_>, Vec<_>) =
        headers.inner().iter().partition(|(name, _)| is_ours(name.as_str()));
    for (name, value) in ours.into_iter().chain(others) {
        let key = name.as_str();
        let is_brokers = key.starts_with(BROKERS) && !is_ours(key);
        if key == MALFORMED_HEADER {
            continue;
        }
        if is_brokers || ROUTING.iter().any(|routing| key.eq_ignore_ascii_case(routing)) {
            continue;
        }
        let Some(bytes) = plain_bytes(value) else { continue };
        let Some(rest) = left.checked_sub(key.len() + bytes) else { continue };
        left = rest;
        carried.insert(name.clone(), value.clone());
    }
    carried
}

/// How long a header's value is; nothing for tables, arrays and what holds bytes, which no client of ours
/// sends.
fn plain_bytes(value: &AMQPValue) -> Option<usize> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes().len()),
        AMQPValue::ShortString(text) => Some(text.as_str().len()),
        AMQPValue::FieldTable(_) | AMQPValue::FieldArray(_) | AMQPValue::ByteArray(_) => None,
        _ => Some(16),
    }
}

/// Why the properties of a message with these headers could not be parsed, if that is so.
pub(super) fn malformed(headers: &FieldTable) -> Option<PrintableText> {
    match headers.inner().get(MALFORMED_HEADER)? {
        AMQPValue::LongString(why) => Some(PrintableText::new(why)),
        _ => Some("no reason given".into()),
    }
}

/// How often a message with these headers was put off.
pub(super) fn put_off(headers: &FieldTable) -> u32 {
    match headers.inner().get(PUT_OFF_HEADER) {
        Some(AMQPValue::LongLongInt(times)) => u32::try_from(*times).unwrap_or(0),
        _ => 0,
    }
}

/// How often the broker took a message with these headers back.
pub(super) fn returns(headers: &FieldTable) -> u32 {
    match headers.inner().get("x-delivery-count") {
        Some(AMQPValue::LongLongInt(times)) => u32::try_from(*times).unwrap_or(0),
        _ => 0,
    }
}

/// The exchange behind which such a message waits, and its headers then.
pub(super) fn put_off_once_more(prefix: &str, mut headers: FieldTable) -> (String, FieldTable) {
    let before = put_off(&headers);
    let times = AMQPValue::LongLongInt(i64::from(before) + 1);
    headers.insert(PUT_OFF_HEADER.into(), times);
    (names::later_queue(prefix, later::step(before)), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_again_routes_nowhere_else_and_fits_into_a_frame() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        for routing in ["CC", "BCC", "cc"] {
            headers.insert(routing.into(), text("sandfleet.jobs.container.interactive"));
        }
        headers.insert("x-death".into(), text("the broker's"));
        headers.insert(MALFORMED_HEADER.into(), text("a name that is not UTF-8"));
        headers.insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
        headers.insert("long".into(), text(&"x".repeat(MAX_CARRIED_BYTES)));
        headers.insert("traceparent".into(), text("00-1-2-00"));
        headers.insert(PUT_OFF_HEADER.into(), AMQPValue::LongLongInt(3));
        let kept = carried(&headers);
        let names: Vec<&str> = kept.inner().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["traceparent", PUT_OFF_HEADER]);

        let mut many = FieldTable::default();
        for number in 0..2000 {
            many.insert(format!("header-{number}").into(), text(&"x".repeat(100)));
        }
        let kept: usize = carried(&many).inner().keys().map(|name| name.as_str().len() + 100).sum();
        assert!((MAX_CARRIED_BYTES / 2..=MAX_CARRIED_BYTES).contains(&kept), "{kept} bytes");
        many.insert(PUT_OFF_HEADER.into(), AMQPValue::LongLongInt(7));
        assert_eq!(put_off(&carried(&many)), 7, "ours is kept first");
    }
}
