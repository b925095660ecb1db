//! `Pipeline`: the queue, the store, the sandbox and the other parts on a job's path, and its configuration.

use sandfleet_transport::records::{Store, TenantLimiter};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

use super::{compile_cache::CompileCache, exclusive_gate::ExclusiveGate};
use crate::{
    admission::{Admission, peers::Peers},
    config::{Budgets, TenantUsers},
    hooks::Hooks,
    pauses::Pauses,
    queue::Queue,
    sandbox::{Sandbox, policy::Policy},
    shutdown::Shutdown,
    traces::Tracer,
};

/// The longest pause between two tries of anything.
pub(super) const MAX_DELAY: Duration = Duration::from_secs(10);

/// The path of a job, with all that it needs.
pub struct Pipeline {
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Where results go.
    pub store: Arc<dyn Store>,
    /// Where programs run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Called along the path.
    pub hooks: Arc<dyn Hooks>,
    /// Follows deliveries for the spans of their jobs; the default follows none.
    pub tracer: Tracer,
    /// Limits how many jobs of a tenant run at a time; `None` without a limit.
    pub tenant_limiter: Option<TenantLimiter>,
    /// The other live workers; `None` where there are none, as in the embedded mode.
    pub peers: Option<Peers>,
    /// Decides which jobs run here.
    pub admission: Admission,
    /// The policy that verdicts refer to.
    pub policy: Policy,
    /// Numbers and the worker's name.
    pub config: PipelineConfig,
    /// What compilers made lately.
    pub compile_cache: CompileCache,
    /// The slots: a job has one while it runs, and its tests take others that are free.
    pub slots: Semaphore,
    /// Lets the last attempt of a job run alone.
    pub exclusive_gate: ExclusiveGate,
    /// Tells when to begin nothing new and when to stop.
    pub shutdown: Shutdown,
}

/// What a pipeline is configured with.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// This worker's name in results.
    pub worker_id: String,
    /// How often a job may be started.
    pub max_attempts: u32,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// How long results are kept, at most and by default.
    pub result_ttl: Duration,
    /// The pause before a job that the fleet failed is tried again; it doubles with every attempt.
    pub retry_delay: Duration,
    /// Which broker users may speak for which tenants.
    pub tenant_users: TenantUsers,
    /// What tenants may use in a day.
    pub budgets: Budgets,
}

impl PipelineConfig {
    /// How long the result of a job is kept that asks for `asked`.
    pub(super) fn bounded_ttl(&self, asked: Option<u64>) -> Duration {
        asked.map_or(self.result_ttl, Duration::from_millis).min(self.result_ttl)
    }

    /// The pause after a job's attempt `number`, from 1, that the fleet failed.
    pub(super) fn pause_after(&self, number: u32) -> Duration {
        Pauses::new(self.retry_delay, MAX_DELAY).after(number.saturating_sub(1)).next()
    }
}
