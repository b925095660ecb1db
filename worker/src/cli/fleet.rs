//! `sandfleet submit` and `sandfleet result`: the fleet from a producer's side.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use sandfleet_common::{Job, JobId, JobResult, JobState, Priority};
use sandfleet_sdk::{Client, Error};

use super::{
    exit::{Exit, Failure, code_of},
    job::JobArguments,
    print,
};
use crate::{app, catalogue::Catalogue, config::Settings};

#[derive(Args)]
pub(super) struct SubmitArguments {
    /// The program
    script: PathBuf,

    #[command(flatten)]
    job: JobArguments,

    /// The job's id; submitting it again changes nothing [default: a new one]
    #[arg(long, value_name = "ID")]
    job_id: Option<JobId>,

    /// On whose behalf it is run: tenants share the fleet fairly
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Nobody waits for it: jobs without this go first
    #[arg(long)]
    batch: bool,

    /// Wait for the result and end like the program
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    show: ShowArguments,
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
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "wait")]
    timeout: u64,

    /// Print the whole result as one JSON object, and nothing else, on stdout
    #[arg(long)]
    json: bool,

    /// Save the files that the program made below this directory
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
}

pub(super) async fn submit(
    arguments: SubmitArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let wants_artifacts = arguments.show.artifacts.is_some();
    let mut job: Job =
        arguments.job.build(&arguments.script, wants_artifacts, &Catalogue::embedded())?;
    if let Some(id) = arguments.job_id {
        job.job_id = id;
    }
    job.tenant = arguments.tenant;
    if arguments.batch {
        job.priority = Priority::Batch;
    }
    let client = connect(settings).await?;
    let id = client.submit(&job).await.map_err(explain)?;
    if arguments.wait {
        return wait_and_show(&client, &id, &arguments.show).await;
    }
    match arguments.show.json {
        true => println!("{}", serde_json::json!({ "job_id": id })),
        false => println!("{id}"),
    }
    Ok(Exit::Success.into())
}

pub(super) async fn result(
    arguments: ResultArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let client = connect(settings).await?;
    let id = &arguments.job_id;
    if arguments.wait {
        return wait_and_show(&client, id, &arguments.show).await;
    }
    match client.get(id).await.map_err(explain)? {
        JobState::Done(result) => show(&result, &arguments.show),
        JobState::Running => Err(Exit::NotYet.with(format!("job {id} is running; --wait waits"))),
        JobState::Unknown => Err(Exit::NotYet.with(format!(
            "job {id} has no result: it waits for a worker, was never submitted, or its result \
             was kept for as long as it is kept"
        ))),
    }
}

async fn connect(settings: &Settings) -> Result<Client, Failure> {
    Client::connect(app::client_config(settings)).await.map_err(explain)
}

fn explain(error: Error) -> Failure {
    let exit = match &error {
        Error::InvalidJob { .. } | Error::TooLarge { .. } => Exit::Rejected,
        Error::InvalidConfig { .. } => Exit::Usage,
        Error::NoResult { .. } => Exit::NotYet,
        _ => Exit::Unavailable,
    };
    exit.because(error)
}

async fn wait_and_show(
    client: &Client,
    id: &JobId,
    arguments: &ShowArguments,
) -> Result<ExitCode, Failure> {
    let timeout = Duration::from_secs(arguments.timeout);
    let result = client.wait(id, timeout).await.map_err(explain)?;
    show(&result, arguments)
}

fn show(result: &JobResult, arguments: &ShowArguments) -> Result<ExitCode, Failure> {
    if let Some(directory) = &arguments.artifacts {
        print::save_artifacts(result, directory)?;
    }
    if arguments.json {
        print::json(result).map_err(|error| Exit::Internal.because(error))?;
    } else {
        if let Some(run) = &result.run {
            print::output(run).map_err(|error| Exit::Internal.because(error))?;
        }
        eprint!("{}", print::summary(result, arguments.artifacts.as_ref()));
    }
    Ok(code_of(result))
}
