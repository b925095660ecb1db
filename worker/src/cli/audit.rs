//! `sandfleet audit`: who did what.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use jiff::Timestamp;
use sandfleet_transport::records::{AuditEntry, AuditTrail, RedisStore};

use super::{
    exit::{Exit, Failure},
    quantity, terminal,
};
use crate::{app, config::Settings};

#[derive(Args)]
pub(super) struct Arguments {
    /// Show the events of this time up to now, such as 90s, 30m or 24h [default: all that are kept]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    since: Option<Duration>,
    /// Print a line of JSON for each event
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let begin = arguments.since.and_then(|since| Timestamp::now().checked_sub(since).ok());
    // The store alone: a broker that is away must not keep an operator from it.
    let store = RedisStore::connect(app::redis_config(settings))?;
    let trail = store
        .audit_trail(begin.unwrap_or(Timestamp::UNIX_EPOCH))
        .await
        .map_err(|error| Exit::Unavailable.because(error))?;
    let AuditTrail { entries, missing } = trail;
    for entry in &entries {
        match arguments.json {
            true => terminal::print(&(json(entry)? + "\n"))?,
            false => terminal::print_line(line(entry))?,
        }
    }
    for gap in missing {
        terminal::say(format_args!(
            "{} events of {} are gone although only {} are left of at most {}: they were deleted, or audit.entries was \
             raised; audit.file of that user's processes still has them",
            gap.missing, gap.store_user, gap.left, settings.audit.entries
        ));
    }
    Ok(Exit::Success.into())
}

fn json(entry: &AuditEntry) -> Result<String, Failure> {
    let AuditEntry { at, store_user, parts } = entry;
    let mut all = parts.clone();
    // What the store says goes before what its user says.
    all.insert("at".into(), at.to_string());
    all.insert("store_user".into(), store_user.clone());
    terminal::bounded_json(&all, false)
}

fn line(entry: &AuditEntry) -> String {
    let AuditEntry { at, store_user, parts } = entry;
    let part = |name: &str| parts.get(name).map_or("", String::as_str);
    let mut line = format!("{at:.3} {store_user} {} {}", part("action"), part("subject"));
    for (before, name) in [
        (" tenant ", "tenant"),
        (": ", "detail"),
        (" by ", "os_user"),
        (" on ", "host"),
        (" as ", "broker_user"),
    ] {
        if !part(name).is_empty() {
            line += &format!("{before}{}", part(name));
        }
    }
    line
}
