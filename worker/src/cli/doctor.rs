//! `sandfleet doctor`: what this host can give.

use std::process::ExitCode;

use clap::Args;

use super::{
    exit::{Exit, Failure},
    run::SandboxChoice,
    scope,
};
use crate::{config::Settings, doctor};

#[derive(Args)]
pub(super) struct Arguments {
    /// The sandbox that has to be complete
    #[arg(long, default_value = "native")]
    sandbox: SandboxChoice,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    scope::obtain(settings);
    let findings = doctor::examine(settings).await;
    if arguments.json {
        let json = serde_json::to_string_pretty(&findings);
        println!("{}", json.map_err(|error| Exit::Internal.because(error))?);
    } else {
        print!("{}", doctor::table(&findings));
    }
    if doctor::is_complete(&findings, arguments.sandbox.into()) {
        return Ok(Exit::Success.into());
    }
    Err(Exit::Barrier.with("the chosen sandbox is not complete on this host; see what is MISSING"))
}
