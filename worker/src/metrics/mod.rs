//! Metrics for Prometheus. `table` declares those of a worker, `fleet_table` those of the exporter, each once;
//! `docs/metrics.md` follows from both.

mod counting;
mod declaration;
mod fleet;
mod fleet_table;
mod reference;
mod table;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;

use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use prometheus::{Registry, TextEncoder, process_collector::ProcessCollector};
use sandfleet_common::{LimitName, Priority, Status, Verdict};

use crate::{
    hooks::JobFacts,
    labels::{
        Call, DeathCause, InterpreterEvent, Kill, Leftover, PoolEvent, RetryCause, Service,
        SpanEnd, Stage, Stream, Violation,
    },
};

use table::Handles;

pub use counting::MetricsHooks;
pub use fleet::{FleetMetrics, FleetReport, QueueReport, StoreReport, WorkersReport};
pub use reference::{Described, described, reference};

/// The label of a language that isn't in the catalogue, and of a tenant beyond the cap: what jobs say must not make
/// new series.
const OTHER: &str = "other";

/// The label of a result without a verdict, and of a job whose priority could not be read.
const NONE: &str = "none";

/// How a program can start that may start from a warm interpreter.
const WARM_RESULTS: [&str; 2] = ["hit", "miss"];

/// The limits that refuse something without ending the job.
const REFUSING: [LimitName; 6] = [
    LimitName::Processes,
    LimitName::ScratchBytes,
    LimitName::OpenFiles,
    LimitName::OutputBytes,
    LimitName::ArtifactBytes,
    LimitName::ArtifactCount,
];

/// The metrics of one worker.
pub struct Metrics {
    registry: Registry,
    handles: Handles,
    languages: BTreeSet<String>,
    /// How many tenants have series of their own.
    tenant_cap: usize,
    tenants: RwLock<BTreeSet<String>>,
}

impl Metrics {
    /// Metrics of a worker with so many slots, whose catalogue has these languages, with series of their own for the
    /// first `tenant_cap` tenants.
    ///
    /// # Errors
    /// If a metric is declared wrongly; the tests would have found it.
    pub fn new(
        slots: usize,
        languages: impl IntoIterator<Item = impl Into<String>>,
        tenant_cap: usize,
    ) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let handles = Handles::register(&registry)?;
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let languages = languages.into_iter().map(Into::into).collect();
        let tenants = RwLock::default();
        let metrics = Self { registry, handles, languages, tenant_cap, tenants };
        metrics.handles.slots.set(i64::try_from(slots).unwrap_or(i64::MAX));
        metrics.create_series();
        Ok(metrics)
    }

    /// A series that begins with its first event shows no increase at that event, so that an alert
    /// on the first failure would stay silent: all begin at 0. On a job's path no series is made then, which is all
    /// that the families' locks wait for.
    fn create_series(&self) {
        let handles = &self.handles;
        let languages = || self.languages.iter().map(String::as_str).chain([OTHER]);
        let kinds = languages()
            .flat_map(|language| Priority::ALL.iter().map(move |it| (language, it.as_str())))
            .chain([(OTHER, NONE)]);
        for (language, priority) in kinds {
            for verdict in Verdict::ALL {
                self.results(verdict.status(), Some(*verdict), language, priority);
            }
            for status in [Status::Cancelled, Status::Expired, Status::Rejected, Status::Error] {
                self.results(status, None, language, priority);
            }
        }
        for language in languages() {
            handles.jobs_started.with_label_values(&[language]);
            handles.busy_seconds.with_label_values(&[language]);
        }
        for stream in Stream::ALL {
            handles.output_bytes.with_label_values(&[stream.as_str()]);
            handles.truncations.with_label_values(&[stream.as_str()]);
        }
        for priority in Priority::ALL.iter().map(|it| it.as_str()).chain([NONE]) {
            handles.job_seconds.with_label_values(&[priority]);
        }
        for stage in Stage::ALL {
            handles.stage_seconds.with_label_values(&[stage.as_str()]);
        }
        let counters = [
            (&handles.dead_letters, names(DeathCause::ALL, DeathCause::as_str)),
            (&handles.job_retries, names(RetryCause::ALL, RetryCause::as_str)),
            (&handles.job_kills, names(Kill::ALL, Kill::as_str)),
            (&handles.limits_hit, names(&REFUSING, LimitName::as_str)),
            (&handles.security_events, names(Violation::ALL, Violation::as_str)),
            (&handles.warm_starts, WARM_RESULTS.to_vec()),
            (&handles.interpreters, names(InterpreterEvent::ALL, InterpreterEvent::as_str)),
            (&handles.pool, names(PoolEvent::ALL, PoolEvent::as_str)),
            (&handles.trace_spans, names(SpanEnd::ALL, SpanEnd::as_str)),
            (&handles.reaped, names(Leftover::ALL, Leftover::as_str)),
            (&handles.reconnects, vec![Service::Broker.as_str(), Service::Store.as_str()]),
        ];
        for (counter, values) in counters {
            for value in values {
                counter.with_label_values(&[value]);
            }
        }
        for call in Call::ALL.iter().filter(|call| call.service() != Service::Engine) {
            self.create_call(*call);
        }
        if self.tenant_cap > 0 {
            self.create_tenant(OTHER);
        }
    }

    fn create_call(&self, call: Call) {
        let labels = [call.service().as_str(), call.as_str()];
        self.handles.call_seconds.with_label_values(&labels);
        self.handles.call_errors.with_label_values(&labels);
    }

    fn create_tenant(&self, tenant: &str) {
        for status in Status::ALL.iter().filter(|status| status.is_final()) {
            self.handles.tenant_results.with_label_values(&[tenant, status.as_str()]);
        }
        self.handles.tenant_seconds.with_label_values(&[tenant]);
    }

    fn results(
        &self,
        status: Status,
        verdict: Option<Verdict>,
        language: &str,
        priority: &str,
    ) -> prometheus::IntCounter {
        let verdict = verdict.map_or(NONE, Verdict::as_str);
        let labels = [status.as_str(), verdict, language, priority];
        self.handles.job_results.with_label_values(&labels)
    }

    /// The label of a job's language.
    fn language<'a>(&self, facts: &'a JobFacts) -> &'a str {
        let known = facts.language.as_deref().filter(|language| self.languages.contains(*language));
        known.unwrap_or(OTHER)
    }

    /// The label of a tenant; nothing while tenants have none.
    fn tenant<'a>(&self, tenant: Option<&'a str>) -> Option<&'a str> {
        let tenant = tenant.filter(|_| self.tenant_cap > 0)?;
        {
            let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
            if known.contains(tenant) {
                return Some(tenant);
            }
            if known.len() >= self.tenant_cap {
                return Some(OTHER);
            }
        }
        let mut known = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < self.tenant_cap && known.insert(tenant.to_owned()) {
            self.create_tenant(tenant);
        }
        Some(if known.contains(tenant) { tenant } else { OTHER })
    }

    /// Notes what runs the jobs.
    pub fn set_sandbox(&self, backend: &str, isolation: &str) {
        let labels = [env!("CARGO_PKG_VERSION"), backend, isolation];
        self.handles.build_info.with_label_values(&labels).set(1);
        if backend == "docker" {
            for call in Call::ALL.iter().filter(|call| call.service() == Service::Engine) {
                self.create_call(*call);
            }
        }
    }

    /// Notes whether the component called `component` works.
    pub fn set_up(&self, component: &'static str, up: bool) {
        self.handles.component_up.with_label_values(&[component]).set(up.into());
    }

    /// Notes how many holds are in force in the fleet.
    pub fn set_holds(&self, holds: usize) {
        self.handles.holds.set(i64::try_from(holds).unwrap_or(i64::MAX));
    }

    /// Notes whether the worker takes jobs.
    pub fn set_ready(&self, ready: bool) {
        self.handles.ready.set(ready.into());
    }

    /// Notes that the worker stops and should have ended after `grace`.
    pub fn set_draining(&self, grace: Duration) {
        let deadline = jiff::Timestamp::now().as_second();
        let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        self.handles.drain_deadline.set(deadline.saturating_add(grace));
    }

    /// Notes whether the broker takes messages from this worker.
    pub fn set_broker_blocked(&self, is_blocked: bool) {
        self.handles.broker_blocked.set(is_blocked.into());
    }

    /// Notes when a certificate ends that is for `service` and in its setting `file`, as a Unix time.
    pub fn set_certificate_expiry(&self, service: &str, file: &str, at: i64) {
        self.handles.certificate_expiry.with_label_values(&[service, file]).set(at);
    }

    /// Notes how many lines of the log were lost so far.
    pub fn set_log_lines_lost(&self, lines: u64) {
        let counted = &self.handles.log_lines_lost;
        counted.inc_by(lines.saturating_sub(counted.get()));
    }

    /// Notes how many slots are taken out now.
    pub fn set_slots_stuck(&self, slots: usize) {
        self.handles.slots_stuck.set(i64::try_from(slots).unwrap_or(i64::MAX));
    }

    /// Notes how many jobs the kernel has killed for want of the host's memory so far.
    pub fn set_host_memory_kills(&self, kills: u64) {
        let counted = &self.handles.host_memory_kills;
        counted.inc_by(kills.saturating_sub(counted.get()));
    }

    /// How many jobs run at present.
    pub fn slots_busy(&self) -> usize {
        usize::try_from(self.handles.slots_busy.get()).unwrap_or(0)
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric can't be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn names<T: Copy>(values: &[T], name: fn(T) -> &'static str) -> Vec<&'static str> {
    values.iter().map(|value| name(*value)).collect()
}
