//! Looking through the messages that no worker settled, without using them up.
//!
//! AMQP has no way to read a message and leave it where it is: it is taken and returned. What that does, as measured on
//! RabbitMQ 3.10 and 4.0:
//!
//! - Every return counts (`x-delivery-count`), by `basic.nack` as by the end of a channel, and a queue grants only so many
//!   before it gives a message up: the dead letters 100; the unreadable messages, if an older version made the queue, 20 on
//!   RabbitMQ 4. So a message that half of them are used up of is published anew and only then acknowledged, which
//!   begins a new count.
//! - Places are not kept: what is returned comes behind all that was returned before, and more than 32 messages come back in
//!   no order. So a look goes through all messages, or the next one would find others first; who lists them sorts them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lapin::{
    Channel, Connection, ErrorKind,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{
    Isolation, PrintableText, Priority,
    names::{self, TENANT_SHARDS},
};
use sandfleet_transport::{Broker, Error, Kept, Message, Publisher, Topology};

use super::{
    config::{AmqpConfig, TIMEOUT},
    dead_letters::{Death, deaths},
    expiry,
    headers::{
        AT_HEADER, PUT_OFF_HEADER, QUEUE_HEADER, REASON_HEADER, carried, malformed, note_death,
        returns,
    },
    publisher_user::publisher_user,
};

/// How many messages a look goes through at most: a get takes a millisecond.
const LONG: u32 = 10_000;

/// The messages that no worker settled.
pub struct KeptMessages {
    broker: Broker,
    topology: Topology,
    publisher: Publisher,
    worker_users: BTreeSet<String>,
    connection: Connection,
}

/// A look through one of their queues. What was taken goes back when it is [closed](Self::close); or when it is dropped,
/// which the broker counts as well.
pub struct Look<'a> {
    from: &'a KeptMessages,
    kept: Kept,
    queue: String,
    channel: Channel,
    /// How many messages were there at the beginning, and how many of them are left to be taken.
    all: u32,
    left: u32,
    /// How often a message may be returned before it is published anew.
    returns: u32,
    /// The last message that was left where it is.
    last: Option<lapin::Acker>,
}

/// A message that was taken to look at it.
pub struct KeptMessage {
    /// Where it is.
    pub kept: Kept,
    /// Why it is there, and which queue it was in before.
    pub death: Death,
    /// Since when it is there, if that was noted: by the broker's clock, or a worker's.
    pub since: Option<Timestamp>,
    /// Its body.
    pub body: Vec<u8>,
    /// The message id that its producer gave it.
    pub message_id: Option<String>,
    /// Who published it first, if the broker vouches for it.
    pub published_by: Option<String>,
    /// Why its properties can't be parsed, if that is so.
    pub malformed: Option<PrintableText>,
    /// How often it was returned to this queue.
    pub returns: u32,
    headers: FieldTable,
    acker: lapin::Acker,
}

impl KeptMessages {
    /// Connects with the settings of a worker.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], [`Error::Broker`] and [`Error::TimedOut`].
    pub async fn connect(config: &AmqpConfig) -> Result<Self, Error> {
        let broker = Broker::new(&config.url, &config.name, TIMEOUT, &config.tls)?;
        let topology = config.topology(Vec::new());
        // Nothing is declared: to look with a wrong prefix must not make a fleet's queues.
        let connection = broker.connect().await?;
        let publisher = Publisher::new(broker.clone(), topology.clone());
        let worker_users = config.worker_users(&broker);
        Ok(Self { broker, topology, publisher, worker_users, connection })
    }

    /// Whether there is such a queue. The exchange that leads back to queues of jobs doesn't tell: it puts aside what
    /// fits none.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`].
    pub async fn has_queue(&self, queue: &str) -> Result<bool, Error> {
        let Self { broker, connection, .. } = self;
        // A channel of its own: the broker answers by closing it if there is no such queue.
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
        match broker.with_timeout(format!("look at queue {queue}"), asked).await {
            Ok(_) => Ok(true),
            Err(Error::Broker { said, .. }) if is_not_found(&said) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins to look through the messages that are in one of the queues now.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`].
    pub async fn look(&self, kept: Kept) -> Result<Look<'_>, Error> {
        let Self { broker, connection, topology, .. } = self;
        let queue = kept.queue(&topology.prefix);
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = channel.queue_declare(queue.as_str().into(), passive, FieldTable::default());
        let found = broker.with_timeout(format!("look at queue {queue}"), asked).await?;
        let returns = topology.returns_granted(broker, connection, kept).await? / 2;
        let all = found.message_count();
        Ok(Look { from: self, kept, queue, channel, all, left: all, returns, last: None })
    }
}

impl Look<'_> {
    /// How many messages were there at the beginning.
    pub fn all(&self) -> u32 {
        self.all
    }

    /// Whether there are too many to go through them all: then the next look finds others first.
    pub fn is_long(&self) -> bool {
        self.all > LONG
    }

    /// The next of the messages that were there at the beginning.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`].
    pub async fn next(&mut self) -> Result<Option<KeptMessage>, Error> {
        // What is published anew comes behind all these.
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let get = self.channel.basic_get(self.queue.as_str().into(), BasicGetOptions::default());
        let action = format!("take a message from queue {}", self.queue);
        let found = self.from.broker.with_timeout(action, get).await?;
        Ok(found.map(|BasicGetMessage { delivery, .. }| {
            let headers = expiry::headers(&delivery.properties, Timestamp::now());
            let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string);
            KeptMessage {
                kept: self.kept,
                death: Death::of(&headers, &self.from.topology.prefix),
                since: since(&headers, &self.from.topology.prefix),
                message_id,
                published_by: publisher_user(&delivery.properties, &self.from.worker_users),
                malformed: malformed(&headers),
                returns: returns(&headers),
                body: delivery.data,
                headers,
                acker: delivery.acker,
            }
        }))
    }

    /// Leaves a message where it is.
    ///
    /// # Errors
    /// If the broker doesn't confirm it, where it is published anew; it stays all the same.
    pub async fn leave(&mut self, message: KeptMessage) -> Result<(), Error> {
        if message.returns < self.returns {
            self.last = Some(message.acker);
            return Ok(());
        }
        let mut headers = message.carried();
        // Since when it is there, and not since when it was published anew.
        note_death(&mut headers, &message.death.reason, &message.death.queue, message.since);
        let exchange = self.kept.exchange(&self.from.topology.prefix);
        self.move_to(message, exchange, String::new(), headers).await
    }

    /// Puts a message into a queue of jobs, as one that was never given up. The broker has it on disk there before it is
    /// acknowledged here, so it may be in both if that fails, and never in neither. There has to be [such a queue](KeptMessages::has_queue).
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Blocked`], [`Error::Broker`] and
    /// [`Error::TimedOut`]. The message then stays where it is.
    pub async fn requeue(&self, message: KeptMessage, queue: &str) -> Result<(), Error> {
        let mut headers = FieldTable::default();
        let ends_here = [AT_HEADER, PUT_OFF_HEADER, QUEUE_HEADER, REASON_HEADER];
        for (name, value) in message.carried().inner() {
            if !ends_here.contains(&name.as_str()) {
                headers.insert(name.clone(), value.clone());
            }
        }
        let exchange = names::requeue_exchange(&self.from.topology.prefix);
        self.move_to(message, exchange, queue.to_owned(), headers).await
    }

    /// Removes a message for good.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`]. It may be gone or not.
    pub async fn remove(&self, message: KeptMessage) -> Result<(), Error> {
        self.acknowledge(&message.acker).await
    }

    /// Returns what was left where it was, and makes sure that the broker has heard of the rest.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`]: then the end of the connection returns it.
    pub async fn close(mut self) -> Result<(), Error> {
        // What was not looked at comes first otherwise.
        while !self.is_long()
            && let Some(message) = self.next().await?
        {
            self.leave(message).await?;
        }
        let broker = &self.from.broker;
        if let Some(last) = &self.last {
            // All that was not acknowledged, up to the last. They are there again when the channel is closed; without this
            // it would be some time later.
            let all = BasicNackOptions { multiple: true, requeue: true };
            broker.with_timeout("return the messages", last.nack(all)).await?;
        }
        let closing = self.channel.close(200, "looked".into());
        broker.with_timeout("return the messages", closing).await
    }

    async fn move_to(
        &self,
        message: KeptMessage,
        exchange: String,
        routing_key: String,
        headers: FieldTable,
    ) -> Result<(), Error> {
        let id = message.message_id.unwrap_or_default();
        let copy = Message { exchange, routing_key, id, headers, body: message.body };
        self.from.publisher.publish(copy).await?;
        self.acknowledge(&message.acker).await
    }

    async fn acknowledge(&self, acker: &lapin::Acker) -> Result<(), Error> {
        let ack = acker.ack(BasicAckOptions::default());
        let is_sent = self.from.broker.with_timeout("acknowledge a message", ack).await?;
        match is_sent {
            true => Ok(()),
            // The library's way to say that the channel is gone.
            false => {
                let gone = std::io::Error::other("the channel it came over is gone");
                Err(Error::Broker {
                    broker: self.from.broker.display_url().into(),
                    action: "acknowledge a message".into(),
                    said: Box::new(gone.into()),
                })
            }
        }
    }
}

impl KeptMessage {
    /// The queue of jobs that it was in, if that is known: one of the fleet's, whatever its headers say.
    pub fn origin(&self, prefix: &str) -> Option<String> {
        let queue = |value: Option<&AMQPValue>| match value {
            Some(AMQPValue::LongString(name)) => Some(name.to_string()),
            _ => None,
        };
        let of_broker =
            deaths(&self.headers, prefix).filter_map(|fields| queue(fields.inner().get("queue")));
        let known = of_broker.chain(queue(self.headers.inner().get(QUEUE_HEADER)));
        let mut known = known.filter(|name| is_job_queue(prefix, name));
        known.next()
    }

    /// Whether the time is over that its producer gave it in the property `expiration`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        expiry::is_over(&self.headers, now)
    }

    /// Its headers by name, as people read them.
    pub fn headers(&self) -> Vec<(PrintableText, PrintableText)> {
        let shown = |value: &AMQPValue| match value {
            AMQPValue::LongString(text) => PrintableText::new(text),
            AMQPValue::ShortString(text) => PrintableText::new(text),
            AMQPValue::LongLongInt(number) => PrintableText::new(number),
            other => PrintableText::new(format_args!("{other:?}")),
        };
        let headers = self.headers.inner().iter();
        headers.map(|(name, value)| (PrintableText::new(name), shown(value))).collect()
    }

    fn carried(&self) -> FieldTable {
        carried(&self.headers, self.published_by.as_deref())
    }
}

fn is_not_found(said: &lapin::Error) -> bool {
    matches!(said.kind(), ErrorKind::ProtocolError(said)
        if *said.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// When a message with these headers was given up.
fn since(headers: &FieldTable, prefix: &str) -> Option<Timestamp> {
    let by_broker = deaths(headers, prefix).next().and_then(|fields| fields.inner().get("time"));
    match (headers.inner().get(AT_HEADER), by_broker) {
        (Some(AMQPValue::LongLongInt(ms)), _) => Timestamp::from_millisecond(*ms).ok(),
        (_, Some(AMQPValue::Timestamp(seconds))) => {
            Timestamp::from_second(i64::try_from(*seconds).ok()?).ok()
        }
        _ => None,
    }
}

fn is_job_queue(prefix: &str, name: &str) -> bool {
    let both =
        |isolation: Isolation| Priority::ALL.iter().map(move |priority| (isolation, *priority));
    Isolation::ALL.iter().copied().flat_map(both).any(|(isolation, priority)| {
        let queue = names::job_queue(prefix, isolation, priority);
        name == queue
            || (0..TENANT_SHARDS)
                .any(|shard| name == names::shard_queue(prefix, isolation, priority, shard))
    })
}
