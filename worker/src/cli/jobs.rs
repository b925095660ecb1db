//! `sandfleet jobs`: the jobs that ended lately.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use sandfleet_common::{EndedJob, PrintableText};
use sandfleet_sdk::Client;

use super::{
    exit::{Exit, Failure},
    fleet::connect,
    quantity, table, terminal,
};
use crate::config::Settings;

/// How many entries are read at a time.
const PAGE: usize = 500;

#[derive(Args)]
pub(super) struct Arguments {
    /// Only those whose program was not accepted: failed, over a limit, refused, expired, cancelled
    #[arg(long)]
    failed: bool,

    /// Only those that ended so long ago at most, such as 30m or 24h
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    since: Option<Duration>,

    /// Only those of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Only those of this language
    #[arg(long, value_name = "NAME")]
    language: Option<String>,

    /// How many are listed at most
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Print them as JSON, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let client = connect(settings).await?;
    let found = find(&client, &arguments, Timestamp::now()).await?;
    if arguments.json {
        for job in &found {
            terminal::print(&(terminal::bounded_json(job, false)? + "\n"))?;
        }
    } else if found.is_empty() {
        terminal::say(format_args!("sandfleet: no such job in the history{}", hint(settings)));
    } else {
        terminal::print(&terminal::lines(&table(&found)))?;
    }
    Ok(Exit::Success.into())
}

fn hint(settings: &Settings) -> &'static str {
    match settings.store.history_jobs {
        0 => ", which store.history_jobs = 0 turns off",
        _ => "; it has what workers ended lately, as much as their store.history_jobs says",
    }
}

/// The newest jobs that `wanted` asks for.
async fn find(
    client: &Client,
    wanted: &Arguments,
    now: Timestamp,
) -> Result<Vec<EndedJob>, Failure> {
    let since = wanted.since.map(|since| {
        let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
        now.checked_sub(since).unwrap_or(Timestamp::MIN)
    });
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = client.history(before.as_deref(), PAGE).await?;
        // In the order of their commits, which is about that of their ends.
        for job in page.jobs {
            if is_wanted(&job, wanted, since) {
                found.push(job);
                if found.len() == wanted.limit as usize {
                    return Ok(found);
                }
            }
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(found),
        }
    }
}

fn is_wanted(job: &EndedJob, wanted: &Arguments, since: Option<Timestamp>) -> bool {
    let is = |name: &Option<PrintableText>, wanted: &Option<String>| match wanted {
        Some(wanted) => *name == Some(PrintableText::new(wanted)),
        None => true,
    };
    (!wanted.failed || !job.is_accepted())
        && since.is_none_or(|since| job.finished_at >= since)
        && is(&job.tenant, &wanted.tenant)
        && is(&job.language, &wanted.language)
}

pub(super) fn table(jobs: &[EndedJob]) -> String {
    let header = ["ENDED", "JOB", "OUTCOME", "LANGUAGE", "TENANT", "QUEUE", "RUN", "WORKER"];
    let rows = jobs.iter().map(|job| {
        let text = |text: &Option<PrintableText>| text.as_ref().map_or("-", |it| it).to_owned();
        [
            format!("{:.0}", job.finished_at),
            job.job_id.to_string(),
            job.verdict.map_or(job.status.as_str(), |verdict| verdict.as_str()).to_owned(),
            text(&job.language),
            text(&job.tenant),
            format!("{} ms", job.timing.queue_ms),
            format!("{} ms", job.timing.run_ms),
            job.worker_id.to_string(),
        ]
    });
    table::table(&std::iter::once(header.map(str::to_owned)).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let job: EndedJob = serde_json::from_value(serde_json::json!({
            "job_id": "a-rather-long-id", "tenant": "t\u{1b}[31m", "status": "rejected", "message": "no",
            "finished_at": "2026-01-02T03:04:05Z", "worker_id": "w", "attempt": 0,
            "timing": { "queue_ms": 7, "setup_ms": 0, "run_ms": 0, "collect_ms": 0 },
        }))
        .expect("an entry");
        assert_eq!(
            table(&[job]),
            "ENDED                 JOB               OUTCOME   LANGUAGE  TENANT       QUEUE  RUN   WORKER\n\
             2026-01-02T03:04:05Z  a-rather-long-id  rejected  -         t\\u{1b}[31m  7 ms   0 ms  w\n"
        );
    }
}
