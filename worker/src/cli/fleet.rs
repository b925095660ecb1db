//! The fleet from a producer's side: `sandfleet cancel`, `workers`, and the connection that all such commands
//! share.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use sandfleet_common::JobId;
use sandfleet_sdk::{Cancellation, Client, ClientConfig};
use sandfleet_transport::{Refusal, records::RedisStore};

use super::{
    exit::{Exit, Failure},
    terminal, waiting,
};
use crate::{app, config::Settings};

#[derive(Args)]
pub(super) struct CancelArguments {
    /// The jobs' ids
    #[arg(required = true, value_name = "JOB_ID")]
    job_ids: Vec<JobId>,
}

#[derive(Args)]
pub(super) struct WorkersArguments {
    /// Print them as JSON, one array
    #[arg(long)]
    json: bool,
}

pub(super) async fn cancel(
    arguments: CancelArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let client = connect(settings).await?;
    let mut exit = Exit::Success;
    for id in &arguments.job_ids {
        let line = match client.cancel(id).await? {
            Cancellation::Cancelled => "cancelled before it was started".into(),
            Cancellation::Requested => "runs; its worker was told to end it".into(),
            Cancellation::Ended(status) => format!("had ended before: {status}"),
            Cancellation::Unknown => {
                exit = Exit::UnknownJob;
                "unknown: never submitted to this fleet, or long forgotten".into()
            }
        };
        terminal::print_line(format_args!("{id}: {line}"))?;
    }
    Ok(exit.into())
}

pub(super) async fn workers(
    arguments: WorkersArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let client = connect(settings).await?;
    let workers = client.workers().await?;
    if arguments.json {
        terminal::print(&(terminal::bounded_json(&workers, false)? + "\n"))?;
    } else {
        terminal::print(&terminal::lines(&waiting::table(&workers, Timestamp::now())))?;
        let switches = switches(settings).await?;
        terminal::print(&terminal::lines(&switches))?;
    }
    Ok(Exit::Success.into())
}

/// A line for each switch that an operator has thrown.
async fn switches(settings: &Settings) -> Result<String, Failure> {
    let store = RedisStore::connect(app::redis_config(settings))?;
    match store.switches().await {
        Ok(switches) => Ok(switches.iter().map(|switch| format!("switch: {switch}\n")).collect()),
        // A producer may list the workers and not the switches.
        Err(error) if error.refusal == Some(Refusal::Access) => Ok(String::new()),
        Err(error) => Err(Exit::Unavailable.because(error)),
    }
}

pub(super) async fn connect(settings: &Settings) -> Result<Client, Failure> {
    let config = ClientConfig { name: own_name(), ..app::client_config(settings) };
    Ok(Client::connect(config).await?)
}

/// Refuses a language that neither this process's catalogue nor a live worker's has: most likely it is misspelt. Workers may
/// offer what only their operator has added.
pub(super) async fn check_language(
    client: &Client,
    language: &str,
    settings: &Settings,
) -> Result<(), Failure> {
    let Err(why) = settings.catalogue.find(language) else { return Ok(()) };
    let workers = client.workers().await?;
    if workers.iter().any(|worker| worker.languages.iter().any(|known| known == language)) {
        return Ok(());
    }
    let offered = match workers.len() {
        0 => "there are no live workers that could offer it".to_owned(),
        1 => "the only live worker doesn't offer it either".to_owned(),
        count => format!("none of the {count} live workers offers it either"),
    };
    Err(Exit::Usage.with(format!("{why}; {offered}")))
}

/// This client's name, which a cancelled job's result shows.
pub(super) fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = std::env::var("USER")
        .unwrap_or_else(|_| format!("user {}", rustix::process::getuid().as_raw()));
    format!("{user} on {host}")
}
