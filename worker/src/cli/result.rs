//! `sandfleet result`: results of jobs, or their states.

use std::process::ExitCode;

use clap::Args;
use sandfleet_common::{JobId, JobResult, JobState};
use sandfleet_sdk::Client;

use super::{
    exit::{Exit, Failure},
    explain::explain,
    fleet::connect,
    show::{self, ShowArguments},
    terminal,
};
use crate::config::Settings;

#[derive(Args)]
pub(super) struct Arguments {
    /// The jobs' ids; artifacts of several go into a directory each, and the first exit code that isn't 0
    /// counts
    #[arg(required = true, value_name = "JOB_ID")]
    job_ids: Vec<JobId>,

    /// Wait until there is one
    #[arg(long)]
    wait: bool,

    /// Tell each job's life in words, instead of showing what it printed
    #[arg(long, conflicts_with_all = ["json", "raw", "artifacts"])]
    explain: bool,

    #[command(flatten)]
    show: ShowArguments,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if let Some(flag) = arguments.show.only_when_waiting().filter(|_| !arguments.wait) {
        return Err(Exit::Usage.with(format!("{flag} needs --wait")));
    }
    let client = connect(settings).await?;
    let several = arguments.job_ids.len() > 1;
    let mut code = Exit::Success as u8;
    for id in &arguments.job_ids {
        let one = match one(&client, id, &arguments, several).await {
            Ok(code) => code,
            // Without a reader the others have none either.
            Err(failure) if !several || failure.exit == Exit::ClosedPipe => return Err(failure),
            Err(failure) => {
                terminal::say_lines(&terminal::failure_text(&failure));
                failure.exit as u8
            }
        };
        code = if code == 0 { one } else { code };
    }
    Ok(code.into())
}

async fn one(
    client: &Client,
    id: &JobId,
    arguments: &Arguments,
    several: bool,
) -> Result<u8, Failure> {
    let progress = client.progress(id).await?;
    match &progress.state {
        JobState::Done(result) => present(result, arguments, several),
        // Waiting would never end.
        JobState::Unknown | JobState::ResultExpired(_) => Err(show::missing(id, &progress)),
        _ if arguments.wait => {
            show::warn_of_hindrance(client, id).await?;
            let result = show::wait(client, id, arguments.show.timeout()).await?;
            present(&result, arguments, several)
        }
        _ => Err(show::missing(id, &progress)),
    }
}

/// Shows a result as it is asked for. That it was told succeeds, whatever it says.
fn present(result: &JobResult, arguments: &Arguments, several: bool) -> Result<u8, Failure> {
    if !arguments.explain {
        return show::show(result, &arguments.show, several);
    }
    if several {
        terminal::print_line(format_args!("job {}", result.job_id))?;
    }
    terminal::print(&terminal::lines(&explain(result)))?;
    Ok(Exit::Success as u8)
}
