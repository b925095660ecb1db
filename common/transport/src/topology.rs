//! The exchange and the queues of a fleet: the one place that declares them.

mod declaration;

use std::time::Duration;

use futures_util::future::join_all;
use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{
    Isolation, Priority,
    names::{self, TENANT_SHARDS},
};

use tracing::warn;

use self::declaration::{
    bind, declare_exchange, declare_fanout, declare_queue, is_access_refused, is_there,
};
use crate::{Broker, Error, refusal};

/// After how many returns the broker itself takes a message out of its queue. Only a backstop,
/// for messages that never get as far as a claim: attempts are counted in the store, where a
/// worker that dies doesn't cost its other deliveries a count.
const DELIVERY_LIMIT: i32 = 25;

/// As [`DELIVERY_LIMIT`], for dead letters: only what ends every worker that it is given to gets so far.
/// Most letters are answered at once; but one may be held while the store is away, and each connection
/// that is lost meanwhile returns it. So it is more, and what is beyond it is kept for people.
const LETTER_DELIVERY_LIMIT: i32 = 100;

/// How long a message that no worker can take at present waits in each of the later queues.
pub const LATER: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(5)];

/// How many unreadable messages are kept: any client that can publish could fill the disk otherwise.
const MAX_UNREADABLE: i64 = 10_000;
const MAX_UNREADABLE_BYTES: i64 = 256 << 20;

/// After how many returns the broker drops an unreadable message. Each time that an operator lists them returns them once,
/// and RabbitMQ 4 drops after 20 where a queue names no limit.
const UNREADABLE_DELIVERY_LIMIT: i32 = i32::MAX;

/// What RabbitMQ 4 grants where a queue names no limit; RabbitMQ 3 grants any number.
const UNNAMED_DELIVERY_LIMIT: i32 = 20;

/// Where messages are kept that no worker settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// The dead letters, which workers answer.
    Dead,
    /// The messages that can't be answered.
    Unreadable,
}

impl Kept {
    /// Both.
    pub const ALL: [Kept; 2] = [Kept::Dead, Kept::Unreadable];

    /// Its name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Kept::Dead => "dead",
            Kept::Unreadable => "unreadable",
        }
    }

    /// Its queue.
    pub fn queue(self, prefix: &str) -> String {
        match self {
            Kept::Dead => names::dead_queue(prefix),
            Kept::Unreadable => names::unreadable_queue(prefix),
        }
    }

    /// The exchange before it.
    pub fn exchange(self, prefix: &str) -> String {
        match self {
            Kept::Dead => names::dead_exchange(prefix),
            Kept::Unreadable => names::unreadable_exchange(prefix),
        }
    }
}

/// What has to exist on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// How the names begin.
    pub prefix: String,
    /// Whose job queues are needed, besides the dead letters that are always there.
    pub isolations: Vec<Isolation>,
    /// When a job queue is full.
    pub limits: QueueLimits,
}

/// When a job queue is full and refuses jobs. All who declare it have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Jobs that wait in it; 0 for any number.
    pub jobs: u32,
    /// Bytes of the jobs that wait in it; 0 for any number.
    pub bytes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { jobs: 1_000_000, bytes: 8 << 30 }
    }
}

impl Topology {
    /// Declares it all on `connection`, which was made to `broker`. A user that may not declare needs it to be there
    /// already, however it is set: only an operator's user may, where each has the least rights.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if something exists with other settings; [`Error::Undeclared`] if it isn't there and the
    /// user may not make it; [`Error::Broker`] for all else the broker says, and [`Error::TimedOut`] if it says
    /// nothing.
    pub async fn declare(&self, broker: &Broker, connection: &Connection) -> Result<(), Error> {
        match self.make(broker, connection).await {
            Err(Error::Broker { said, .. }) if is_access_refused(&said) => {
                let refused = refusal::of_broker(&said).said().to_owned();
                self.find(broker, connection, &refused).await
            }
            made => made,
        }
    }

    /// Looks whether all is there, which takes no rights.
    async fn find(
        &self,
        broker: &Broker,
        connection: &Connection,
        refused: &str,
    ) -> Result<(), Error> {
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        let prefix = &self.prefix;
        let mut exchanges = vec![
            names::jobs_exchange(prefix),
            names::requeue_exchange(prefix),
            names::dead_exchange(prefix),
            names::unreadable_exchange(prefix),
        ];
        exchanges.extend((0..LATER.len()).map(|step| names::later_queue(prefix, step)));
        for name in &exchanges {
            let options = ExchangeDeclareOptions { passive: true, ..Default::default() };
            let kind = ExchangeKind::Fanout;
            let found = channel.exchange_declare(
                name.as_str().into(),
                kind,
                options,
                FieldTable::default(),
            );
            is_there(broker, format!("exchange {name}"), refused, found).await?;
        }
        let queues = [names::dead_queue(prefix), names::unreadable_queue(prefix)];
        let queues: Vec<String> = queues.into_iter().chain(self.job_queues()).collect();
        let found = queues.iter().map(|name| {
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let found = channel.queue_declare(name.as_str().into(), options, FieldTable::default());
            is_there(broker, format!("queue {name}"), refused, found)
        });
        let mut failures = join_all(found).await.into_iter().filter_map(Result::err);
        let Some(first) = failures.next() else { return Ok(()) };
        // As above: what is not there closes the channel under all the others.
        Err(failures.fold(first, |told, next| match told {
            Error::Undeclared { .. } => told,
            _ => next,
        }))
    }

    async fn make(&self, broker: &Broker, connection: &Connection) -> Result<(), Error> {
        // A channel of its own: the broker answers a refusal by closing it.
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        // In this order, so that there is no moment at which a queue has nowhere to put what it gives up.
        self.declare_unreadable(broker, connection).await?;
        self.declare_requeue(broker, &channel).await?;
        self.declare_dead_letters(broker, &channel).await?;
        self.declare_later(broker, &channel).await?;
        let jobs = names::jobs_exchange(&self.prefix);
        declare_exchange(broker, &channel, &jobs, ExchangeKind::Topic, FieldTable::default())
            .await?;
        let queues = self.job_queues();
        let arguments = self.job_queue_arguments();
        let requeue = names::requeue_exchange(&self.prefix);
        let declared = queues.iter().map(|queue| async {
            declare_queue(broker, &channel, queue, arguments.clone()).await?;
            bind(broker, &channel, queue, &requeue, queue).await?;
            bind(broker, &channel, queue, &jobs, queue).await
        });
        let mut failures = join_all(declared).await.into_iter().filter_map(Result::err);
        let Some(first) = failures.next() else { return Ok(()) };
        // A refusal closes the channel under all the others: it is the one to tell of.
        Err(failures.fold(first, |told, next| match told {
            Error::Mismatch { .. } => told,
            _ => next,
        }))
    }

    /// The queues of jobs.
    fn job_queues(&self) -> Vec<String> {
        let mut queues = Vec::new();
        for isolation in &self.isolations {
            for priority in Priority::ALL {
                queues.push(names::job_queue(&self.prefix, *isolation, *priority));
                let shard = |shard| names::shard_queue(&self.prefix, *isolation, *priority, shard);
                queues.extend((0..TENANT_SHARDS).map(shard));
            }
        }
        queues
    }

    async fn declare_dead_letters(&self, broker: &Broker, channel: &Channel) -> Result<(), Error> {
        let exchange = names::dead_exchange(&self.prefix);
        let queue = names::dead_queue(&self.prefix);
        declare_fanout(broker, channel, &exchange).await?;
        let mut arguments = quorum();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(LETTER_DELIVERY_LIMIT));
        // Not over the default exchange: who may make this queue would have to have the right to write there.
        dead_letters_to(&mut arguments, &names::unreadable_exchange(&self.prefix));
        declare_queue(broker, channel, &queue, arguments).await?;
        bind(broker, channel, &queue, &exchange, "").await?;
        // A dead letter is put off, too, while its job runs.
        bind(broker, channel, &queue, &names::requeue_exchange(&self.prefix), &queue).await
    }

    /// The exchange that leads from the queues of messages that were put off back to the queues they came from. Each
    /// process binds the queues that it declares, and nothing else is bound. The routing key is the sender's:
    /// over the default exchange it would reach any queue of the broker, and one that reaches none would
    /// stay. At-least-once dead-lettering keeps what it can't route, and 32 such messages stop it.
    async fn declare_requeue(&self, broker: &Broker, channel: &Channel) -> Result<(), Error> {
        let unreadable = names::unreadable_exchange(&self.prefix);
        declare_fanout(broker, channel, &unreadable).await?;
        bind(broker, channel, &names::unreadable_queue(&self.prefix), &unreadable, "").await?;
        let mut arguments = FieldTable::default();
        arguments.insert("alternate-exchange".into(), text(&unreadable));
        let name = names::requeue_exchange(&self.prefix);
        declare_exchange(broker, channel, &name, ExchangeKind::Direct, arguments).await
    }

    /// Each has an exchange of its own, so that a message keeps the name of the queue that it comes back
    /// to as its routing key.
    async fn declare_later(&self, broker: &Broker, channel: &Channel) -> Result<(), Error> {
        for (step, delay) in LATER.iter().enumerate() {
            let name = names::later_queue(&self.prefix, step);
            let mut arguments = quorum();
            arguments.insert("x-message-ttl".into(), milliseconds(*delay));
            dead_letters_to(&mut arguments, &names::requeue_exchange(&self.prefix));
            declare_queue(broker, channel, &name, arguments).await?;
            declare_fanout(broker, channel, &name).await?;
            bind(broker, channel, &name, &name, "").await?;
        }
        Ok(())
    }

    async fn declare_unreadable(
        &self,
        broker: &Broker,
        connection: &Connection,
    ) -> Result<(), Error> {
        match self.make_unreadable(broker, connection).await {
            // Older workers made it otherwise. It serves all the same, and they must not be kept
            // from their work by those that are newer.
            Err(Error::Mismatch { reason, .. }) => {
                warn!(
                    queue = names::unreadable_queue(&self.prefix),
                    %reason,
                    "the queue of unreadable messages was made by an older version, without bounds or with few returns; once \
                     all workers are of this version, delete it: they make it again"
                );
                Ok(())
            }
            declared => declared,
        }
    }

    /// How often a message may be returned to the dead letters or the unreadable messages before the broker gives it up.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`].
    pub async fn returns_granted(
        &self,
        broker: &Broker,
        connection: &Connection,
        kept: Kept,
    ) -> Result<u32, Error> {
        let limit = match kept {
            Kept::Dead => LETTER_DELIVERY_LIMIT,
            Kept::Unreadable => match self.make_unreadable(broker, connection).await {
                Ok(()) => UNREADABLE_DELIVERY_LIMIT,
                // An older version made it, and it says none; or who made it can't be told.
                Err(Error::Mismatch { .. }) => UNNAMED_DELIVERY_LIMIT,
                Err(Error::Broker { said, .. }) if is_access_refused(&said) => {
                    UNNAMED_DELIVERY_LIMIT
                }
                Err(error) => return Err(error),
            },
        };
        Ok(limit.unsigned_abs())
    }

    async fn make_unreadable(&self, broker: &Broker, connection: &Connection) -> Result<(), Error> {
        let queue = names::unreadable_queue(&self.prefix);
        let mut arguments = quorum();
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(UNREADABLE_DELIVERY_LIMIT));
        arguments.insert("x-overflow".into(), text("drop-head"));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_UNREADABLE));
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MAX_UNREADABLE_BYTES));
        // A channel of its own, since a refusal closes it.
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        declare_queue(broker, &channel, &queue, arguments).await
    }

    fn job_queue_arguments(&self) -> FieldTable {
        let mut arguments = quorum();
        dead_letters_to(&mut arguments, &names::dead_exchange(&self.prefix));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
        let QueueLimits { jobs, bytes } = self.limits;
        for (argument, limit) in [("x-max-length", jobs.into()), ("x-max-length-bytes", bytes)] {
            if limit > 0 {
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                arguments.insert(argument.into(), AMQPValue::LongLongInt(limit));
            }
        }
        arguments
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

/// Has what a queue gives up go to `exchange`.
fn dead_letters_to(arguments: &mut FieldTable, exchange: &str) {
    arguments.insert("x-dead-letter-exchange".into(), text(exchange));
    // Without this pair the broker may lose a message on its way there. It makes a full queue answer
    // publishers with a nack instead of dropping its oldest messages.
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-overflow".into(), text("reject-publish"));
}

fn milliseconds(duration: Duration) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
