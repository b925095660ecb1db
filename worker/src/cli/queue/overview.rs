//! `sandfleet queue`: every queue of the fleet, how much waits in it, and for how long.

use std::{collections::BTreeMap, process::ExitCode};

use jiff::Timestamp;
use sandfleet_common::{JobState, PrintableText, WorkerInfo};
use sandfleet_transport::{Kept, StoreError, records::RedisStore};
use serde::Serialize;

use super::selection::{connect, unavailable};
use crate::{
    cli::{
        age::age,
        exit::{Exit, Failure},
        switches::store,
        table::columns,
        terminal,
    },
    config::Settings,
    exporter::{BrokerPoll, FleetQueue},
};

/// How many jobs are read at most to find the oldest of each queue.
const MAX_JOBS: usize = 1_000_000;

/// How many dead letters or unreadable messages are looked at for the age of the oldest.
const MAX_LOOK: u32 = 1000;

/// A queue, and what is known of it.
#[derive(Serialize)]
struct Row {
    queue: String,
    kind: &'static str,
    messages: u32,
    consumers: u32,
    /// For how long the oldest of them waits, if that is known.
    oldest_seconds: Option<i64>,
    /// Live workers that take jobs from it; nothing for a queue that isn't for jobs.
    workers: Option<usize>,
}

/// What the store knows.
#[derive(Default)]
struct Stored {
    workers: Vec<WorkerInfo>,
    /// When the oldest job of each queue was submitted.
    oldest: BTreeMap<String, Timestamp>,
    /// Of each queue, when the last job that was taken from it had been submitted.
    taken: BTreeMap<String, i64>,
    switches: Vec<String>,
}

pub(super) async fn run(json: bool, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut broker = BrokerPoll::new(settings).map_err(unavailable)?;
    let queues = broker.poll().await.map_err(|why| Exit::Unavailable.with(why))?;
    // The depths are worth showing without the ages.
    let store = store(settings)?;
    let stored = read(&store).await.unwrap_or_else(|error| {
        terminal::say(format_args!("sandfleet: ages and workers are not known: {error}"));
        Stored::default()
    });
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for queue in &queues {
        let oldest_seconds = match queue.messages {
            0 => None,
            _ => oldest(queue, &stored, settings).await?.map(|at| now.as_second() - at.as_second()),
        };
        let FleetQueue { name, kind, messages, consumers, serves } = queue;
        rows.push(Row {
            queue: name.clone(),
            kind,
            messages: *messages,
            consumers: *consumers,
            oldest_seconds: oldest_seconds.map(|seconds| seconds.max(0)),
            workers: serves.as_ref().map(|serves| {
                let takes = |worker: &&WorkerInfo| {
                    worker.ready
                        && !worker.stopping
                        && worker.isolation >= serves.isolation
                        && worker.priorities.contains(&serves.priority)
                };
                stored.workers.iter().filter(takes).count()
            }),
        });
    }
    if json {
        let shown = serde_json::json!({ "queues": rows, "switches": stored.switches });
        terminal::print(&(terminal::bounded_json(&shown, false)? + "\n"))?;
        return Ok(Exit::Success.into());
    }
    if rows.is_empty() {
        return Err(Exit::Unavailable.with(format!(
            "no queues of this fleet; look at queue.prefix ({}), or make them with `sandfleet setup`",
            settings.queue.prefix
        )));
    }
    terminal::print(&terminal::lines(&table(&rows)))?;
    for switch in &stored.switches {
        terminal::print_line(format_args!("switch: {switch}"))?;
    }
    Ok(Exit::Success.into())
}

async fn read(store: &RedisStore) -> Result<Stored, StoreError> {
    let mut oldest = BTreeMap::<String, Timestamp>::new();
    for job in store.live_jobs(MAX_JOBS).await?.jobs {
        if let (JobState::Queued(_), Some(queue), Some(at)) = (job.state, job.queue, job.queued_at)
        {
            let known = oldest.entry(queue).or_insert(at);
            *known = at.min(*known);
        }
    }
    let switches = store.switches().await?;
    Ok(Stored {
        workers: store.workers().await?,
        oldest,
        taken: store.taken().await?,
        switches: switches.iter().map(|it| PrintableText::new(it).to_string()).collect(),
    })
}

/// Since when the oldest message of a queue is there. Of jobs the store knows it; dead letters and unreadable messages are
/// looked at, unless there are many.
async fn oldest(
    queue: &FleetQueue,
    stored: &Stored,
    settings: &Settings,
) -> Result<Option<Timestamp>, Failure> {
    let kept = Kept::ALL.into_iter().find(|kept| kept.as_str() == queue.kind);
    let Some(kept) = kept else {
        let known = stored.oldest.get(&queue.name).copied();
        // Jobs are taken in their order: what waits was submitted after the last that was taken.
        let taken = || stored.taken.get(&queue.name).copied();
        return Ok(known.or_else(|| Timestamp::from_millisecond(taken()?).ok()));
    };
    if queue.messages > MAX_LOOK {
        return Ok(None);
    }
    let messages = connect(settings).await?;
    let mut look = messages.look(kept).await.map_err(unavailable)?;
    let mut oldest: Option<Timestamp> = None;
    while let Some(message) = look.next().await.map_err(unavailable)? {
        oldest = [oldest, message.since].into_iter().flatten().min();
        look.leave(message).await.map_err(unavailable)?;
    }
    look.close().await.map_err(unavailable)?;
    Ok(oldest)
}

/// All queues that hold something or are the only one of their kind; the empty ones of tenants in one line.
fn table(rows: &[Row]) -> String {
    let header = ["QUEUE", "MESSAGES", "OLDEST", "CONSUMERS", "WORKERS"];
    let is_shown = |row: &&Row| row.messages > 0 || !matches!(row.kind, "tenant_jobs" | "later");
    let shown = rows.iter().filter(is_shown).map(|row| {
        [
            row.queue.clone(),
            row.messages.to_string(),
            row.oldest_seconds.map_or("-".into(), age),
            row.consumers.to_string(),
            row.workers.map_or("-".into(), |workers| workers.to_string()),
        ]
    });
    let shown: Vec<_> = std::iter::once(header.map(str::to_owned)).chain(shown).collect();
    let hidden = rows.len() + 1 - shown.len();
    let mut text = columns(&shown);
    if hidden > 0 {
        text += &format!(
            "and {hidden} more queues of tenants and of messages that are put off, all empty\n"
        );
    }
    text
}
