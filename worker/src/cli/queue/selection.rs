//! Which messages a command is about, and where they are.

use clap::{Args, ValueEnum};
use sandfleet_common::{Isolation, PrintableText};
use sandfleet_transport::Kept;

use super::summary::Summary;
use crate::{
    app,
    cli::{
        exit::{Exit, Failure},
        terminal,
    },
    config::Settings,
    queue::{AmqpConfig, KeptMessages},
};

/// Which of the messages that no worker settled.
#[derive(Args)]
pub(super) struct Filters {
    /// Only those of one of the two queues
    #[arg(long = "in", value_name = "QUEUE")]
    pub(super) kept: Option<Where>,

    /// Only those with this cause, such as delivery_limit, expired, malformed, no_job or twin
    #[arg(long, value_name = "CAUSE")]
    pub(super) cause: Option<String>,

    /// Only those that name this tenant
    #[arg(long, value_name = "NAME")]
    pub(super) tenant: Option<String>,

    /// Only those that name this language
    #[arg(long, value_name = "NAME")]
    pub(super) language: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Where {
    /// The dead letters, which workers answer
    Dead,
    /// The messages that can't be answered
    Unreadable,
}

impl Where {
    pub(super) fn kept(self) -> Kept {
        match self {
            Where::Dead => Kept::Dead,
            Where::Unreadable => Kept::Unreadable,
        }
    }
}

impl Filters {
    /// The queues to look through.
    pub(super) fn queues(&self) -> Vec<Kept> {
        self.kept.map_or(Kept::ALL.to_vec(), |one| vec![one.kept()])
    }

    pub(super) fn fit(&self, summary: &Summary) -> bool {
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
pub(super) struct Named(pub(super) Vec<String>);

impl Named {
    /// Which of the names fit.
    pub(super) fn fit<'a>(&'a self, summary: &'a Summary) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(|name| {
            **name == summary.key
                || summary.job_id.as_ref().is_some_and(|job| job.as_str() == **name)
                || summary.message_id.as_ref() == Some(&PrintableText::new(name))
        })
    }
}

pub(super) async fn connect(settings: &Settings) -> Result<KeptMessages, Failure> {
    let config = AmqpConfig {
        name: "sandfleet queue".into(),
        ..app::amqp_config(settings, Isolation::Container)
    };
    KeptMessages::connect(&config).await.map_err(unavailable)
}

pub(super) fn unavailable(error: sandfleet_transport::Error) -> Failure {
    Exit::Unavailable.because(error)
}

/// A size in bytes, for people.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Says which messages were not found.
pub(super) fn report_missing(missing: &[String]) -> Exit {
    for name in missing {
        terminal::say(format_args!(
            "sandfleet: {name}: no such message among the dead letters and the unreadable messages; a worker may have \
             answered it, or holds it now"
        ));
    }
    if missing.is_empty() { Exit::Success } else { Exit::UnknownJob }
}
