//! The page `docs/metrics.md`, and the list that dashboards and tests are checked against.

use sandfleet_common::{Priority, Status, Verdict};

use super::{
    NONE, OTHER, REFUSING, WARM_RESULTS, declaration::Declaration, fleet_table, names, table,
};
use crate::labels::{
    Call, DeathCause, InterpreterEvent, Kill, Leftover, PoolEvent, RetryCause, Service, Stage,
    Stream, Violation,
};

/// A metric, as dashboards and tests know it.
#[derive(Debug, Clone, Copy)]
pub struct Described {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
}

/// Every metric of a worker, and every metric of the exporter.
pub fn described() -> [Vec<Described>; 2] {
    [table::TABLE, fleet_table::TABLE].map(|table| {
        let described =
            |it: &Declaration| Described { name: it.name, kind: it.kind, labels: it.labels };
        table.iter().map(described).collect()
    })
}

/// The page `docs/metrics.md`, made from the tables of metrics.
pub fn reference() -> String {
    let mut text = "\
<!-- Made by `sandfleet docs metrics`; edit worker/src/metrics/table.rs and fleet_table.rs instead. -->

# Metrics

## Of a worker

A worker shows them to Prometheus at `http://<admin.address>/metrics`, together with `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_open_fds` and their siblings.

"
    .to_owned();
    text += &rows(table::TABLE);
    text += "\n\
## Of the fleet

`sandfleet exporter` shows them at `http://<exporter.address>/metrics`. Run one for a fleet, on any machine that reaches the
broker and the store; it works while no worker lives, and loses nothing when it is restarted.

";
    text += &rows(fleet_table::TABLE);
    text += "\n## Labels\n\nThe values of labels are closed lists, so that jobs can't make new series:\n\n";
    let statuses = Status::ALL.iter().filter(|status| status.is_final()).map(|s| s.as_str());
    let calls =
        Call::ALL.iter().map(|call| format!("`{}` ({})", call.as_str(), call.service().as_str()));
    for (label, values) in [
        ("status", code_list(statuses)),
        ("verdict", code_list(Verdict::ALL.iter().map(|v| v.as_str()).chain([NONE]))),
        ("language", format!("the catalogue's languages, `{OTHER}`")),
        ("priority", code_list(Priority::ALL.iter().map(|it| it.as_str()).chain([NONE]))),
        ("tenant", format!("the first `admin.metrics_tenants` tenants, `{OTHER}`")),
        ("stage", code_list(names(Stage::ALL, Stage::as_str))),
        ("stream", code_list(names(Stream::ALL, Stream::as_str))),
        ("limit, of kills", code_list(names(Kill::ALL, Kill::as_str))),
        ("limit, of hits", code_list(names(&REFUSING, |limit| limit.as_str()))),
        ("cause, of retries", code_list(names(RetryCause::ALL, RetryCause::as_str))),
        ("cause, of dead letters", code_list(names(DeathCause::ALL, DeathCause::as_str))),
        ("state, of workers", code_list(["ready", "not_ready", "stopping"])),
        ("kind, of security events", code_list(names(Violation::ALL, Violation::as_str))),
        ("kind, of what dead workers left", code_list(names(Leftover::ALL, Leftover::as_str))),
        ("kind, of queues", code_list(["jobs", "tenant_jobs", "dead", "later", "unreadable"])),
        ("result", code_list(WARM_RESULTS)),
        (
            "event, of interpreters",
            code_list(names(InterpreterEvent::ALL, InterpreterEvent::as_str)),
        ),
        ("event, of containers", code_list(names(PoolEvent::ALL, PoolEvent::as_str))),
        ("service", code_list(names(Service::ALL, Service::as_str))),
        ("call", calls.collect::<Vec<_>>().join(", ")),
        ("component", code_list(["broker", "store", "sandbox", "memory"])),
        ("file", code_list(["ca_file", "certificate_file"])),
    ] {
        text += &format!("- `{label}`: {values}\n");
    }
    text
}

fn rows(table: &[Declaration]) -> String {
    let mut text = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n".to_owned();
    for metric in table {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let Declaration { name, kind, help, .. } = metric;
        text += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    text
}

fn code_list(values: impl IntoIterator<Item = &'static str>) -> String {
    values.into_iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}
