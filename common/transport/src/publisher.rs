//! Messages to the broker, each confirmed.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::FieldTable,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore},
    time::{self, Instant},
};
use tracing::debug;

use crate::{Broker, Error, QueueLimits, Topology, queue_depths::QueueDepths};

/// How many tasks publish at a time; each has a channel to itself meanwhile.
const CHANNELS: usize = 64;
/// How much of a batch may be on its way without a confirm: enough to keep the broker busy, and
/// a bound on what the library buffers.
const WINDOW_MESSAGES: usize = 512;
const WINDOW_BYTES: usize = 32 << 20;
/// AMQP's number for "survives a restart of the broker".
const PERSISTENT: u8 = 2;

pub struct Message {
    /// The exchange, or nothing for the one that leads to the queue named by `routing_key`.
    pub exchange: String,
    pub routing_key: String,
    /// What the operator sees it as; nothing if it has no id.
    pub id: String,
    pub headers: FieldTable,
    pub body: Vec<u8>,
}

/// Publishes over one connection, which is made when it is needed and made again when it is lost.
pub struct Publisher {
    broker: Broker,
    topology: Topology,
    current: AsyncMutex<Current>,
    turns: Semaphore,
    queue_depths: QueueDepths,
    looking: AsyncMutex<()>,
}

/// The connection at present, and how the last attempt at one failed.
#[derive(Default)]
struct Current {
    link: Option<Arc<Link>>,
    failure: Option<(Instant, Error)>,
}

struct Link {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
}

type Outcome = Result<(), Error>;

impl Publisher {
    /// A publisher to `broker` that declares `topology` whenever it connects.
    pub fn new(broker: Broker, topology: Topology) -> Self {
        Self {
            broker,
            topology,
            current: AsyncMutex::default(),
            turns: Semaphore::new(CHANNELS),
            queue_depths: QueueDepths::default(),
            looking: AsyncMutex::default(),
        }
    }

    /// Connects now rather than at the first message.
    ///
    /// # Errors
    /// [`Error::Broker`], [`Error::TimedOut`] and [`Error::Mismatch`].
    pub async fn connect(&self) -> Result<(), Error> {
        self.link().await.map(drop)
    }

    /// Whether the broker takes no messages over the connection at present, as far as is known.
    pub fn is_blocked(&self) -> bool {
        let current = self.current.try_lock();
        let link = current.ok().and_then(|current| current.link.clone());
        link.is_some_and(|link| link.connection.status().blocked())
    }

    /// Publishes `message` and returns when the broker has it on disk.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub async fn publish(&self, message: Message) -> Result<(), Error> {
        self.publish_all(&[message]).await.pop().expect("one outcome a message")
    }

    /// Publishes `messages`, many of them on their way at a time, and returns what became of each,
    /// in their order. What a lost connection left open is published once more on a new one, so a
    /// message may reach its queue twice.
    ///
    /// # Errors
    /// For each message: [`Error::Unroutable`], [`Error::QueueFull`], [`Error::Blocked`],
    /// [`Error::TimedOut`], [`Error::Broker`] or [`Error::Mismatch`].
    pub async fn publish_all(&self, messages: &[Message]) -> Vec<Result<(), Error>> {
        let mut outcomes: Vec<Option<Outcome>> = messages.iter().map(|_| None).collect();
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        for last_try in [false, true] {
            let link = match self.link().await {
                Ok(link) => link,
                Err(error) => {
                    fill(&mut outcomes, &error);
                    break;
                }
            };
            let Err(error) = self.attempt(&link, messages, &mut outcomes).await else { break };
            let lost = !link.connection.status().connected();
            // A blocked connection is kept: it comes back by itself, and closing it would have to
            // wait for that too. Any other that failed is not trusted with another message.
            if !link.connection.status().blocked() {
                self.discard(&link).await;
            }
            if last_try || !lost {
                fill(&mut outcomes, &error);
                break;
            }
            debug!(%error, "connection to the broker was lost; publishing once more");
        }
        outcomes.into_iter().map(|outcome| outcome.expect("every message has one")).collect()
    }

    /// The one of two queues in which less waits, as far as the broker tells; the first if it
    /// doesn't. That is no failure here: publishing then fails with the reason.
    pub async fn shorter(&self, queues: [String; 2]) -> String {
        if !self.queue_depths.know(&queues) {
            // One look is enough for all who want to know, and a second one would forget what was
            // chosen since the first.
            let _look = self.looking.lock().await;
            if !self.queue_depths.know(&queues)
                && let Err(error) = self.probe_depths(&queues).await
            {
                debug!(%error, "the lengths of queues are not known");
            }
        }
        self.queue_depths.choose(queues)
    }

    async fn probe_depths(&self, queues: &[String; 2]) -> Result<(), Error> {
        let _turn = self.turns.acquire().await.expect("the semaphore is never closed");
        let link = self.link().await?;
        if link.connection.status().blocked() {
            return Err(self.no_answer(&link, String::new()));
        }
        let channel = self.channel(&link).await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        // RabbitMQ says of one that it gets no answer from that it is empty.
        let trusted = queues.iter().filter(|queue| !self.queue_depths.avoids(queue));
        let answers = join_all(trusted.map(async |queue| {
            let asked = channel.queue_declare(queue.as_str().into(), passive, Default::default());
            (queue, self.broker.with_timeout(format!("look at queue {queue}"), asked).await)
        }))
        .await;
        for (queue, answer) in answers {
            self.queue_depths.note(queue, answer?.message_count().into());
        }
        link.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(())
    }

    /// How many messages wait in `queue`.
    ///
    /// # Errors
    /// [`Error::Broker`], also if there is no such queue, and [`Error::TimedOut`].
    pub async fn depth(&self, queue: &str) -> Result<u32, Error> {
        let link = self.link().await?;
        // A channel of its own: the broker answers by closing it if there is no such queue.
        let opening = link.connection.create_channel();
        let channel = self.broker.with_timeout("open a channel", opening).await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = channel.queue_declare(queue.into(), passive, FieldTable::default());
        let queue = self.broker.with_timeout(format!("look at queue {queue}"), asked).await?;
        // Its end is nothing to wait for.
        let _ = channel.close(200, "looked".into()).now_or_never();
        Ok(queue.message_count())
    }

    /// Publishes what has no outcome yet over `link`, and notes the outcomes.
    async fn attempt(
        &self,
        link: &Link,
        messages: &[Message],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        self.unblocked(link).await?;
        let channel = self.channel(link).await?;
        let open: Vec<usize> = (0..messages.len()).filter(|i| outcomes[*i].is_none()).collect();
        let (mut waiting, mut returned) = (VecDeque::new(), HashSet::new());
        let mut note = |index: usize, confirmation| {
            let (outcome, message) = match confirmation {
                Confirmation::Ack(message) => (Ok(()), message),
                Confirmation::Nack(message) => {
                    let queue = messages[index].routing_key.clone();
                    let QueueLimits { jobs, bytes } = self.topology.limits;
                    (Err(Error::QueueFull { queue, jobs, bytes }), message)
                }
                // Impossible after confirm.select, and no promise of anything.
                Confirmation::NotRequested => (Err(self.broker.timed_out("confirm")), None),
            };
            let number = message.and_then(|message| message.properties.correlation_id().clone());
            returned.extend(number.map(|number| number.to_string()));
            outcomes[index] = Some(outcome);
        };
        let sent = self.pipeline(link, &channel, messages, &open, &mut waiting, &mut note).await;
        // After a failure, what the broker had said until then still holds.
        for (index, confirm) in waiting {
            if let Some(Ok(confirmation)) = confirm.now_or_never() {
                note(index, confirmation);
            }
        }
        // The library gives a returned message to whichever confirm comes in next, which in a
        // pipeline is not always its own. So nothing else uses the channel meanwhile, and what
        // was returned is looked up by the number that was sent along.
        for index in open {
            let message = &messages[index];
            if returned.contains(&index.to_string()) && matches!(outcomes[index], Some(Ok(()))) {
                let queue = if !message.routing_key.is_empty() {
                    message.routing_key.clone()
                } else {
                    format!("behind exchange {}", message.exchange)
                };
                outcomes[index] = Some(Err(Error::Unroutable { queue }));
            }
        }
        sent?;
        // Only a channel with nothing outstanding is used again.
        link.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(())
    }

    async fn pipeline(
        &self,
        link: &Link,
        channel: &Channel,
        messages: &[Message],
        open: &[usize],
        waiting: &mut VecDeque<(usize, PublisherConfirm)>,
        note: &mut impl FnMut(usize, Confirmation),
    ) -> Result<(), Error> {
        let mut bytes = 0;
        let mut next = open.iter().copied().peekable();
        loop {
            while let Some(index) = next.peek().copied() {
                let size = messages[index].body.len();
                if !waiting.is_empty()
                    && (waiting.len() >= WINDOW_MESSAGES || bytes + size > WINDOW_BYTES)
                {
                    break;
                }
                next.next();
                bytes += size;
                waiting
                    .push_back((index, self.send(link, channel, index, &messages[index]).await?));
            }
            let Some((index, confirm)) = waiting.pop_front() else { return Ok(()) };
            bytes -= messages[index].body.len();
            let action = || format!("publish to {}", messages[index].routing_key);
            match time::timeout(self.broker.timeout(), confirm).await {
                Ok(Ok(confirmation)) => note(index, confirmation),
                Ok(Err(source)) => return Err(self.broker.failed(action(), source)),
                Err(_) => {
                    let error = self.no_answer(link, action());
                    if matches!(error, Error::TimedOut { .. }) {
                        self.queue_depths.avoid(&messages[index].routing_key);
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn send(
        &self,
        link: &Link,
        channel: &Channel,
        index: usize,
        message: &Message,
    ) -> Result<PublisherConfirm, Error> {
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_correlation_id(index.to_string().into())
            .with_headers(message.headers.clone());
        if !message.id.is_empty() {
            properties = properties.with_message_id(message.id.as_str().into());
        }
        // The broker takes no other user here than that of the connection: it vouches for it to the consumer.
        if let Some(user) = self.broker.user() {
            properties = properties.with_user_id(user.into());
        }
        let action = || format!("publish to {}", message.routing_key);
        let sent = channel.basic_publish(
            message.exchange.as_str().into(),
            message.routing_key.as_str().into(),
            BasicPublishOptions { mandatory: true, ..Default::default() },
            &message.body,
            properties,
        );
        match time::timeout(self.broker.timeout(), sent).await {
            Ok(sent) => sent.map_err(|source| self.broker.failed(action(), source)),
            Err(_) => Err(self.no_answer(link, action())),
        }
    }

    /// Waits while the broker is known to block: what is written then only piles up here.
    async fn unblocked(&self, link: &Link) -> Result<(), Error> {
        let end = Instant::now() + self.broker.timeout();
        // The library tells of the end of a block through events that only one listener gets, so
        // every publisher looks at the flag instead: a load of a local variable.
        while link.connection.status().blocked() {
            if Instant::now() >= end {
                return Err(self.no_answer(link, String::new()));
            }
            time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn no_answer(&self, link: &Link, action: String) -> Error {
        if link.connection.status().blocked() {
            Error::Blocked {
                broker: self.broker.display_url().into(),
                after: self.broker.timeout(),
            }
        } else {
            self.broker.timed_out(action)
        }
    }

    async fn link(&self) -> Result<Arc<Link>, Error> {
        let asked = Instant::now();
        let mut current = self.current.lock().await;
        if let Some(link) = &current.link
            && link.connection.status().connected()
        {
            return Ok(link.clone());
        }
        current.link = None;
        // Those who waited for an attempt share its end. One attempt each, in turn, would add up
        // to minutes when the broker's host is gone.
        if let Some((when, error)) = &current.failure
            && *when >= asked
        {
            return Err(error.clone());
        }
        match self.open().await {
            Ok(link) => Ok(current.link.insert(Arc::new(link)).clone()),
            Err(error) => {
                current.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Link, Error> {
        let connection = self.broker.connect().await?;
        self.topology.declare(&self.broker, &connection).await?;
        Ok(Link { connection, idle: Mutex::default() })
    }

    async fn discard(&self, link: &Arc<Link>) {
        let mut current = self.current.lock().await;
        if current.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            current.link = None;
        }
    }

    async fn channel(&self, link: &Link) -> Result<Channel, Error> {
        let idle = || link.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some(channel) = idle() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let opened =
            self.broker.with_timeout("open a channel", link.connection.create_channel()).await?;
        self.broker
            .with_timeout(
                "ask for confirms",
                opened.confirm_select(ConfirmSelectOptions::default()),
            )
            .await?;
        Ok(opened)
    }
}

fn fill(outcomes: &mut [Option<Outcome>], error: &Error) {
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
        *outcome = Some(Err(error.clone()));
    }
}
