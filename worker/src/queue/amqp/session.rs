//! A connection to the broker with its channels.

use std::sync::Arc;

use lapin::{Channel, Connection};
use sandfleet_transport::{Broker, Error};

use super::config::AmqpConfig;
use crate::trouble::Trouble;

/// How many jobs are asked for at a time. More gain nothing: the broker is busy then.
pub(super) const MAX_GETTERS: usize = 8;

/// A connection, and the channels that deliveries come and are settled over. They stay open as
/// long as the session is held.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// For consumers.
    pub(super) channel: Channel,
    /// For the lengths of queues, which no job waits for.
    pub(super) prober: Channel,
    /// For asking; a channel answers one question after the other.
    pub(super) getters: Vec<Channel>,
}

impl Session {
    /// Connects, declares the queues that `config` names, and opens the channels.
    pub(super) async fn open(broker: &Broker, config: &AmqpConfig) -> Result<Self, Error> {
        let connection = broker.connect().await?;
        let topology = config.topology(config.isolations.clone());
        topology.declare(broker, &connection).await?;
        let channel = broker.with_timeout("open a channel", connection.create_channel()).await?;
        let prober = broker.with_timeout("open a channel", connection.create_channel()).await?;
        let mut getters = Vec::new();
        for _ in 0..config.slots.min(MAX_GETTERS) {
            getters.push(broker.with_timeout("open a channel", connection.create_channel()).await?);
        }
        Ok(Self { connection, channel, prober, getters })
    }
}

/// Whether jobs can be had at present.
pub(super) enum BrokerStatus {
    Yes(Arc<Session>),
    No(Trouble),
    /// It is about to be known.
    Unknown(&'static str),
}

impl BrokerStatus {
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match self {
            BrokerStatus::Yes(session) if session.connection.status().connected() => Ok(()),
            BrokerStatus::Yes(_) => {
                Err(Trouble::passing("the connection to the broker was lost just now"))
            }
            BrokerStatus::No(trouble) => Err(trouble.clone()),
            BrokerStatus::Unknown(reason) => Err(Trouble::passing(*reason)),
        }
    }
}
