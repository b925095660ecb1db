//! `sandfleet setup`: makes the fleet's queues, where only an operator's user may.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use sandfleet_common::Isolation;
use sandfleet_transport::{
    Broker, Publisher, Topology,
    audit::{Act, Event},
    records::RedisStore,
};

use super::{
    exit::{Exit, Failure},
    submit::IsolationChoice,
    terminal,
};
use crate::{app, config::Settings};

/// How long one exchange with the broker may take: it makes a hundred queues.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct Arguments {
    /// The strongest isolation that workers will give; jobs that ask for more are refused when they are submitted
    /// [default: container]
    #[arg(long, value_name = "ISOLATION")]
    isolation: Option<IsolationChoice>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let strongest = arguments.isolation.map(Isolation::from).unwrap_or_default();
    let isolations: Vec<_> =
        Isolation::ALL.iter().copied().filter(|isolation| *isolation <= strongest).collect();
    let (url, tls) = (settings.queue.url.reveal(), app::queue_tls(settings));
    let broker = Broker::new(url, "sandfleet setup", TIMEOUT, &tls)?;
    let prefix = settings.queue.prefix.clone();
    let limits = app::queue_limits(settings);
    let names: Vec<&str> = isolations.iter().map(|it| it.as_str()).collect();
    let said = format!("the queues of fleet {prefix} for {} are there", names.join(", "));
    Publisher::new(broker, Topology { prefix, isolations, limits }).connect().await?;
    let event = Event::of(Act::QueuesMade, &settings.queue.prefix).with(names.join(", "));
    let store = RedisStore::connect(app::redis_config(settings))?;
    if let Err(error) = store.note(event).await {
        terminal::say(format_args!("not noted for the audit: {error}"));
    }
    terminal::print_line(said)?;
    Ok(Exit::Success.into())
}
