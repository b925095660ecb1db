//! What Redis has used so far.

use std::{collections::BTreeMap, ops::Sub};

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use serde::Serialize;

/// Redis' own counters; a difference of two is what it did in between.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct StoreUse {
    /// Processor time of all its threads, in seconds.
    pub(crate) cpu: f64,
    /// Commands, those within scripts included.
    pub(crate) commands: f64,
    /// Bytes read from clients.
    pub(crate) received: f64,
    /// Bytes written to clients.
    pub(crate) sent: f64,
    /// Bytes of its append-only file; nothing if it keeps none.
    pub(crate) logged: f64,
}

impl StoreUse {
    pub(crate) async fn until_now(redis: &mut MultiplexedConnection) -> Result<Self> {
        let info: String = redis::cmd("INFO").arg("all").query_async(redis).await?;
        let facts: BTreeMap<&str, f64> = info
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let fact = |name: &str| facts.get(name).copied().unwrap_or(0.0);
        Ok(Self {
            cpu: fact("used_cpu_sys") + fact("used_cpu_user"),
            commands: fact("total_commands_processed"),
            received: fact("total_net_input_bytes"),
            sent: fact("total_net_output_bytes"),
            logged: fact("aof_current_size"),
        })
    }

    /// Its share of one of `jobs`.
    pub(crate) fn per(self, jobs: usize) -> Self {
        let share = |all: f64| all / jobs as f64;
        Self {
            cpu: share(self.cpu),
            commands: share(self.commands),
            received: share(self.received),
            sent: share(self.sent),
            logged: share(self.logged),
        }
    }
}

impl Sub for StoreUse {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            commands: self.commands - before.commands,
            received: self.received - before.received,
            sent: self.sent - before.sent,
            // A log that was rewritten meanwhile says nothing.
            logged: (self.logged - before.logged).max(0.0),
        }
    }
}

/// Bytes of memory that the value under `key` takes, with the key and what Redis needs for both.
pub(crate) async fn memory_of(redis: &mut MultiplexedConnection, key: &str) -> Result<f64> {
    let bytes: Option<f64> = redis::cmd("MEMORY").arg("USAGE").arg(key).query_async(redis).await?;
    bytes.with_context(|| format!("{key} is gone"))
}
