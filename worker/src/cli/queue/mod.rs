//! `sandfleet queue`: what waits where, and the messages that no worker settled. It takes AMQP and the store, and no plugin
//! of the broker's.

mod change;
mod list;
mod overview;
mod show;
mod summary;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use sandfleet_common::{Isolation, PrintableText};
use sandfleet_transport::Kept;

use self::summary::Summary;
use super::exit::{Exit, Failure};
use crate::{
    app,
    config::Settings,
    queue::{AmqpConfig, KeptMessages},
};

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

/// Which of the messages that no worker settled.
#[derive(Args)]
struct Filters {
    /// Only those of one of the two queues
    #[arg(long = "in", value_name = "QUEUE")]
    kept: Option<Where>,

    /// Only those with this cause, such as delivery_limit, expired, malformed, no_job or twin
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,

    /// Only those that name this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Only those that name this language
    #[arg(long, value_name = "NAME")]
    language: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Where {
    /// The dead letters, which workers answer
    Dead,
    /// The messages that can't be answered
    Unreadable,
}

impl Where {
    fn kept(self) -> Kept {
        match self {
            Where::Dead => Kept::Dead,
            Where::Unreadable => Kept::Unreadable,
        }
    }
}

impl Filters {
    /// The queues to look through.
    fn queues(&self) -> Vec<Kept> {
        self.kept.map_or(Kept::ALL.to_vec(), |one| vec![one.kept()])
    }

    fn fit(&self, summary: &Summary) -> bool {
        let is = |found: Option<&PrintableText>, wanted: &Option<String>| match wanted {
            Some(wanted) => found == Some(&PrintableText::new(wanted)),
            None => true,
        };
        is(Some(&summary.cause), &self.cause)
            && is(summary.tenant.as_ref(), &self.tenant)
            && is(summary.language.as_ref(), &self.language)
    }
}

/// Names of messages: the key of a list, the id of the job, or the id of the message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named(Vec<String>);

impl Named {
    /// Which of the names fit.
    fn fit<'a>(&'a self, summary: &'a Summary) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(|name| {
            **name == summary.key
                || summary.job_id.as_ref().is_some_and(|job| job.as_str() == **name)
                || summary.message_id.as_ref() == Some(&PrintableText::new(name))
        })
    }
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

async fn connect(settings: &Settings) -> Result<KeptMessages, Failure> {
    let config = AmqpConfig {
        name: "sandfleet queue".into(),
        ..app::amqp_config(settings, Isolation::Container)
    };
    KeptMessages::connect(&config).await.map_err(unavailable)
}

fn unavailable(error: sandfleet_transport::Error) -> Failure {
    Exit::Unavailable.because(error)
}

/// A size in bytes, for people.
fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
