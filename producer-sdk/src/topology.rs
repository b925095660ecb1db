//! The exchange and the queues of a fleet: the one place that declares them.

use lapin::{
    Channel, Connection, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{Isolation, Priority, names};

use crate::{Broker, Error};

/// After how many returns the broker itself takes a message out of its queue. Only a backstop,
/// for messages that never get as far as a claim: attempts are counted in the store, where a
/// worker that dies doesn't cost its other deliveries a count.
const DELIVERY_LIMIT: i32 = 25;

/// What has to exist on the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// How the names begin.
    pub prefix: String,
    /// Whose job queues are needed, besides the dead letters that are always there.
    pub isolations: Vec<Isolation>,
}

impl Topology {
    /// Declares it all on `connection`, which was made to `broker`.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if something exists with other settings; [`Error::Broker`] for all
    /// else the broker says, and [`Error::TimedOut`] if it says nothing.
    pub async fn declare(&self, broker: &Broker, connection: &Connection) -> Result<(), Error> {
        // A channel of its own: the broker answers a refusal by closing it.
        let channel = broker.answer("open a channel", connection.create_channel()).await?;
        // Dead letters first, so that there is no moment at which a job queue has nowhere to
        // put them.
        self.declare_dead_letters(broker, &channel).await?;
        for isolation in &self.isolations {
            for priority in Priority::ALL {
                let queue = names::job_queue(&self.prefix, *isolation, *priority);
                declare_queue(broker, &channel, &queue, self.job_queue_arguments()).await?;
            }
        }
        Ok(())
    }

    async fn declare_dead_letters(&self, broker: &Broker, channel: &Channel) -> Result<(), Error> {
        let exchange = names::dead_exchange(&self.prefix);
        let queue = names::dead_queue(&self.prefix);
        let declared = channel.exchange_declare(
            exchange.as_str().into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions { durable: true, ..Default::default() },
            FieldTable::default(),
        );
        agreed(broker, format!("exchange {exchange}"), declared).await?;
        declare_queue(broker, channel, &queue, quorum()).await?;
        let bound = channel.queue_bind(
            queue.as_str().into(),
            exchange.as_str().into(),
            "".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        agreed(broker, format!("binding of queue {queue}"), bound).await
    }

    fn job_queue_arguments(&self) -> FieldTable {
        let mut arguments = quorum();
        let exchange = names::dead_exchange(&self.prefix);
        arguments.insert("x-dead-letter-exchange".into(), text(&exchange));
        // Without this pair the broker may lose a message on its way to the dead letters. It
        // makes a full queue answer publishers with a nack instead of dropping its oldest jobs.
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
        arguments
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

async fn declare_queue(
    broker: &Broker,
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), Error> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(name.into(), options, arguments);
    agreed(broker, format!("queue {name}"), declared).await.map(drop)
}

/// Awaits the answer to a declaration of `what`.
async fn agreed<T>(
    broker: &Broker,
    what: String,
    declared: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Error> {
    broker.answer(format!("declare {what}"), declared).await.map_err(|error| match error {
        Error::Broker { broker, source, action } => match source.kind() {
            ErrorKind::ProtocolError(said)
                if *said.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) =>
            {
                Error::Mismatch { broker, what, reason: said.get_message().to_string() }
            }
            _ => Error::Broker { broker, source, action },
        },
        error => error,
    })
}
