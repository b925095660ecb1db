//! `sandfleet queue show`: all that is known of a message, but for what its producer put in.

use std::process::ExitCode;

use clap::Args;
use sandfleet_transport::Kept;
use serde_json::{Value, json};

use super::{
    selection::{Named, connect, report_missing, unavailable},
    standing::{Standing, standing},
    summary::{Payload, Summary, outline},
};
use crate::{
    cli::{exit::Failure, switches::store, terminal},
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
