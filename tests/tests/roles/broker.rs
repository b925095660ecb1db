//! The matrix of the broker: role × method.

use futures_util::future::BoxFuture;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
        QueuePurgeOptions,
    },
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
    types::FieldTable,
};

use crate::servers::{ROLES, Servers};

/// Asks for something over a channel; the prefix stands before each name of the fleet's.
type Asked = fn(Channel, Names) -> BoxFuture<'static, lapin::Result<()>>;

/// The names that are asked about.
#[derive(Clone)]
struct Names {
    prefix: String,
    other_user: String,
}

impl Names {
    fn own(&self, rest: &str) -> lapin::types::ShortString {
        format!("{}{rest}", self.prefix).into()
    }
}

const BATCH: &str = ".jobs.container.batch";

macro_rules! ask {
    ($channel:ident, $names:ident => $method:expr) => {
        |$channel, $names| Box::pin(async move { $method.await.map(drop) })
    };
}

/// A publication whose refusal is waited for.
async fn publish(
    channel: Channel,
    exchange: lapin::types::ShortString,
    key: lapin::types::ShortString,
    user: &str,
) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut properties = BasicProperties::default();
    if !user.is_empty() {
        properties = properties.with_user_id(user.into());
    }
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange, key, options, b"no job", properties);
    sent.await?.await.map(drop)
}

/// Methods, and who may use them.
const MATRIX: &[(&str, Asked, &str)] = &[
    ("submit a job", ask!(it, names => publish(it, names.own(".jobs"), names.own(BATCH), "")), "P"),
    (
        "submit to no job queue",
        ask!(it, names => publish(it, names.own(".jobs"), names.own(".dead"), "")),
        "",
    ),
    (
        "see whether the broker is blocked",
        ask!(it, names => publish(it, names.own(".jobs"), "".into(), "")),
        "OE",
    ),
    (
        "publish over the default exchange",
        ask!(it, names => publish(it, "".into(), names.own(BATCH), "")),
        "",
    ),
    (
        "send a job back",
        ask!(it, names => publish(it, names.own(".requeue"), names.own(BATCH), "")),
        "WO",
    ),
    (
        "set a message aside",
        ask!(it, names => publish(it, names.own(".dead.unreadable"), "".into(), "")),
        "WO",
    ),
    ("bury a message", ask!(it, names => publish(it, names.own(".dead"), "".into(), "")), "WO"),
    (
        "publish as another",
        ask!(it, names => publish(it, names.own(".jobs"), names.own(BATCH), &names.other_user)),
        "",
    ),
    // RabbitMQ wants the right to read a queue of the user that declares it with a dead-letter exchange.
    (
        "take a job",
        ask!(it, names => it.basic_get(names.own(BATCH), BasicGetOptions::default())),
        "WO",
    ),
    (
        "wait for jobs",
        ask!(it, names => it.basic_consume(names.own(BATCH), "".into(), BasicConsumeOptions::default(), FieldTable::default())),
        "WO",
    ),
    (
        "take a dead letter",
        ask!(it, names => it.basic_get(names.own(".dead"), BasicGetOptions::default())),
        "WO",
    ),
    (
        "read what was set aside",
        ask!(it, names => it.basic_get(names.own(".dead.unreadable"), BasicGetOptions::default())),
        "O",
    ),
    // It takes no more than the right to read.
    (
        "empty a queue of jobs",
        ask!(it, names => it.queue_purge(names.own(BATCH), QueuePurgeOptions::default())),
        "WO",
    ),
    (
        "empty the unreadable",
        ask!(it, names => it.queue_purge(names.own(".dead.unreadable"), QueuePurgeOptions::default())),
        "O",
    ),
    (
        "look at a queue's depth",
        ask!(it, names => it.queue_declare(names.own(BATCH), QueueDeclareOptions { passive: true, ..Default::default() }, FieldTable::default())),
        "PWOE",
    ),
    (
        "make a queue of the fleet",
        ask!(it, names => it.queue_declare(names.own(".more"), QueueDeclareOptions::default(), FieldTable::default())),
        "O",
    ),
    (
        "make another queue",
        ask!(it, _names => it.queue_declare("other".into(), QueueDeclareOptions::default(), FieldTable::default())),
        "",
    ),
    (
        "make an exchange",
        ask!(it, names => it.exchange_declare(names.own(".more"), ExchangeKind::Fanout, ExchangeDeclareOptions::default(), FieldTable::default())),
        "O",
    ),
    (
        "hear of all jobs that are submitted",
        ask!(it, names => it.queue_bind(names.own(".dead"), names.own(".jobs"), names.own(".jobs.#"), QueueBindOptions::default(), FieldTable::default())),
        "O",
    ),
    // The last, since others are of it.
    (
        "delete a queue",
        ask!(it, names => it.queue_delete(names.own(BATCH), QueueDeleteOptions::default())),
        "O",
    ),
];

#[tokio::test]
async fn each_role_may_use_its_methods_and_no_others() {
    let servers = Servers::start().await;
    let names = Names { prefix: servers.prefix.clone(), other_user: servers.user("worker") };
    let mut faults = Vec::new();
    for role in ROLES {
        let url = servers.login(role).amqp_url;
        for (what, ask, allowed) in MATRIX {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await;
            let connection = connection.unwrap_or_else(|error| panic!("{role}: {error}"));
            let channel = connection.create_channel().await.expect("a channel");
            let may = allowed.contains(role[..1].to_uppercase().as_str());
            match ask(channel, names.clone()).await {
                Ok(()) if may => {}
                Err(error) if !may && is_refused(&error) => {}
                answer => faults.push(format!("{role}: {what}: {answer:?}")),
            }
        }
    }
    // What the operator made.
    let (_connection, channel) = servers.channel().await;
    let deleted = channel.queue_delete(names.own(".more"), QueueDeleteOptions::default()).await;
    deleted.expect("an administrator");
    let deleted = channel.exchange_delete(names.own(".more"), Default::default()).await;
    deleted.expect("an administrator");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Whether it is for want of rights, or since the user-id is another's.
fn is_refused(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            *said.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
                || *said.kind() == AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
                || said.get_message().as_str().contains("user_id")
        }
        _ => false,
    }
}

#[tokio::test]
async fn guest_and_another_roles_password_are_refused() {
    let servers = Servers::start().await;
    let url = servers.login("worker").amqp_url;
    let host = url.rsplit_once('@').expect("a login").1;
    let (_, secret) = url.split_once("-worker.1:").expect("a password");
    for wrong in [
        format!("amqp://guest:guest@{host}"),
        format!("amqp://{}:{secret}", servers.user("operator")),
    ] {
        let answer = Connection::connect(&wrong, ConnectionProperties::default()).await;
        let error = answer.err().unwrap_or_else(|| panic!("{wrong} is let in"));
        assert!(is_refused(&error), "{error}");
    }
}
