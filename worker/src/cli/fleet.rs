//! The fleet from a producer's side: `sandfleet submit`, `result`, `cancel`, `workers`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use jiff::Timestamp;
use sandfleet_common::{Job, JobId, JobResult, JobState, Priority};
use sandfleet_sdk::{Cancellation, Client, ClientConfig};

use super::{
    exit::{Exit, Failure},
    follow,
    job::JobArguments,
    print,
    terminal::{self, ProgramOutput},
    waiting,
};
use crate::{admission::catalogue::Catalogue, app, config::Settings};

#[derive(Args)]
pub(super) struct SubmitArguments {
    /// The program
    script: PathBuf,

    #[command(flatten)]
    job: JobArguments,

    /// The job's id; submitting it again changes nothing [default: a new one]
    #[arg(long, value_name = "ID", conflicts_with = "idempotency_key")]
    job_id: Option<JobId>,

    /// The tenant of the job; tenants share the fleet fairly
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Idempotency key: the job id is derived from it, so that submitting again changes nothing
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// How long it may wait to be started, in milliseconds
    #[arg(long, value_name = "MS")]
    ttl_ms: Option<u64>,

    /// Submit to the low-priority batch queue
    #[arg(long)]
    batch: bool,

    /// Wait for the result and end like the program
    #[arg(long)]
    wait: bool,

    /// Wait, and stream the program's output
    #[arg(long, conflicts_with = "json")]
    follow: bool,

    #[command(flatten)]
    show: ShowArguments,
}

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

#[derive(Args)]
pub(super) struct ResultArguments {
    /// The job's id
    job_id: JobId,

    /// Wait until there is one
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    show: ShowArguments,
}

#[derive(Args)]
struct ShowArguments {
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,

    /// Print the whole result as one JSON object, and nothing else, on stdout
    #[arg(long)]
    json: bool,

    /// Let the program's escape sequences reach the terminal; a file or a pipe gets them anyway
    #[arg(long, conflicts_with = "json")]
    raw: bool,

    /// Save artifacts below this directory
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
}

pub(super) async fn submit(
    arguments: SubmitArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let wants_artifacts = arguments.show.artifacts.is_some();
    let mut job: Job = arguments.job.build(
        &arguments.script,
        wants_artifacts,
        &Catalogue::embedded(),
        settings.jobs.max_bytes,
    )?;
    if let Some(id) = arguments.job_id {
        job.job_id = id;
    }
    job.tenant = arguments.tenant;
    if arguments.batch {
        job.priority = Priority::Batch;
    }
    job.idempotency_key = arguments.idempotency_key;
    job.ttl_ms = arguments.ttl_ms;
    job.stream = arguments.follow;
    job.validate().map_err(|why| Exit::Usage.with(why))?;
    let client = connect(settings).await?;
    let id = client.submit(&job).await?;
    if arguments.follow || arguments.wait {
        // Waiting goes on, since a worker may start, but the user is warned.
        let progress = client.progress(&id).await?;
        if let Some(sentence) = waiting::hindrance(&progress) {
            terminal::say(format_args!("sandfleet: warning: job {id}: {sentence}"));
        }
    }
    if arguments.follow {
        let output = ProgramOutput::new(arguments.show.raw);
        let timeout = timeout_of(&arguments.show);
        let result = follow::follow(&client, &id, timeout, &output).await?;
        return print::end(&result, arguments.show.artifacts.as_deref(), false);
    }
    if arguments.wait {
        return wait_and_show(&client, &id, &arguments.show).await;
    }
    match arguments.show.json {
        true => terminal::print_line(serde_json::json!({ "job_id": id }))?,
        false => terminal::print_line(id)?,
    }
    Ok(Exit::Success.into())
}

pub(super) async fn result(
    arguments: ResultArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let client = connect(settings).await?;
    let id = &arguments.job_id;
    let progress = client.progress(id).await?;
    match &progress.state {
        JobState::Done(result) => return show(result, &arguments.show),
        // Waiting would never end.
        JobState::Unknown | JobState::ResultExpired(_) => {}
        _ if arguments.wait => return wait_and_show(&client, id, &arguments.show).await,
        _ => {}
    }
    Err(Exit::NotYet.with(format!("job {id} {}", waiting::sentence(&progress, Timestamp::now()))))
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
                exit = Exit::NotYet;
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
    let workers = connect(settings).await?.workers().await?;
    if arguments.json {
        terminal::print(&(terminal::bounded_json(&workers, false)? + "\n"))?;
    } else {
        terminal::print(&terminal::lines(&waiting::table(&workers, Timestamp::now())))?;
    }
    Ok(Exit::Success.into())
}

pub(super) async fn connect(settings: &Settings) -> Result<Client, Failure> {
    let config = ClientConfig { name: own_name(), ..app::client_config(settings) };
    Ok(Client::connect(config).await?)
}

async fn wait_and_show(
    client: &Client,
    id: &JobId,
    arguments: &ShowArguments,
) -> Result<ExitCode, Failure> {
    let result = client.wait(id, timeout_of(arguments)).await?;
    show(&result, arguments)
}

fn timeout_of(arguments: &ShowArguments) -> Duration {
    Duration::from_secs(arguments.timeout)
}

/// This client's name, which a cancelled job's result shows.
fn own_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = std::env::var("USER")
        .unwrap_or_else(|_| format!("user {}", rustix::process::getuid().as_raw()));
    format!("{user} on {host}")
}

fn show(result: &JobResult, arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    if !arguments.json {
        print::output(result, &ProgramOutput::new(arguments.raw))
            .map_err(|error| Exit::Internal.because(error))?;
    }
    print::end(result, arguments.artifacts.as_deref(), arguments.json)
}
