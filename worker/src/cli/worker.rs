//! `sandfleet worker`: take jobs from the broker until told to stop.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use sandfleet_transport::Refusal;

use super::{
    exit::{Exit, Failure},
    log, quantity,
    run::SandboxChoice,
    scope, terminal,
};
use crate::{
    config::{BackendChoice, Settings},
    work::{self, DrainAfter, WorkError},
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print the settings in force, with secrets masked, and do nothing else
    #[arg(long, conflicts_with_all = ["sandbox", "drain_after", "drain_after_jobs"])]
    check_config: bool,

    /// The sandbox backend [default: sandbox.backend]
    #[arg(long)]
    sandbox: Option<SandboxChoice>,

    /// Drain and exit after this time, such as 90s, 30m or 12h, so that a supervisor can restart it
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    drain_after: Option<Duration>,

    /// Drain and exit after this many jobs
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    drain_after_jobs: Option<u64>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if arguments.check_config {
        terminal::print(&terminal::lines(&settings.effective()))?;
        return Ok(Exit::Success.into());
    }
    let choice = arguments.sandbox.map_or(settings.sandbox.backend, BackendChoice::from);
    if choice != BackendChoice::Docker {
        scope::obtain(settings);
    }
    let until = DrainAfter { time: arguments.drain_after, jobs: arguments.drain_after_jobs };
    work::work(choice, settings, until, log::lost_lines).await.map_err(|error| match error {
        WorkError::Sandbox(error) => error.into(),
        WorkError::Unavailable(reason) => Exit::Unavailable.with(reason),
        WorkError::Memory(_) => Exit::Usage.because(error),
        WorkError::Stuck(reason) => Exit::Stuck.with(reason),
        WorkError::Refused(refusal, reason) => match refusal {
            Refusal::Access => Exit::Access,
            Refusal::Setting => Exit::Setting,
            Refusal::Protocol => Exit::Protocol,
        }
        .with(reason),
    })?;
    Ok(Exit::Success.into())
}
