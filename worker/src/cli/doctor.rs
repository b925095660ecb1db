//! `sandfleet doctor`: what this host can give.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    run::SandboxChoice,
    scope, terminal,
};
use crate::{
    app,
    config::{Backend, Settings},
    doctor::{
        self,
        attack::{self, Tried},
    },
    shutdown::stop_signal,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// The sandbox that has to be complete
    #[arg(long, default_value = "native")]
    sandbox: SandboxChoice,

    /// Run hostile programs in that sandbox, as it is configured, and show which are contained
    #[arg(long)]
    attack: bool,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    scope::obtain(settings);
    let mut settings = settings.clone();
    // Containers that wait are made like those that don't: they would tell nothing more.
    settings.sandbox.docker_pool_size = 0;
    let settings = &settings;
    if arguments.attack {
        return attack(&arguments, settings).await;
    }
    let findings = doctor::examine(settings).await;
    if arguments.json {
        print_json(&findings)?;
    } else {
        terminal::print(&terminal::lines(&doctor::table(&findings)))?;
    }
    if doctor::is_complete(&findings, arguments.sandbox.into()) {
        return Ok(Exit::Success.into());
    }
    Err(Exit::Barrier.with("the chosen sandbox is not complete on this host; see what is MISSING"))
}

async fn attack(arguments: &Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let backend = arguments.sandbox.into();
    let sandbox = app::open_sandbox(backend, settings).await?;
    let is_local = backend == Backend::Native || settings.sandbox.docker_host.starts_with("unix:");
    let watch = |tried: &Tried| {
        if !arguments.json {
            // Without a reader the attempts still count: the exit code tells.
            let _ = terminal::print(&terminal::lines(&attack::row(tried)));
        }
    };
    let tried = tokio::select! {
        tried = attack::attack(Arc::clone(&sandbox), settings, is_local, watch) => Some(tried),
        () = stop_signal() => None,
    };
    sandbox.close().await;
    let Some(tried) = tried else {
        return Err(Exit::Interrupted.with("interrupted"));
    };
    if arguments.json {
        print_json(&tried)?;
    } else {
        terminal::print_line(attack::summary(&tried))?;
    }
    if attack::is_contained(&tried) {
        return Ok(Exit::Success.into());
    }
    Err(Exit::Breach
        .with("not everything was contained; see what is FAIL, and run no jobs on this host"))
}

fn print_json<T: Serialize>(value: &T) -> Result<(), Failure> {
    terminal::print(&(terminal::bounded_json(value, true)? + "\n"))
}
