//! `sandfleet worker`: take jobs from the broker until told to stop.

use std::process::ExitCode;

use clap::Args;

use super::{
    exit::{Exit, Failure},
    run::SandboxChoice,
    scope,
};
use crate::{
    app,
    config::{Backend, Settings},
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print the settings in force, with secrets masked, and do nothing else
    #[arg(long)]
    check_config: bool,

    /// What keeps programs apart from this machine [default: sandbox.backend]
    #[arg(long)]
    sandbox: Option<SandboxChoice>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if arguments.check_config {
        print!("{}", settings.effective());
        return Ok(Exit::Success.into());
    }
    let backend = arguments.sandbox.map_or(settings.sandbox.backend, Into::into);
    if backend == Backend::Native {
        scope::obtain(settings);
    }
    app::work(backend, settings).await.map_err(|error| match error {
        app::StartError::Sandbox(error) => super::run::refuse(error),
        app::StartError::Unavailable(reason) => Exit::Unavailable.with(reason),
    })?;
    Ok(Exit::Success.into())
}
