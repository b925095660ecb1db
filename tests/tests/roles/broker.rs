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

type Asked = fn(Channel) -> BoxFuture<'static, lapin::Result<()>>;

const BATCH: &str = "own.jobs.container.batch";

/// Asks for something over a channel.
macro_rules! ask {
    ($channel:ident => $method:expr) => {
        |$channel| Box::pin(async move { $method.await.map(drop) })
    };
}

/// A publication whose refusal is waited for.
async fn publish(channel: Channel, exchange: &str, key: &str, user: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut properties = BasicProperties::default();
    if !user.is_empty() {
        properties = properties.with_user_id(user.into());
    }
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"no job", properties);
    sent.await?.await.map(drop)
}

/// Methods, and who may use them.
const MATRIX: &[(&str, Asked, &str)] = &[
    ("submit a job", ask!(it => publish(it, "own.jobs", BATCH, "")), "P"),
    ("submit to no job queue", ask!(it => publish(it, "own.jobs", "own.dead", "")), ""),
    ("publish over the default exchange", ask!(it => publish(it, "", BATCH, "")), ""),
    ("send a job back", ask!(it => publish(it, "own.requeue", BATCH, "")), "WO"),
    ("set a message aside", ask!(it => publish(it, "own.dead.unreadable", "", "")), "WO"),
    ("bury a message", ask!(it => publish(it, "own.dead", "", "")), "WO"),
    ("publish as another", ask!(it => publish(it, "own.jobs", BATCH, "sandfleet-worker.1")), ""),
    // RabbitMQ wants the right to read a queue of whoever declares it with a dead-letter exchange.
    ("take a job", ask!(it => it.basic_get(BATCH.into(), BasicGetOptions::default())), "WO"),
    (
        "wait for jobs",
        ask!(it => it.basic_consume(BATCH.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())),
        "WO",
    ),
    (
        "take a dead letter",
        ask!(it => it.basic_get("own.dead".into(), BasicGetOptions::default())),
        "WO",
    ),
    (
        "read what was set aside",
        ask!(it => it.basic_get("own.dead.unreadable".into(), BasicGetOptions::default())),
        "O",
    ),
    // It takes no more than the right to read.
    (
        "empty a queue of jobs",
        ask!(it => it.queue_purge(BATCH.into(), QueuePurgeOptions::default())),
        "WO",
    ),
    (
        "empty the unreadable",
        ask!(it => it.queue_purge("own.dead.unreadable".into(), QueuePurgeOptions::default())),
        "O",
    ),
    (
        "look at a queue's depth",
        ask!(it => it.queue_declare(BATCH.into(), QueueDeclareOptions { passive: true, ..Default::default() }, FieldTable::default())),
        "PWO",
    ),
    (
        "make a queue of the fleet",
        ask!(it => it.queue_declare("own.more".into(), QueueDeclareOptions::default(), FieldTable::default())),
        "O",
    ),
    (
        "make another queue",
        ask!(it => it.queue_declare("other".into(), QueueDeclareOptions::default(), FieldTable::default())),
        "",
    ),
    (
        "make an exchange",
        ask!(it => it.exchange_declare("own.more".into(), ExchangeKind::Fanout, ExchangeDeclareOptions::default(), FieldTable::default())),
        "O",
    ),
    (
        "hear of all jobs that are submitted",
        ask!(it => it.queue_bind("own.dead".into(), "own.jobs".into(), "own.jobs.#".into(), QueueBindOptions::default(), FieldTable::default())),
        "O",
    ),
    // The last, since others are of it.
    (
        "delete a queue",
        ask!(it => it.queue_delete(BATCH.into(), QueueDeleteOptions::default())),
        "O",
    ),
];

#[tokio::test]
async fn each_role_may_use_its_methods_and_no_others() {
    let servers = Servers::start().await;
    let mut faults = Vec::new();
    for role in ROLES {
        let url = servers.login(role).amqp_url;
        for (what, ask, allowed) in MATRIX {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await;
            let connection = connection.unwrap_or_else(|error| panic!("{role}: {error}"));
            let channel = connection.create_channel().await.expect("a channel");
            let may = allowed.contains(role[..1].to_uppercase().as_str());
            match ask(channel).await {
                Ok(()) if may => {}
                Err(error) if !may && is_refused(&error) => {}
                answer => faults.push(format!("{role}: {what}: {answer:?}")),
            }
        }
    }
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
    let (_, secret) = url.split_once("worker.1:").expect("a password");
    for wrong in
        [format!("amqp://guest:guest@{host}"), format!("amqp://sandfleet-operator.1:{secret}")]
    {
        let answer = Connection::connect(&wrong, ConnectionProperties::default()).await;
        let error = answer.err().unwrap_or_else(|| panic!("{wrong} is let in"));
        assert!(is_refused(&error), "{error}");
    }
}
