//! `sandfleet queue`: what waits where, and the messages that no worker settled. It takes AMQP and the store, and no plugin
//! of the broker's.

mod change;
mod list;
mod overview;
mod selection;
mod show;
mod standing;
mod summary;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::exit::Failure;
use crate::config::Settings;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,

    /// Print the queues as JSON, one object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// List dead letters and unreadable messages, or the jobs of a queue; they stay where they are
    List(list::Arguments),
    /// Show dead letters and unreadable messages in full, but for code, input and environment
    Show(show::Arguments),
    /// Put dead letters and unreadable messages back into the queue of jobs that they came from
    Requeue(change::RequeueArguments),
    /// Remove dead letters and unreadable messages for good; a job that still waits is cancelled
    Drop(change::DropArguments),
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    match arguments.action {
        None => overview::run(arguments.json, settings).await,
        Some(Action::List(arguments)) => list::run(arguments, settings).await,
        Some(Action::Show(arguments)) => show::run(arguments, settings).await,
        Some(Action::Requeue(arguments)) => change::requeue(arguments, settings).await,
        Some(Action::Drop(arguments)) => change::drop(arguments, settings).await,
    }
}
