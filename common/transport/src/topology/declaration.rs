//! Declaring a queue or an exchange, and what the broker's refusal says.

use lapin::{
    Channel, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
};

use crate::{Broker, Error};

pub(super) async fn declare_queue(
    broker: &Broker,
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), Error> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(name.into(), options, arguments);
    agreed(broker, format!("queue {name}"), declared).await.map(drop)
}

/// An exchange that gives every message to all queues behind it.
pub(super) async fn declare_fanout(
    broker: &Broker,
    channel: &Channel,
    name: &str,
) -> Result<(), Error> {
    declare_exchange(broker, channel, name, ExchangeKind::Fanout, FieldTable::default()).await
}

pub(super) async fn declare_exchange(
    broker: &Broker,
    channel: &Channel,
    name: &str,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> Result<(), Error> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.exchange_declare(name.into(), kind, options, arguments);
    agreed(broker, format!("exchange {name}"), declared).await
}

pub(super) async fn bind(
    broker: &Broker,
    channel: &Channel,
    queue: &str,
    exchange: &str,
    routing_key: &str,
) -> Result<(), Error> {
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        routing_key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    agreed(broker, format!("binding of queue {queue}"), bound).await
}

pub(super) fn is_access_refused(said: &lapin::Error) -> bool {
    matches!(said.kind(), ErrorKind::ProtocolError(said)
        if *said.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
}

/// Awaits the answer to the question whether `what` is there.
pub(super) async fn is_there<T>(
    broker: &Broker,
    what: String,
    refused: &str,
    found: impl Future<Output = lapin::Result<T>>,
) -> Result<(), Error> {
    match broker.with_timeout(format!("look at {what}"), found).await {
        Ok(_) => Ok(()),
        Err(Error::Broker { broker, said, action }) => match said.kind() {
            ErrorKind::ProtocolError(answer)
                if *answer.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) =>
            {
                Err(Error::Undeclared { broker, what, refused: refused.into() })
            }
            _ => Err(Error::Broker { broker, said, action }),
        },
        Err(error) => Err(error),
    }
}

/// Awaits the answer to a declaration of `what`.
async fn agreed<T>(
    broker: &Broker,
    what: String,
    declared: impl Future<Output = lapin::Result<T>>,
) -> Result<T, Error> {
    broker.with_timeout(format!("declare {what}"), declared).await.map_err(|error| match error {
        Error::Broker { broker, said, action } => match said.kind() {
            ErrorKind::ProtocolError(said)
                if *said.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) =>
            {
                mismatch(broker, what, said.get_message().as_str())
            }
            _ => Error::Broker { broker, said, action },
        },
        error => error,
    })
}

/// Takes RabbitMQ's `inequivalent arg 'A' for queue 'Q' in vhost 'V': received W but current is F`
/// apart. The queue in it counts: declarations that are under way together fail together.
fn mismatch(broker: String, what: String, said: &str) -> Error {
    let parts = || {
        let (_, rest) = said.split_once("inequivalent arg '")?;
        let (argument, rest) = rest.split_once("' for ")?;
        let (subject, rest) = rest.split_once(" in vhost ")?;
        let (_, rest) = rest.split_once("received ")?;
        // The broker cuts what it says after 255 bytes.
        let reason = match rest.split_once(" but current is ") {
            Some((wanted, found)) => {
                format!("{argument} is {}, wanted is {}", value(found), value(wanted))
            }
            None => format!("{argument} is another, wanted is {}", value(rest)),
        };
        Some((subject.replace('\'', ""), reason))
    };
    let (what, reason) = parts().unwrap_or_else(|| (what, said.to_owned()));
    Error::Mismatch { broker, what, reason: reason.into() }
}

/// `the value 'V' of type 'T'`, `'V'` or `none`.
fn value(said: &str) -> &str {
    let quoted = said.trim_start_matches("the value ").strip_prefix('\'');
    quoted.and_then(|rest| rest.split('\'').next()).unwrap_or(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_says_what_differs() {
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'f.jobs' in \
                    vhost '/': received the value '5' of type 'signedint' but current is none";
        let shown = mismatch("amqp://h".into(), "queue other".into(), said).to_string();
        assert!(shown.contains("queue f.jobs exists with other settings"), "{shown}");
        assert!(shown.contains("x-max-length is none, wanted is 5"), "{shown}");
        let said = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'f.jobs' in vhost \
                    '/': received 'true' but current is 'false'";
        let shown = mismatch("amqp://h".into(), "queue f.jobs".into(), said).to_string();
        assert!(shown.contains("durable is false, wanted is true"), "{shown}");
        let cut = "PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-exchange' for queue 'f.jobs' \
                   in vhost '/': received the value 'f.dead' of type 'longstr' but current i...";
        let shown = mismatch("amqp://h".into(), "queue f.jobs".into(), cut).to_string();
        assert!(shown.contains("x-dead-letter-exchange is another, wanted is f.dead"), "{shown}");
        let shown = mismatch("amqp://h".into(), "queue f.jobs".into(), "no idea").to_string();
        assert!(shown.contains("queue f.jobs exists with other settings: no idea"), "{shown}");
    }
}
