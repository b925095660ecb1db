//! What the broker says of the fleet's queues.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Connection,
    options::{BasicPublishOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};
use sandfleet_common::{
    Isolation, Priority,
    names::{self, TENANT_SHARDS},
};
use sandfleet_transport::{Broker, Error, LATER};
use tracing::warn;

use crate::{app, causes::in_one_line, config::Settings};

/// How long one exchange with the broker may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a queue.
pub(crate) struct FleetQueue {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) messages: u32,
    pub(crate) consumers: u32,
    /// Which jobs wait in it, if it is for jobs.
    pub(crate) serves: Option<JobQueue>,
}

/// Which jobs wait in a queue.
#[derive(Clone, Copy)]
pub(crate) struct JobQueue {
    pub(crate) isolation: Isolation,
    pub(crate) priority: Priority,
}

/// Asks the broker, over connections that are kept.
pub(crate) struct BrokerPoll {
    broker: Broker,
    prefix: String,
    session: Option<Session>,
    /// A connection that publishes, since a broker only tells those that it is blocked; and that would keep the other
    /// from being answered.
    publishing: Option<Connection>,
    blocked: Option<bool>,
    /// Whether this user may not publish.
    is_mute: bool,
}

struct Session {
    connection: Connection,
    channel: Channel,
}

impl BrokerPoll {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let url = settings.queue.url.reveal();
        let broker = Broker::new(url, "sandfleet exporter", TIMEOUT, &app::queue_tls(settings))?;
        let prefix = settings.queue.prefix.clone();
        let (session, publishing) = (None, None);
        Ok(Self { broker, prefix, session, publishing, blocked: None, is_mute: false })
    }

    /// Every queue of the fleet that exists.
    pub(crate) async fn poll(&mut self) -> Result<Vec<FleetQueue>, String> {
        let polled = self.queues().await;
        if polled.is_err() {
            (self.session, self.publishing, self.blocked) = (None, None, None);
            return polled.map_err(|error| in_one_line(&error));
        }
        if !self.is_mute
            && let Err(error) = self.probe().await
        {
            self.is_mute = is(&error, AMQPSoftError::ACCESSREFUSED);
            (self.publishing, self.blocked) = (None, None);
            if self.is_mute {
                let reason = in_one_line(&error);
                warn!(
                    reason,
                    "this user may not publish, so it is not seen when the broker is blocked"
                );
            }
        }
        polled.map_err(|error| in_one_line(&error))
    }

    /// Whether the broker takes no messages, if that is known.
    pub(crate) fn is_blocked(&self) -> Option<bool> {
        self.blocked
    }

    /// What the broker named itself.
    pub(crate) fn version(&self) -> Option<String> {
        self.broker.server().map(|server| server.version.to_string())
    }

    async fn queues(&mut self) -> Result<Vec<FleetQueue>, Error> {
        let mut queues = Vec::new();
        for isolation in Isolation::ALL.iter().copied() {
            for priority in Priority::ALL.iter().copied() {
                let serves = Some(JobQueue { isolation, priority });
                let name = names::job_queue(&self.prefix, isolation, priority);
                // They are declared together.
                let Some(first) = self.queue(name, "jobs", serves).await? else { continue };
                queues.push(first);
                for shard in 0..TENANT_SHARDS {
                    let name = names::shard_queue(&self.prefix, isolation, priority, shard);
                    queues.extend(self.queue(name, "tenant_jobs", serves).await?);
                }
            }
        }
        queues.extend(self.queue(names::dead_queue(&self.prefix), "dead", None).await?);
        let unreadable = names::unreadable_queue(&self.prefix);
        queues.extend(self.queue(unreadable, "unreadable", None).await?);
        for step in 0..LATER.len() {
            let name = names::later_queue(&self.prefix, step);
            queues.extend(self.queue(name, "later", None).await?);
        }
        Ok(queues)
    }

    /// What the broker says of a queue; nothing if there is none.
    async fn queue(
        &mut self,
        name: String,
        kind: &'static str,
        serves: Option<JobQueue>,
    ) -> Result<Option<FleetQueue>, Error> {
        let channel = self.channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = channel.queue_declare(name.as_str().into(), passive, FieldTable::default());
        match self.broker.with_timeout(format!("look at queue {name}"), asked).await {
            Ok(found) => {
                let (messages, consumers) = (found.message_count(), found.consumer_count());
                Ok(Some(FleetQueue { name, kind, messages, consumers, serves }))
            }
            // The broker has closed the channel.
            Err(error) if is(&error, AMQPSoftError::NOTFOUND) => {
                if let Some(session) = &mut self.session {
                    let opening = session.connection.create_channel();
                    session.channel = self.broker.with_timeout("open a channel", opening).await?;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn channel(&mut self) -> Result<Channel, Error> {
        if let Some(session) = &self.session
            && session.connection.status().connected()
        {
            return Ok(session.channel.clone());
        }
        let connection = self.broker.connect().await?;
        let opening = connection.create_channel();
        let channel = self.broker.with_timeout("open a channel", opening).await?;
        self.session = Some(Session { connection, channel: channel.clone() });
        Ok(channel)
    }

    /// Publishes a message that reaches no queue: a broker that is blocked then says so. To the fleet's own exchange,
    /// with a routing key that no queue is bound by, since an operator may not publish to the default one.
    async fn probe(&mut self) -> Result<(), Error> {
        let connection = match &self.publishing {
            Some(connection) if connection.status().connected() => connection,
            _ => self.publishing.insert(self.broker.connect().await?),
        };
        if !connection.status().blocked() {
            let opening = connection.create_channel();
            let channel = self.broker.with_timeout("open a channel", opening).await?;
            let exchange = names::jobs_exchange(&self.prefix);
            let publish = channel.basic_publish(
                exchange.as_str().into(),
                "".into(),
                BasicPublishOptions::default(),
                b"",
                BasicProperties::default(),
            );
            self.broker.with_timeout("publish a probe", publish).await?;
            // A blocked broker doesn't answer, and says why first.
            let closed = self.broker.with_timeout("close", channel.close(200, "probed".into()));
            if let Err(error) = closed.await
                && !connection.status().blocked()
                // A fleet whose queues have not been made yet.
                && !is(&error, AMQPSoftError::NOTFOUND)
            {
                return Err(error);
            }
        }
        self.blocked = Some(connection.status().blocked());
        Ok(())
    }
}

/// Whether the broker answered with `kind`.
fn is(error: &Error, kind: AMQPSoftError) -> bool {
    match error {
        Error::Broker { said, .. } => match said.kind() {
            lapin::ErrorKind::ProtocolError(said) => *said.kind() == AMQPErrorKind::Soft(kind),
            _ => false,
        },
        _ => false,
    }
}
