//! A sample as tables.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sandfleet_common::{JobState, PrintableText, Priority};

use super::{
    grid::{Cell, Grid, GridRow, Order},
    sample::{Sample, TenantNow, outcome},
};
use crate::cli::age::age;

/// The tables, in the order of their tabs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Workers,
    Queues,
    Tenants,
    Jobs,
    Ended,
}

impl Tab {
    pub(super) const ALL: [Tab; 5] =
        [Tab::Workers, Tab::Queues, Tab::Tenants, Tab::Jobs, Tab::Ended];

    pub(super) fn title(self) -> &'static str {
        match self {
            Tab::Workers => "workers",
            Tab::Queues => "queues",
            Tab::Tenants => "tenants",
            Tab::Jobs => "jobs",
            Tab::Ended => "ended",
        }
    }

    /// How it is sorted at first: what matters most on top.
    pub(super) fn order(self) -> Order {
        let (column, descends) = match self {
            Tab::Workers => (1, true),
            Tab::Queues => (2, true),
            Tab::Tenants => (1, true),
            Tab::Jobs => (2, true),
            Tab::Ended => (0, false),
        };
        Order { column, descends }
    }

    /// The table of a sample.
    pub(super) fn grid(self, sample: &Sample) -> Grid {
        match self {
            Tab::Workers => workers(sample),
            Tab::Queues => queues(sample),
            Tab::Tenants => tenants(sample),
            Tab::Jobs => jobs(sample),
            Tab::Ended => ended(sample),
        }
    }
}

/// How long ago that was, for people and for sorting.
fn since(at: Option<Timestamp>, now: Timestamp) -> Cell {
    match at {
        Some(at) => {
            let seconds = (now.as_second() - at.as_second()).max(0);
            Cell::number(seconds, age(seconds))
        }
        None => Cell::number(0, "-"),
    }
}

fn text(text: Option<&str>) -> Cell {
    Cell::text(text.unwrap_or("-"))
}

fn workers(sample: &Sample) -> Grid {
    let mut ended = BTreeMap::<&str, usize>::new();
    for job in sample.lately() {
        *ended.entry(&job.worker_id).or_default() += 1;
    }
    let rows = sample.workers.iter().map(|it| {
        let state = match (it.stopping, it.ready) {
            (true, _) => "stopping",
            (false, true) => "ready",
            (false, false) => "not ready",
        };
        let ended = ended.get(PrintableText::new(&it.worker_id).as_str());
        GridRow {
            id: it.worker_id.clone(),
            cells: vec![
                Cell::text(&it.worker_id),
                Cell::number(it.busy, format_args!("{}/{}", it.busy, it.slots)),
                Cell::text(state),
                Cell::count(ended.copied().unwrap_or(0)),
                Cell::text(format_args!("{} ({})", it.backend, it.isolation.as_str())),
                since(Some(it.started_at), sample.at),
                Cell::text(&it.version),
                Cell::text(it.languages.join(" ")),
            ],
        }
    });
    Grid {
        header: vec![
            "WORKER",
            "BUSY",
            "STATE",
            "ENDED/MIN",
            "SANDBOX",
            "UP",
            "VERSION",
            "LANGUAGES",
        ],
        rows: rows.collect(),
    }
}

fn queues(sample: &Sample) -> Grid {
    let mut oldest = BTreeMap::<&str, Timestamp>::new();
    for job in sample.waiting() {
        if let (Some(queue), Some(at)) = (&job.queue, job.queued_at) {
            let known = oldest.entry(queue).or_insert(at);
            *known = at.min(*known);
        }
    }
    let is_shown =
        |kind: &str, messages: u32| messages > 0 || !matches!(kind, "tenant_jobs" | "later");
    let rows = sample.queues.iter().filter(|it| is_shown(it.kind, it.messages)).map(|it| {
        let oldest = oldest.get(it.name.as_str()).copied();
        GridRow {
            id: it.name.clone(),
            cells: vec![
                Cell::text(&it.name),
                Cell::text(it.priority.map_or("-", Priority::as_str)),
                Cell::number(it.messages, it.messages),
                since(oldest, sample.at),
                Cell::number(it.consumers, it.consumers),
            ],
        }
    });
    Grid {
        header: vec!["QUEUE", "PRIORITY", "MESSAGES", "OLDEST", "CONSUMERS"],
        rows: rows.collect(),
    }
}

fn tenants(sample: &Sample) -> Grid {
    let row = |(tenant, it): (String, TenantNow)| GridRow {
        cells: vec![
            Cell::text(&tenant),
            Cell::count(it.interactive + it.batch),
            Cell::count(it.interactive),
            Cell::count(it.batch),
            since(it.oldest, sample.at),
            Cell::count(it.running),
            Cell::count(it.ended),
            Cell::count(it.ended - it.accepted),
            Cell::number(it.used.jobs, it.used.jobs),
            Cell::number(it.used.cpu_ms / 1000, format_args!("{} s", it.used.cpu_ms / 1000)),
        ],
        id: tenant,
    };
    Grid {
        header: vec![
            "TENANT",
            "WAITING",
            "INTERACTIVE",
            "BATCH",
            "OLDEST",
            "RUNNING",
            "ENDED/MIN",
            "FAILED/MIN",
            "JOBS TODAY",
            "CPU TODAY",
        ],
        rows: sample.tenants().into_iter().map(row).collect(),
    }
}

fn jobs(sample: &Sample) -> Grid {
    let rows = sample.live.iter().map(|it| {
        let (state, begun, worker, attempt) = match &it.state {
            JobState::Running(running) => {
                let state = if running.cancelled { "cancelling" } else { "running" };
                (state, running.started_at, Some(running.worker_id.as_str()), running.attempt)
            }
            JobState::Queued(queued) => ("waiting", it.queued_at, None, queued.attempts),
            _ => ("-", None, None, 0),
        };
        GridRow {
            id: it.id.to_string(),
            cells: vec![
                Cell::text(&it.id),
                Cell::text(state),
                since(begun, sample.at),
                text(it.tenant.as_deref()),
                text(it.language.as_deref()),
                text(worker),
                Cell::number(attempt, attempt),
                text(it.queue.as_deref()),
            ],
        }
    });
    Grid {
        header: vec!["JOB", "STATE", "FOR", "TENANT", "LANGUAGE", "WORKER", "STARTS", "QUEUE"],
        rows: rows.collect(),
    }
}

fn ended(sample: &Sample) -> Grid {
    let rows = sample.ended.iter().map(|it| GridRow {
        id: it.job_id.to_string(),
        cells: vec![
            since(Some(it.finished_at), sample.at),
            Cell::text(&it.job_id),
            Cell::text(outcome(it)),
            text(it.tenant.as_deref()),
            text(it.language.as_deref()),
            Cell::number(it.timing.queue_ms, format_args!("{} ms", it.timing.queue_ms)),
            Cell::number(it.timing.run_ms, format_args!("{} ms", it.timing.run_ms)),
            Cell::text(&it.worker_id),
        ],
    });
    Grid {
        header: vec!["AGO", "JOB", "OUTCOME", "TENANT", "LANGUAGE", "QUEUE", "RUN", "WORKER"],
        rows: rows.collect(),
    }
}
