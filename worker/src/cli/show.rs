//! Waiting for a job's result, and showing it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use sandfleet_common::{JobId, JobResult, JobState};
use sandfleet_sdk::{Client, Error};

use super::{
    exit::{Exit, Failure},
    print, quantity,
    terminal::{self, ProgramOutput},
    waiting,
};

#[derive(Args)]
pub(super) struct ShowArguments {
    /// How long to wait, such as 90s or 10m; without a unit in seconds [default: 600]
    #[arg(long, value_name = "DURATION", value_parser = quantity::seconds)]
    timeout: Option<Duration>,

    /// Print the whole result as one JSON object, and nothing else, on stdout
    #[arg(long)]
    pub(super) json: bool,

    /// Let the program's escape sequences reach the terminal; a file or a pipe gets them anyway
    #[arg(long, conflicts_with = "json")]
    pub(super) raw: bool,

    /// Save artifacts below this directory
    #[arg(long, value_name = "DIR")]
    pub(super) artifacts: Option<PathBuf>,
}

impl ShowArguments {
    pub(super) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(600))
    }

    /// A flag that is of no use to a command that waits for no result.
    pub(super) fn only_when_waiting(&self) -> Option<&'static str> {
        self.timeout.is_some().then_some("--timeout")
    }
}

/// Says so if no live worker takes the job. Waiting goes on, since one may start.
pub(super) async fn warn_of_hindrance(client: &Client, id: &JobId) -> Result<(), Failure> {
    if let Some(sentence) = waiting::hindrance(&client.progress(id).await?) {
        terminal::say(format_args!("sandfleet: warning: job {id}: {sentence}"));
    }
    Ok(())
}

/// The result of a job, within `timeout`.
pub(super) async fn wait(
    client: &Client,
    id: &JobId,
    timeout: Duration,
) -> Result<JobResult, Failure> {
    match client.wait(id, timeout).await {
        Ok(result) => Ok(result),
        Err(Error::NoResult { .. }) => Err(no_result(client, id, timeout).await),
        Err(error) => Err(error.into()),
    }
}

/// Why a job has no result after `timeout`.
pub(super) async fn no_result(client: &Client, id: &JobId, timeout: Duration) -> Failure {
    match client.progress(id).await {
        Ok(progress) => {
            let failure = missing(id, &progress);
            let after = format!("no result within {} s: ", timeout.as_secs_f64());
            Failure { error: anyhow::anyhow!("{after}{}", failure.error), ..failure }
        }
        Err(error) => error.into(),
    }
}

/// That a job has no result, and where it is.
pub(super) fn missing(id: &JobId, progress: &sandfleet_sdk::Progress) -> Failure {
    let exit = match progress.state {
        JobState::Unknown => Exit::UnknownJob,
        _ => Exit::NotYet,
    };
    exit.with(format!("job {id} {}", waiting::sentence(progress, Timestamp::now())))
}

/// Shows a result, of `several` if there are more, and returns the exit code that goes with it.
pub(super) fn show(
    result: &JobResult,
    arguments: &ShowArguments,
    several: bool,
) -> Result<u8, Failure> {
    if !arguments.json {
        print::output(result, &ProgramOutput::new(arguments.raw))
            .map_err(|error| terminal::stdout_failed(&error))?;
    }
    let directory = arguments.artifacts.as_deref().map(|directory| match several {
        true => directory.join(result.job_id.as_str()),
        false => directory.to_owned(),
    });
    let id = several.then_some(&result.job_id);
    print::end(result, directory.as_deref().map(Path::new), arguments.json, id)
}
