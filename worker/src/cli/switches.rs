//! `sandfleet hold`, `release`, `drain` and `kill`: an operator's switches.

use std::process::ExitCode;

use clap::Args;
use sandfleet_transport::records::{Action, RedisStore, Scope};

use super::{
    exit::{Exit, Failure},
    fleet::own_name,
    terminal,
};
use crate::{app, config::Settings};

/// Which jobs a switch is about: exactly one of these.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct ScopeArguments {
    /// All jobs
    #[arg(long)]
    all: bool,
    /// The jobs of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// The jobs in this language
    #[arg(long, value_name = "NAME")]
    language: Option<String>,
    /// The jobs that would run in the image with this digest, as results show it
    #[arg(long, value_name = "DIGEST")]
    image: Option<String>,
}

impl ScopeArguments {
    fn scope(self) -> Result<Scope, Failure> {
        let Self { all: _, tenant, language, image } = self;
        let text = match (tenant, language, image) {
            (Some(name), _, _) => format!("tenant:{name}"),
            (_, Some(name), _) => format!("language:{name}"),
            (_, _, Some(digest)) => format!("image:{digest}"),
            (None, None, None) => "all".into(),
        };
        text.parse().map_err(|why| Exit::Usage.with(why))
    }
}

#[derive(Args)]
pub(super) struct HoldArguments {
    #[command(flatten)]
    scope: ScopeArguments,
}

#[derive(Args)]
pub(super) struct ReleaseArguments {
    #[command(flatten)]
    scope: ScopeArguments,
}

#[derive(Args)]
pub(super) struct KillArguments {
    #[command(flatten)]
    scope: ScopeArguments,
}

#[derive(Args)]
pub(super) struct DrainArguments {}

pub(super) async fn hold(
    arguments: HoldArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let scope = arguments.scope.scope()?;
    store(settings)?.throw(Action::Hold, &scope, &own_name()).await.map_err(unavailable)?;
    say(format!("hold {scope}: such jobs wait until `sandfleet release`; running ones go on"))
}

pub(super) async fn drain(_: DrainArguments, settings: &Settings) -> Result<ExitCode, Failure> {
    store(settings)?.throw(Action::Hold, &Scope::All, &own_name()).await.map_err(unavailable)?;
    say("hold all: no worker takes a job until `sandfleet release --all`; running ones go on"
        .into())
}

pub(super) async fn release(
    arguments: ReleaseArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let scope = arguments.scope.scope()?;
    match store(settings)?.release_hold(&scope).await.map_err(unavailable)? {
        true => say(format!("released {scope}: jobs that were held start within seconds")),
        false => Err(Exit::UnknownJob
            .with(format!("{scope} is not held; `sandfleet workers` shows what is"))),
    }
}

pub(super) async fn kill(
    arguments: KillArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let scope = arguments.scope.scope()?;
    store(settings)?.throw(Action::Kill, &scope, &own_name()).await.map_err(unavailable)?;
    say(format!(
        "kill {scope}: what runs now ends as cancelled; `sandfleet hold` keeps more from starting"
    ))
}

fn say(line: String) -> Result<ExitCode, Failure> {
    terminal::print_line(line)?;
    Ok(Exit::Success.into())
}

/// The store alone: a broker that is away must not keep an operator from it.
pub(super) fn store(settings: &Settings) -> Result<RedisStore, Failure> {
    Ok(RedisStore::connect(app::redis_config(settings))?)
}

fn unavailable(error: sandfleet_transport::StoreError) -> Failure {
    Exit::Unavailable.because(error)
}
