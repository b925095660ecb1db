//! `sandfleet queue list`: dead letters and unreadable messages, or the jobs that wait in a queue.

use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use sandfleet_common::{JobState, PrintableText};
use sandfleet_transport::records::LiveJob;
use serde::Serialize;

use super::{
    selection::{Filters, Where, connect, size, unavailable},
    summary::{Payload, Summary},
};
use crate::{
    cli::{
        age::age,
        exit::{Exit, Failure},
        switches::store,
        table::columns,
        terminal,
    },
    config::Settings,
};

/// How many jobs of the fleet are read at most to list those of a queue.
const MAX_JOBS: usize = 1_000_000;

#[derive(Args)]
pub(super) struct Arguments {
    /// `dead`, `unreadable`, or a queue of jobs such as container.batch [default: dead and unreadable]
    #[arg(value_name = "QUEUE")]
    queue: Option<String>,

    #[command(flatten)]
    filters: Filters,

    /// How many are listed at most
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Print them as JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// A job that waits.
#[derive(Serialize)]
struct Waiting {
    job_id: String,
    queue: PrintableText,
    queued_at: Option<Timestamp>,
    tenant: Option<PrintableText>,
    language: Option<PrintableText>,
    attempts: u32,
}

pub(super) async fn run(
    mut arguments: Arguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let named = match arguments.queue.as_deref() {
        Some("dead") => Some(Where::Dead),
        Some("unreadable") => Some(Where::Unreadable),
        Some(queue) => {
            let queue = whole_name(&settings.queue.prefix, queue);
            return jobs(&queue, &arguments, settings).await;
        }
        None => None,
    };
    if let Some(named) = named {
        if arguments.filters.kept.is_some() {
            return Err(Exit::Usage.with("--in: the queue is named already; leave one of them out"));
        }
        arguments.filters.kept = Some(named);
    }
    kept(&arguments, settings).await
}

/// A queue may be named as a whole or without what all names begin with.
fn whole_name(prefix: &str, name: &str) -> String {
    let begin = format!("{prefix}.jobs.");
    match name.starts_with(&begin) {
        true => name.to_owned(),
        false => begin + name,
    }
}

async fn kept(arguments: &Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let messages = connect(settings).await?;
    let limit = arguments.limit as usize;
    let (mut found, mut more) = (Vec::new(), 0);
    for kept in arguments.filters.queues() {
        let mut look = messages.look(kept).await.map_err(unavailable)?;
        let mut here = Vec::new();
        // Of a queue of usual length all are looked at: the broker gives them in another order each time.
        while here.len() < limit || !look.is_long() {
            let Some(message) = look.next().await.map_err(unavailable)? else { break };
            let payload = Payload::of(&message.body, settings.jobs.max_bytes);
            let summary = Summary::of(&message, &payload);
            look.leave(message).await.map_err(unavailable)?;
            if arguments.filters.fit(&summary) {
                here.push(summary);
            }
        }
        if look.is_long() {
            terminal::say(format_args!(
                "sandfleet: {} messages are in {}; only as many as --limit were looked at",
                look.all(),
                kept.as_str()
            ));
        }
        look.close().await.map_err(unavailable)?;
        here.sort_by_cached_key(|summary| (summary.since, summary.name()));
        found.extend(here);
    }
    if found.len() > limit {
        more = found.len() - limit;
        found.truncate(limit);
    }
    if arguments.json {
        for summary in &found {
            terminal::print(&(terminal::bounded_json(summary, false)? + "\n"))?;
        }
    } else if !found.is_empty() {
        terminal::print(&terminal::lines(&table(&found, Timestamp::now())))?;
    }
    if found.is_empty() {
        terminal::say("sandfleet: no such message");
    }
    if more > 0 {
        terminal::say(format_args!("sandfleet: {more} more such messages; raise --limit"));
    }
    Ok(Exit::Success.into())
}

fn table(found: &[Summary], now: Timestamp) -> String {
    let header =
        ["KEY", "IN", "CAUSE", "SINCE", "JOB", "TENANT", "LANGUAGE", "FROM", "SIZE", "RETURNS"];
    let text = |text: &Option<PrintableText>| text.as_deref().unwrap_or("-").to_owned();
    let rows = found.iter().map(|it| {
        [
            it.key.clone(),
            it.kept.to_owned(),
            it.cause.to_string(),
            it.since.map_or("-".into(), |since| age(now.as_second() - since.as_second())),
            it.job_id.as_ref().map_or("-".into(), ToString::to_string),
            text(&it.tenant),
            text(&it.language),
            it.queue.to_string(),
            size(it.bytes),
            it.returns.to_string(),
        ]
    });
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    columns(&rows)
}

/// The jobs of a queue as the store knows them. Their messages are not touched: a queue of jobs grants a message only 25
/// returns, and a job that is taken to look at it is kept from workers meanwhile.
async fn jobs(
    queue: &str,
    arguments: &Arguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let Arguments { filters, limit, json, .. } = arguments;
    for (flag, is_given) in [("--in", filters.kept.is_some()), ("--cause", filters.cause.is_some())]
    {
        if is_given {
            return Err(Exit::Usage.with(format!(
                "{flag} is about dead letters and unreadable messages; leave it out"
            )));
        }
    }
    let live = store(settings)?.live_jobs(MAX_JOBS).await;
    let live = live.map_err(|error| Exit::Unavailable.because(error))?;
    let mut waiting: Vec<Waiting> =
        live.jobs.into_iter().filter_map(|job| waits(job, queue, filters)).collect();
    waiting.sort_by(|a, b| (a.queued_at, &a.job_id).cmp(&(b.queued_at, &b.job_id)));
    let all = waiting.len();
    waiting.truncate(*limit as usize);
    if *json {
        for job in &waiting {
            terminal::print(&(terminal::bounded_json(job, false)? + "\n"))?;
        }
    } else if !waiting.is_empty() {
        terminal::print(&terminal::lines(&table_of_jobs(&waiting, Timestamp::now())))?;
    }
    if all == 0 {
        terminal::say(format_args!("sandfleet: no job that the store knows waits in {queue}"));
    } else if all > waiting.len() {
        let more = all - waiting.len();
        terminal::say(format_args!("sandfleet: {more} more wait in {queue}; raise --limit"));
    }
    Ok(Exit::Success.into())
}

fn waits(job: LiveJob, queue: &str, filters: &Filters) -> Option<Waiting> {
    let LiveJob { id, state, tenant, language, queue: of_job, queued_at } = job;
    let JobState::Queued(queued) = state else { return None };
    let is = |found: &Option<String>, wanted: &Option<String>| wanted.is_none() || found == wanted;
    let fits = of_job.as_deref() == Some(queue)
        && is(&tenant, &filters.tenant)
        && is(&language, &filters.language);
    fits.then(|| Waiting {
        job_id: id.to_string(),
        queue: PrintableText::new(queue),
        queued_at,
        tenant: tenant.map(PrintableText::new),
        language: language.map(PrintableText::new),
        attempts: queued.attempts,
    })
}

fn table_of_jobs(waiting: &[Waiting], now: Timestamp) -> String {
    let header = ["JOB", "WAITS", "TENANT", "LANGUAGE", "STARTS"];
    let text = |text: &Option<PrintableText>| text.as_deref().unwrap_or("-").to_owned();
    let rows = waiting.iter().map(|it| {
        [
            it.job_id.clone(),
            it.queued_at.map_or("-".into(), |at| age(now.as_second() - at.as_second())),
            text(&it.tenant),
            text(&it.language),
            it.attempts.to_string(),
        ]
    });
    let rows: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    columns(&rows)
}
