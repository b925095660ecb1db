//! A sample in a few lines, and as JSON.

use sandfleet_common::{JobState, PrintableText};
use serde_json::{Value, json};

use super::{grids::Tab, sample::Sample};
use crate::cli::{age::age, table::columns};

/// How many rows of each table a text shows.
const TEXT_ROWS: usize = 15;
/// How many jobs JSON has, of those that wait or run and of those that ended.
const JSON_JOBS: usize = 1000;

/// What stands above the tables.
pub(super) fn lines(sample: &Sample) -> Vec<String> {
    let (ready, slots, busy) = sample.capacity();
    let others = sample.workers.len() - ready;
    let more = if sample.live_is_cut { "+" } else { "" };
    let mut lines = vec![
        format!(
            "workers {ready} ready, {others} other · slots {busy}/{slots} busy · running {}{more} · waiting {}{more} · messages \
             {} · dead {} · unreadable {}",
            sample.running().count(),
            sample.waiting().count(),
            sample.depth(),
            sample.of_kinds(&["dead"]),
            sample.of_kinds(&["unreadable"]),
        ),
        match sample.oldest() {
            Some(job) => format!(
                "oldest waits {}: {} (tenant {}, language {})",
                age(job.queued_at.map_or(0, |at| sample.at.as_second() - at.as_second()).max(0)),
                job.id,
                job.tenant.as_deref().unwrap_or("-"),
                job.language.as_deref().unwrap_or("-"),
            ),
            None => "no job waits".to_owned(),
        },
        format!("ended {:.1}/s in {} s{}", sample.rate(), sample.window(), verdicts(sample)),
    ];
    lines.extend(sample.switches.iter().map(|switch| format!("switch: {switch}")));
    lines.into_iter().map(|line| PrintableText::from(line).into()).collect()
}

fn verdicts(sample: &Sample) -> String {
    sample.verdicts().iter().map(|(name, count)| format!(" · {name} {count}")).collect()
}

/// What is wrong with the services.
pub(super) fn troubles(sample: &Sample) -> Vec<String> {
    let troubles = [("broker", &sample.broker_trouble), ("store", &sample.store_trouble)];
    let away = troubles.into_iter().filter_map(|(service, trouble)| {
        let trouble = trouble.as_deref()?;
        // Most begin with the service's name.
        let trouble = trouble.strip_prefix(&format!("{service} ")).unwrap_or(trouble);
        Some(format!("{service} away, shown as it was: {trouble}"))
    });
    let blocked =
        sample.broker_is_blocked.then(|| "broker: it is blocked and takes no jobs".into());
    away.chain(blocked).map(|line| PrintableText::from(line).into()).collect()
}

/// A sample as a text of one screen.
pub(super) fn text(sample: &Sample) -> String {
    let mut text =
        format!("sandfleet {} at {:.0}\n", PrintableText::new(&sample.prefix), sample.at);
    for line in troubles(sample).iter().chain(&lines(sample)) {
        text += &format!("{line}\n");
    }
    for tab in Tab::ALL {
        let mut grid = tab.grid(sample);
        grid.arrange("", tab.order());
        let more = grid.rows.len().saturating_sub(TEXT_ROWS);
        text += &format!("\n{}: {}\n", tab.title(), grid.rows.len());
        if !grid.rows.is_empty() {
            text += &columns(&grid.texts(TEXT_ROWS));
        }
        if more > 0 {
            text += &format!("and {more} more\n");
        }
    }
    text
}

/// A sample as JSON.
pub(super) fn json(sample: &Sample) -> Value {
    let (ready, slots, busy) = sample.capacity();
    let queues: Vec<_> = sample
        .queues
        .iter()
        .map(|it| {
            json!({
                "queue": it.name, "kind": it.kind, "messages": it.messages, "consumers": it.consumers,
                "priority": it.priority,
            })
        })
        .collect();
    let tenants: Vec<_> = sample
        .tenants()
        .into_iter()
        .map(|(tenant, it)| {
            json!({
                "tenant": tenant, "waiting_interactive": it.interactive, "waiting_batch": it.batch,
                "running": it.running, "oldest_queued_at": it.oldest, "ended": it.ended,
                "accepted": it.accepted, "jobs_today": it.used.jobs, "cpu_ms_today": it.used.cpu_ms,
                "bytes_today": it.used.bytes,
            })
        })
        .collect();
    let jobs: Vec<_> = sample
        .live
        .iter()
        .take(JSON_JOBS)
        .map(|it| {
            let running = match &it.state {
                JobState::Running(running) => Some(running),
                _ => None,
            };
            json!({
                "job_id": it.id, "state": if running.is_some() { "running" } else { "waiting" },
                "tenant": it.tenant, "language": it.language, "queue": it.queue, "queued_at": it.queued_at,
                "started_at": running.and_then(|it| it.started_at),
                "worker_id": running.map(|it| &it.worker_id),
            })
        })
        .collect();
    let verdicts: serde_json::Map<_, _> = sample
        .verdicts()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), Value::from(count)))
        .collect();
    json!({
        "at": sample.at,
        "prefix": sample.prefix,
        "broker_error": sample.broker_trouble,
        "broker_blocked": sample.broker_is_blocked,
        "store_error": sample.store_trouble,
        "workers": sample.workers,
        "ready_workers": ready,
        "slots": slots,
        "busy": busy,
        "waiting": sample.waiting().count(),
        "running": sample.running().count(),
        "jobs_are_cut": sample.live_is_cut,
        "oldest": sample.oldest().map(|it| json!({ "job_id": it.id, "queued_at": it.queued_at })),
        "ended_per_second": sample.rate(),
        "window_seconds": sample.window(),
        "verdicts": verdicts,
        "queues": queues,
        "tenants": tenants,
        "switches": sample.switches.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "jobs": jobs,
        "ended": sample.ended.iter().take(JSON_JOBS).collect::<Vec<_>>(),
    })
}
