//! Dead letters: messages that the broker or a worker gave up, to be answered with a result.
//!
//! The queue of dead letters is only passed through: what names a job is answered and gone, and
//! what doesn't goes on to a queue without a consumer, for operators. Leaving it
//! where it is would mean to return it again and again, and brokers drop what is returned often.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::Timestamp;
use lapin::{
    Acker, Connection,
    message::Delivery as Message,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{PrintableText, names};
use sandfleet_transport::{Broker, Error, LATER, MessageTrace, Publisher, Topology};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc},
    task::JoinHandle,
    time,
};
use tracing::debug;

use super::{
    config::{AmqpConfig, TIMEOUT},
    failure::why,
    headers::{
        QUEUE_HEADER, REASON_HEADER, carried, malformed, note_death, put_off, put_off_once_more,
        returns,
    },
    publisher_user::publisher_user,
    republish::{REQUEUE, move_to, sent},
};
use crate::{
    queue::{AckHandle, Delivery},
    trouble::Trouble,
};

/// How many are taken and not settled at a time.
pub const DEAD_LETTERS_AT_A_TIME: u16 = 8;
/// The pause before a lost connection is made again.
const PAUSE: Duration = Duration::from_secs(2);

/// Why the broker put a message aside, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// `delivery_limit`, `expired`, `rejected` or `maxlen`.
    pub reason: PrintableText,
    /// The queue that it was in.
    pub queue: PrintableText,
    /// How often that happened to it.
    pub count: i64,
}

/// Why dead letters can't be had, if they were asked for and can't.
#[derive(Clone, Default)]
pub struct DeadLetterStatus(Arc<Mutex<Option<Trouble>>>);

impl DeadLetterStatus {
    /// Why they can't be had.
    ///
    /// # Errors
    /// That.
    pub fn check(&self) -> Result<(), Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    fn set(&self, trouble: Option<Trouble>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// The dead letters of a fleet. Loses its connection and comes back by itself, for ever.
pub struct DeadLetters {
    letters: AsyncMutex<mpsc::Receiver<(Delivery, Death)>>,
    consumer: JoinHandle<()>,
}

impl DeadLetters {
    /// Starts taking dead letters, over a connection of its own. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if the URL is none.
    pub fn connect(config: &AmqpConfig, status: DeadLetterStatus) -> Result<Self, Error> {
        let broker = Broker::new(&config.url, &config.name, TIMEOUT, &config.tls)?;
        let worker_users = config.worker_users(&broker);
        let topology = config.topology(Vec::new());
        let (sender, letters) = mpsc::channel(usize::from(DEAD_LETTERS_AT_A_TIME));
        let consumer = Consumer {
            publisher: Arc::new(Publisher::new(broker.clone(), topology.clone())),
            broker,
            topology,
            letters: sender,
            status,
            worker_users,
        };
        let consumer = tokio::spawn(consumer.run());
        Ok(Self { letters: AsyncMutex::new(letters), consumer })
    }

    /// The next one, and why it is one. Settled as `Done` it is gone; as `Unreadable` it is
    /// kept for operators.
    pub async fn next(&self) -> (Delivery, Death) {
        match self.letters.lock().await.recv().await {
            Some(letter) => letter,
            // The consumer never ends by itself.
            None => std::future::pending().await,
        }
    }
}

impl Drop for DeadLetters {
    fn drop(&mut self) {
        self.consumer.abort();
    }
}

struct Consumer {
    broker: Broker,
    topology: Topology,
    publisher: Arc<Publisher>,
    letters: mpsc::Sender<(Delivery, Death)>,
    status: DeadLetterStatus,
    worker_users: BTreeSet<String>,
}

impl Consumer {
    async fn run(self) {
        loop {
            let Err(error) = self.consume().await;
            // The worker says so once, however often it is tried.
            debug!(error = why(&error), "no dead letters from the broker; connecting again");
            self.status.set(Some((&error).into()));
            time::sleep(PAUSE).await;
        }
    }

    async fn consume(&self) -> Result<std::convert::Infallible, Error> {
        let broker = &self.broker;
        let connection = Arc::new(broker.connect().await?);
        self.topology.declare(broker, &connection).await?;
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        let prefetch = channel.basic_qos(DEAD_LETTERS_AT_A_TIME, BasicQosOptions { global: false });
        broker.with_timeout("limit the prefetch", prefetch).await?;
        let queue = names::dead_queue(&self.topology.prefix);
        let consume = channel.basic_consume(
            queue.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let action = format!("consume from queue {queue}");
        let mut consumer = broker.with_timeout(action.clone(), consume).await?;
        let ended = |source: lapin::Error| Error::Broker {
            broker: broker.display_url().into(),
            action: action.clone(),
            said: Box::new(source),
        };
        self.status.set(None);
        while let Some(message) = consumer.next().await {
            let message = message.map_err(ended)?;
            // The receiver is gone only when the worker ends.
            let _ = self.letters.send(self.letter(message, &connection)).await;
        }
        // The library's way to tell that the broker ended the subscription.
        Err(ended(std::io::Error::other("the broker ended the subscription").into()))
    }

    fn letter(&self, message: Message, connection: &Arc<Connection>) -> (Delivery, Death) {
        let headers = message.properties.headers().clone().unwrap_or_default();
        let death = Death::of(&headers, &self.topology.prefix);
        let (put_off, malformed) = (put_off(&headers), malformed(&headers));
        let trace = MessageTrace::of(&headers);
        let published_by = publisher_user(&message.properties, &self.worker_users);
        let id = message.properties.message_id().as_ref().map(ToString::to_string);
        let ack_handle = LetterAckHandle {
            acker: message.acker,
            headers,
            published_by: published_by.clone(),
            id: id.unwrap_or_default(),
            prefix: self.topology.prefix.clone(),
            death: death.clone(),
            publisher: Arc::clone(&self.publisher),
            _connection: Arc::clone(connection),
        };
        (
            Delivery {
                body: message.data,
                put_off,
                malformed,
                is_redelivered: message.redelivered,
                taken_until: None,
                published_by,
                trace,
                ack_handle: Box::new(ack_handle),
            },
            death,
        )
    }
}

impl Death {
    /// What the broker notes in a message that it puts aside, the last time first. Where a message only
    /// waited to come back, that was no death. A worker that puts a letter off repeats in headers of its
    /// own what it was told: newer brokers forget what they noted when a message is published again.
    pub(super) fn of(headers: &FieldTable, prefix: &str) -> Self {
        let text = |value: Option<&AMQPValue>| match value {
            Some(AMQPValue::LongString(text)) => Some(PrintableText::new(text)),
            _ => None,
        };
        let last = deaths(headers, prefix).next();
        let noted = |field: &str, own: &str| {
            text(last.and_then(|fields| fields.inner().get(field)))
                .or_else(|| text(headers.inner().get(own)))
        };
        Self {
            reason: noted("reason", REASON_HEADER).unwrap_or_else(|| "no reason given".into()),
            queue: noted("queue", QUEUE_HEADER).unwrap_or_else(|| "-".into()),
            count: match last.and_then(|fields| fields.inner().get("count")) {
                Some(AMQPValue::LongLongInt(count)) => *count,
                _ => 1,
            },
        }
    }
}

/// What the broker noted each time that it put a message with these headers aside, the last time first. Where the message
/// only waited to come back, that was no death.
pub(super) fn deaths<'a>(
    headers: &'a FieldTable,
    prefix: &str,
) -> impl Iterator<Item = &'a FieldTable> {
    let only_waited = move |fields: &FieldTable| match fields.inner().get("queue") {
        Some(AMQPValue::LongString(queue)) => {
            (0..LATER.len()).any(|step| names::later_queue(prefix, step) == queue.to_string())
        }
        _ => false,
    };
    let deaths = match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice(),
        _ => &[],
    };
    deaths.iter().filter_map(move |death| match death {
        AMQPValue::FieldTable(fields) if !only_waited(fields) => Some(fields),
        _ => None,
    })
}

struct LetterAckHandle {
    acker: Acker,
    headers: FieldTable,
    published_by: Option<String>,
    id: String,
    prefix: String,
    death: Death,
    publisher: Arc<Publisher>,
    /// It is settled over the channel it came over.
    _connection: Arc<Connection>,
}

impl LetterAckHandle {
    /// Publishes the letter elsewhere and settles it here.
    async fn move_to(
        self: Box<Self>,
        exchange: String,
        routing_key: String,
        headers: FieldTable,
        body: Vec<u8>,
    ) -> Result<(), String> {
        let id = self.id.clone();
        let message = sandfleet_transport::Message { exchange, routing_key, id, headers, body };
        // A worker that stops drops the dead-letter handler, and this pause with it.
        let stopped = std::future::pending();
        move_to(&self.publisher, &self.acker, message, returns(&self.headers), stopped).await
    }
}

#[async_trait]
impl AckHandle for LetterAckHandle {
    async fn ack(self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        sent(self.acker.ack(BasicAckOptions::default())).await
    }

    async fn requeue(self: Box<Self>, _body: Vec<u8>) -> Result<(), String> {
        sent(self.acker.nack(REQUEUE)).await
    }

    async fn postpone(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        // A letter takes no place of a tenant's: it can only go back to where it was.
        self.requeue(body).await
    }

    async fn later(self: Box<Self>, body: Vec<u8>) -> Result<(), String> {
        let (exchange, mut headers) =
            put_off_once_more(&self.prefix, carried(&self.headers, self.published_by.as_deref()));
        let Death { reason, queue, .. } = &self.death;
        note_death(&mut headers, reason, queue, Some(Timestamp::now()));
        let queue = names::dead_queue(&self.prefix);
        self.move_to(exchange, queue, headers, body).await
    }

    async fn set_aside(
        self: Box<Self>,
        body: Vec<u8>,
        reason: &PrintableText,
    ) -> Result<(), String> {
        let mut headers = carried(&self.headers, self.published_by.as_deref());
        note_death(&mut headers, reason, &self.death.queue, Some(Timestamp::now()));
        let exchange = names::unreadable_exchange(&self.prefix);
        self.move_to(exchange, String::new(), headers, body).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_death_is_told() {
        let mut fields = FieldTable::default();
        fields.insert("reason".into(), AMQPValue::LongString("delivery_limit".into()));
        fields.insert("queue".into(), AMQPValue::LongString("q".into()));
        fields.insert("count".into(), AMQPValue::LongLongInt(2));
        let mut headers = FieldTable::default();
        let mut waited = FieldTable::default();
        waited.insert("reason".into(), AMQPValue::LongString("expired".into()));
        let queue = names::later_queue("p", 1);
        waited.insert("queue".into(), AMQPValue::LongString(queue.into()));
        let deaths = vec![AMQPValue::FieldTable(waited), AMQPValue::FieldTable(fields)];
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        let death = Death { reason: "delivery_limit".into(), queue: "q".into(), count: 2 };
        assert_eq!(Death::of(&headers, "p"), death);
        assert_eq!(Death::of(&FieldTable::default(), "p").reason, "no reason given");
    }
}
