//! `sandfleet exporter`: the fleet's metrics, for Prometheus.

use std::process::ExitCode;

use clap::Args;

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::{config::Settings, exporter};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print them once and exit
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if arguments.once {
        let page =
            exporter::look(settings).await.map_err(|reason| Exit::Unavailable.with(reason))?;
        terminal::print(&page)?;
        return Ok(Exit::Success.into());
    }
    exporter::export(settings).await.map_err(|reason| Exit::Unavailable.with(reason))?;
    Ok(Exit::Success.into())
}
