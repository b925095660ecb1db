//! `sandfleet doctor`: what this host can give.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    report::{self, ReportFiles},
    run::SandboxChoice,
    scope, terminal,
};
use crate::{
    app,
    backend::Resolved,
    config::{BackendChoice, Settings},
    doctor::{
        self, Needs, State,
        attack::{self, Tried},
        report::{Attacked, Report},
    },
    hooks::Observer,
    shutdown::stop_signal,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Judge only this sandbox, as `sandfleet run` uses it [default: what a worker needs: sandbox.backend,
    /// broker and store]
    #[arg(long)]
    sandbox: Option<SandboxChoice>,

    /// Run hostile programs in that sandbox, as it is configured, and show which are contained
    #[arg(long)]
    attack: bool,

    /// Write what the attack came to into this directory: report.html for people, report.json for --diff
    #[arg(long, value_name = "DIR", requires = "attack")]
    report: Option<PathBuf>,

    /// Compare two reports (report.json, or its directory), such as those from before and after an update of the kernel
    #[arg(
        long,
        num_args = 2,
        value_names = ["OLD", "NEW"],
        conflicts_with_all = ["attack", "report", "sandbox"]
    )]
    diff: Option<Vec<PathBuf>>,

    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if let Some([old, new]) = arguments.diff.as_deref() {
        return report::diff(old, new, arguments.json);
    }
    scope::obtain(settings);
    let mut settings = settings.clone();
    // Containers that wait are made like those that don't: they would tell nothing more.
    settings.sandbox.docker_pool_size = 0;
    let settings = &settings;
    if arguments.attack {
        return attack(&arguments, settings).await;
    }
    let needs =
        Needs { sandbox: choice(&arguments, settings), services: arguments.sandbox.is_none() };
    let findings = doctor::examine(settings, needs).await;
    if arguments.json {
        print_json(&findings)?;
    } else {
        terminal::print(&terminal::lines(&doctor::table(&findings)))?;
    }
    let missing = doctor::missing(&findings);
    if missing.is_empty() {
        return Ok(Exit::Success.into());
    }
    let what = match needs.services {
        true => "a worker can't work here",
        false => "the sandbox is not complete on this host",
    };
    let names: Vec<_> = missing
        .iter()
        .filter(|finding| finding.state == State::Missing)
        .map(|finding| finding.name.as_str())
        .collect();
    let exit = match missing.iter().all(|finding| finding.area == doctor::SERVICES) {
        true => Exit::Unavailable,
        false => Exit::Barrier,
    };
    Err(exit.with(format!("{what}; MISSING: {}", names.join(", "))))
}

/// The sandbox that is asked about.
fn choice(arguments: &Arguments, settings: &Settings) -> BackendChoice {
    arguments.sandbox.map_or(settings.sandbox.backend, BackendChoice::from)
}

async fn attack(arguments: &Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let choice = choice(arguments, settings);
    // A directory that can't be written to is told before the attack and not after it.
    let files = arguments.report.as_deref().map(ReportFiles::create).transpose()?;
    let opened = match app::open_chosen_sandbox(choice, settings, Observer::default()).await {
        Ok(opened) => opened,
        Err(error) => {
            if let Some(files) = files {
                let reason = error.to_string();
                files.write(&Report::make(choice, settings, Attacked::NotOpened(&reason)).await)?;
            }
            return Err(error.into());
        }
    };
    let Resolved { backend, made: sandbox, .. } = opened;
    let is_local = app::is_here(backend, settings);
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
    if let Some(files) = files {
        let attacked = Attacked::Opened(backend, sandbox.description(), &tried);
        files.write(&Report::make(choice, settings, attacked).await)?;
    }
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
