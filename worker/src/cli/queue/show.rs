//! `sandfleet queue show`: all that is known of a message, but for what its producer put in.

use std::process::ExitCode;

use clap::Args;
use sandfleet_common::{JobState, PrintableText};
use sandfleet_transport::{Error, Kept, records::RedisStore};
use serde_json::{Value, json};

use super::{
    Named, connect,
    summary::{Payload, Summary, outline},
    unavailable,
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        switches::store,
        terminal,
    },
    config::Settings,
    queue::KeptMessage,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Keys as `queue list` shows them, ids of jobs, or ids of messages
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,

    /// Show the message itself as well: code, input and environment
    #[arg(long)]
    body: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let named = Named(arguments.ids);
    let store = store(settings)?;
    let messages = connect(settings).await?;
    let mut missing = named.0.clone();
    for kept in Kept::ALL {
        let mut look = messages.look(kept).await.map_err(unavailable)?;
        while let Some(message) = look.next().await.map_err(unavailable)? {
            let payload = Payload::of(&message.body, settings.jobs.max_bytes);
            let summary = Summary::of(&message, &payload);
            let fitting: Vec<_> = named.fit(&summary).cloned().collect();
            if !fitting.is_empty() {
                missing.retain(|name| !fitting.contains(name));
                let standing = standing(&store, &payload).await;
                print(&message, &payload, &summary, &standing, arguments.body)?;
            }
            look.leave(message).await.map_err(unavailable)?;
        }
        look.close().await.map_err(unavailable)?;
    }
    Ok(report_missing(&missing).into())
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

/// What the store says of a message's job.
pub(super) enum Standing {
    /// The message names no job.
    NoJob,
    /// Another job has the id.
    Twin,
    /// It.
    Job(Box<JobState>),
    /// The store can't be read.
    Unknown(Error),
}

pub(super) async fn standing(store: &RedisStore, payload: &Payload) -> Standing {
    let Some(job) = &payload.job_id else { return Standing::NoJob };
    match store.payload_of(job).await {
        Ok(Some(known)) if known != payload.digest => return Standing::Twin,
        Ok(_) => {}
        Err(error) => return Standing::Unknown(error.into()),
    }
    match store.get(job).await {
        Ok(state) => Standing::Job(Box::new(state)),
        Err(error) => Standing::Unknown(error),
    }
}

impl Standing {
    fn sentence(&self) -> String {
        match self {
            Standing::NoJob => "no job: the message names none".into(),
            Standing::Twin => "another job has this id: its payload differs".into(),
            Standing::Unknown(error) => format!("not known: {}", PrintableText::new(error)),
            Standing::Job(state) => match state.as_ref() {
                JobState::Done(result) => {
                    format!("has its result: {}: {}", result.status, result.message)
                }
                JobState::ResultExpired(status) => {
                    format!("had its result ({status}), which is not kept any more")
                }
                JobState::Running(running) => {
                    format!("runs on worker {}", PrintableText::new(&running.worker_id))
                }
                JobState::Queued(queued) => {
                    format!("waits for its result; starts so far: {}", queued.attempts)
                }
                JobState::Unknown => "not known to the store".into(),
            },
        }
    }
}

fn print(
    message: &KeptMessage,
    payload: &Payload,
    summary: &Summary,
    standing: &Standing,
    with_body: bool,
) -> Result<(), Failure> {
    let headers: serde_json::Map<String, Value> = message
        .headers()
        .into_iter()
        .map(|(name, value)| (name.to_string(), json!(value)))
        .collect();
    let mut shown = json!({
        "message": summary,
        "store": standing.sentence(),
        "headers": headers,
        "job": outline(payload),
    });
    if with_body {
        // As it is, if it is JSON; else as text.
        let body = serde_json::from_slice(&message.body);
        shown["body"] =
            body.unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&message.body)));
        terminal::print(&(terminal::pretty_json(&shown)? + "\n"))
    } else {
        terminal::print(&(terminal::bounded_json(&shown, true)? + "\n"))
    }
}
