//! `sandfleet exporter`: the fleet's metrics, for Prometheus.

use std::process::ExitCode;

use clap::Args;

use super::exit::{Exit, Failure};
use crate::{config::Settings, exporter};

#[derive(Args)]
pub(super) struct Arguments {}

pub(super) async fn run(_: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    exporter::export(settings).await.map_err(|reason| Exit::Unavailable.with(reason))?;
    Ok(Exit::Success.into())
}
