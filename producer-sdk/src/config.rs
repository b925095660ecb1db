//! `ClientConfig`: addresses, certificates and timeouts.

use std::{fmt, path::PathBuf, time::Duration};

use sandfleet_transport::{QueueLimits, Tls, audit::AuditConfig, masked};

/// Where a fleet is, and how far to go for it. The defaults fit a fleet on this machine.
#[derive(Clone)]
pub struct ClientConfig {
    /// The broker: `amqp://user:password@host:port/vhost`, or `amqps://` for TLS.
    pub amqp_url: String,
    /// Certificates for the broker.
    pub amqp_tls: Tls,
    /// The store: `redis://user:password@host:port/database`, or `rediss://` for TLS.
    pub redis_url: String,
    /// Certificates for the store.
    pub redis_tls: Tls,
    /// How the names of the fleet's queues and keys begin; the workers' `queue.prefix`.
    pub prefix: String,
    /// The workers' `store.prefix`, if that is another.
    pub store_prefix: Option<String>,
    /// When a queue is full; the workers' `queue.max_jobs` and `queue.max_bytes`.
    pub queue_limits: QueueLimits,
    /// The longest job that is sent, in bytes of JSON. The workers have such a limit too.
    pub max_job_bytes: usize,
    /// How long one exchange with the broker or the store may take.
    pub timeout: Duration,
    /// How long a job is remembered after its end; the workers' `store.dedup_ttl_ms`.
    pub dedup_ttl: Duration,
    /// How long the results are kept that this client stores: those of waiting jobs that it
    /// cancels; the workers' `store.result_ttl_ms`.
    pub result_ttl: Duration,
    /// Who this client is, for the results of jobs that it cancels.
    pub name: String,
    /// About how many events the store keeps of each of its users for `sandfleet audit`; the workers'
    /// `audit.entries`. 0 for none.
    pub audit_entries: u32,
    /// A file that gets each submission and cancellation of this client as a line of JSON.
    pub audit_file: Option<PathBuf>,
    /// With a number from 0.0 to 1.0, a job that is submitted in no trace begins one, which is sampled with that probability.
    /// The span that its message then names is the producer's, which this client doesn't export. Without it a
    /// worker that exports spans begins the trace.
    pub new_trace_ratio: Option<f64>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            amqp_url: "amqp://127.0.0.1:5672/%2f".into(),
            amqp_tls: Tls::default(),
            redis_url: "redis://127.0.0.1:6379/0".into(),
            redis_tls: Tls::default(),
            prefix: "sandfleet".into(),
            store_prefix: None,
            queue_limits: QueueLimits::default(),
            max_job_bytes: 8 << 20,
            timeout: Duration::from_secs(10),
            dedup_ttl: Duration::from_secs(7 * 86_400),
            result_ttl: Duration::from_secs(86_400),
            name: format!("producer {}", std::process::id()),
            audit_entries: AuditConfig::default().entries,
            audit_file: None,
            new_trace_ratio: None,
        }
    }
}

impl ClientConfig {
    /// How the names of the fleet's keys begin.
    pub(crate) fn store_prefix(&self) -> &str {
        self.store_prefix.as_deref().unwrap_or(&self.prefix)
    }
}

/// Shows the URLs without their passwords.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            amqp_url,
            amqp_tls,
            redis_url,
            redis_tls,
            prefix,
            store_prefix,
            queue_limits,
            max_job_bytes,
            timeout,
            dedup_ttl,
            result_ttl,
            name,
            audit_entries,
            audit_file,
            new_trace_ratio,
        } = self;
        f.debug_struct("ClientConfig")
            .field("amqp_url", &masked(amqp_url))
            .field("amqp_tls", amqp_tls)
            .field("redis_url", &masked(redis_url))
            .field("redis_tls", redis_tls)
            .field("prefix", prefix)
            .field("store_prefix", store_prefix)
            .field("queue_limits", queue_limits)
            .field("max_job_bytes", max_job_bytes)
            .field("timeout", timeout)
            .field("dedup_ttl", dedup_ttl)
            .field("result_ttl", result_ttl)
            .field("name", name)
            .field("audit_entries", audit_entries)
            .field("audit_file", audit_file)
            .field("new_trace_ratio", new_trace_ratio)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_shows_no_password() {
        let config =
            ClientConfig { amqp_url: "amqp://u:SECRET@h".into(), ..ClientConfig::default() };
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
