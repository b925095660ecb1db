//! `sandfleet queue requeue` and `drop`: what becomes of messages that no worker settled.
//!
//! A job has one result and it never changes. So a message whose job ended is not requeued: a worker would acknowledge it
//! without running it. And a message is dropped only after its job, if it still waits for a result, was cancelled: no
//! client waits in vain.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use sandfleet_common::{JobState, PrintableText};
use sandfleet_transport::{
    Error,
    audit::{Act, Event},
    records::RedisStore,
};

use super::{
    selection::{Filters, Named, connect, report_missing, unavailable},
    standing::{Standing, standing},
    summary::{Payload, Summary},
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        fleet::own_name,
        switches::store,
        terminal,
    },
    config::Settings,
    queue::{KeptMessage, KeptMessages, Look},
};

#[derive(Args)]
pub(super) struct RequeueArguments {
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
pub(super) struct DropArguments {
    #[command(flatten)]
    which: Which,

    /// Don't ask
    #[arg(long)]
    yes: bool,
}

/// Names, or all that the filters leave.
#[derive(Args)]
struct Which {
    /// Keys as `queue list` shows them, ids of jobs, or ids of messages
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<String>,

    /// All messages that the other flags leave
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    filters: Filters,
}

impl Which {
    fn fit(&self, summary: &Summary, named: &Named) -> bool {
        (self.all || named.fit(summary).next().is_some()) && self.filters.fit(summary)
    }
}

/// What is done with messages.
#[derive(Clone, Copy)]
enum Change<'a> {
    Requeue,
    /// Only those with these keys, which were asked about.
    Drop(&'a BTreeSet<String>),
}

/// What came of a run.
#[derive(Default)]
struct Outcome {
    /// Names that no message fits.
    missing: Vec<String>,
    done: usize,
    refused: usize,
}

pub(super) async fn requeue(
    arguments: RequeueArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let outcome = change_all(&arguments.which, Change::Requeue, settings).await?;
    Ok(exit_of(&outcome).into())
}

pub(super) async fn drop(
    arguments: DropArguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let DropArguments { which, yes } = arguments;
    if !yes && !io::stdin().is_terminal() {
        return Err(Exit::Usage.with(
            "drop removes messages for good, and stdin is no terminal to ask on; add --yes",
        ));
    }
    let keys = find(&which, settings).await?;
    if keys.is_empty() {
        return Ok(exit_of(&Outcome { missing: which.ids, ..Outcome::default() }).into());
    }
    if !yes
        && !ask(&format!(
            "remove {} messages for good? Jobs of theirs that still wait are cancelled",
            keys.len()
        ))
        .await?
    {
        terminal::say("sandfleet: nothing was removed");
        return Ok(Exit::Interrupted.into());
    }
    let keys = keys.into_iter().collect();
    let outcome = change_all(&which, Change::Drop(&keys), settings).await?;
    Ok(exit_of(&outcome).into())
}

fn exit_of(outcome: &Outcome) -> Exit {
    let found = report_missing(&outcome.missing);
    if outcome.missing.is_empty() && outcome.done + outcome.refused == 0 {
        terminal::say("sandfleet: no such message");
    }
    match (found, outcome.refused) {
        (Exit::Success, 0) => Exit::Success,
        (Exit::Success, _) => Exit::Rejected,
        (missing, _) => missing,
    }
}

/// A question that only `y` or `yes` answers.
async fn ask(question: &str) -> Result<bool, Failure> {
    terminal::ask(format_args!("{question} [y/N] "));
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    let line = read.await.map_err(|error| Exit::Internal.because(error))?;
    let line = line.map_err(|error| Exit::Internal.with(format!("stdin: {error}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The keys of the messages that are meant, one for each message.
async fn find(which: &Which, settings: &Settings) -> Result<Vec<String>, Failure> {
    let named = Named(which.ids.clone());
    let messages = connect(settings).await?;
    let mut keys = Vec::new();
    for kept in which.filters.queues() {
        let mut look = messages.look(kept).await.map_err(unavailable)?;
        while let Some(message) = look.next().await.map_err(unavailable)? {
            let payload = Payload::of(&message.body, settings.jobs.max_bytes);
            let summary = Summary::of(&message, &payload);
            if which.fit(&summary, &named) {
                keys.push(summary.key);
            }
            look.leave(message).await.map_err(unavailable)?;
        }
        look.close().await.map_err(unavailable)?;
    }
    Ok(keys)
}

async fn change_all(
    which: &Which,
    change: Change<'_>,
    settings: &Settings,
) -> Result<Outcome, Failure> {
    let named = Named(which.ids.clone());
    let store = store(settings)?;
    // What can't be noted isn't done: who did it would not be known.
    store.ping().await.map_err(|error| Exit::Unavailable.because(error))?;
    let messages = connect(settings).await?;
    let mut outcome = Outcome { missing: named.0.clone(), ..Outcome::default() };
    for kept in which.filters.queues() {
        let mut look = messages.look(kept).await.map_err(unavailable)?;
        while let Some(message) = look.next().await.map_err(unavailable)? {
            let payload = Payload::of(&message.body, settings.jobs.max_bytes);
            let summary = Summary::of(&message, &payload);
            let is_asked_about = match change {
                Change::Requeue => true,
                Change::Drop(keys) => keys.contains(&summary.key),
            };
            if !which.fit(&summary, &named) || !is_asked_about {
                look.leave(message).await.map_err(unavailable)?;
                continue;
            }
            let fitting: Vec<_> = named.fit(&summary).cloned().collect();
            outcome.missing.retain(|name| !fitting.contains(name));
            let one = One {
                store: &store,
                messages: &messages,
                look: &mut look,
                settings,
                payload,
                summary,
            };
            let changed = match change {
                Change::Requeue => one.requeue(message).await?,
                Change::Drop(_) => one.drop(message).await?,
            };
            match changed {
                true => outcome.done += 1,
                false => outcome.refused += 1,
            }
        }
        look.close().await.map_err(unavailable)?;
    }
    Ok(outcome)
}

/// A message that was taken, and what is known of it.
struct One<'a, 'b> {
    store: &'a RedisStore,
    messages: &'a KeptMessages,
    look: &'a mut Look<'b>,
    settings: &'a Settings,
    payload: Payload,
    summary: Summary,
}

impl One<'_, '_> {
    /// Puts it back into the queue it came from. Says whether it did, and prints what it did or why not.
    async fn requeue(self, message: KeptMessage) -> Result<bool, Failure> {
        let prefix = &self.settings.queue.prefix;
        let queue = message.origin(prefix).or_else(|| self.payload.queue(prefix));
        let standing = standing(self.store, &self.payload).await;
        let mut may = may_requeue(&message, queue, &standing, Timestamp::now());
        if let Ok((queue, _)) = &may
            && !self.messages.has_queue(queue).await.map_err(unavailable)?
        {
            may = Err(format!(
                "there is no queue {queue}; make it with `sandfleet setup --isolation`"
            ));
        }
        let (queue, remark) = match may {
            Ok(may) => may,
            Err(why) => {
                terminal::print_line(format_args!("{}: not requeued: {why}", self.summary.name()))?;
                self.look.leave(message).await.map_err(unavailable)?;
                return Ok(false);
            }
        };
        self.look.requeue(message, &queue).await.map_err(unavailable)?;
        self.note(Act::Requeued, &format!(" to {queue}")).await?;
        terminal::print_line(format_args!("{}: requeued to {queue}{remark}", self.summary.name()))?;
        Ok(true)
    }

    /// Removes it, after its job was cancelled if that waits for a result and is not another's. Says whether it did.
    async fn drop(self, message: KeptMessage) -> Result<bool, Failure> {
        let name = self.summary.name();
        let (mut state, mut remark) = (None, "");
        match standing(self.store, &self.payload).await {
            Standing::Unknown(Error::Store(error)) if !error.is_damaged => {
                terminal::print_line(format_args!(
                    "{name}: not removed: what became of its job is not known: {error}"
                ))?;
                self.look.leave(message).await.map_err(unavailable)?;
                return Ok(false);
            }
            Standing::Unknown(_) => remark = "; what the store has of its job can't be read",
            Standing::Job(known) => state = Some(known),
            Standing::NoJob | Standing::Twin => {}
        }
        if let (Some(JobState::Queued(_)), Some(job)) = (state.as_deref(), &self.payload.job_id) {
            let result_ttl = Duration::from_millis(self.settings.store.result_ttl_ms);
            let cancelled = self.store.cancel(job, &own_name(), result_ttl).await;
            cancelled.map_err(unavailable)?;
            remark = "; its job waited and is cancelled";
        }
        self.look.remove(message).await.map_err(unavailable)?;
        self.note(Act::Purged, "").await?;
        terminal::print_line(format_args!("{name}: removed{remark}"))?;
        Ok(true)
    }

    async fn note(&self, act: Act, more: &str) -> Result<(), Failure> {
        let Summary { kept, cause, tenant, .. } = &self.summary;
        let event = Event::of(act, self.summary.subject())
            .of_tenant(tenant.as_deref())
            .with(format!("from {kept} ({cause}){more}"));
        self.store.note(event).await.map_err(|error| Exit::Unavailable.because(error))
    }
}

/// Where a message goes, and what to know of it; or why it stays.
fn may_requeue(
    message: &KeptMessage,
    queue: Option<String>,
    standing: &Standing,
    now: Timestamp,
) -> Result<(String, String), String> {
    let remark = match standing {
        Standing::NoJob => {
            return Err("it names no job, so it would come back at once; drop it".into());
        }
        Standing::Twin => {
            return Err("another job has its id, so it would come back at once; drop it, and submit its job under \
                        another id"
                .into());
        }
        Standing::Unknown(error) => {
            return Err(format!(
                "what became of its job is not known: {}",
                PrintableText::new(error)
            ));
        }
        Standing::Job(state) => match state.as_ref() {
            JobState::Done(result) => {
                return Err(has_ended(result.status.as_str()));
            }
            JobState::ResultExpired(status) => return Err(has_ended(status.as_str())),
            JobState::Running(_) => {
                "; its job runs, and only if that fails is this copy needed".into()
            }
            JobState::Queued(queued) if queued.attempts > 0 => {
                format!("; its job was started {} times before", queued.attempts)
            }
            JobState::Queued(_) | JobState::Unknown => String::new(),
        },
    };
    if message.is_over(now) {
        return Err("the time is over that its producer gave it (expiration); a worker answers it so, or drop it".into());
    }
    let queue = queue
        .ok_or("it doesn't say which queue it belongs into; drop it, and submit its job again")?;
    Ok((queue, remark))
}

fn has_ended(status: &str) -> String {
    format!(
        "its job has ended ({status}), and a job has one result: no worker would run it again. Submit it under another id, \
         and drop this"
    )
}
