//! The lease of a running job: renewing it and giving it back.

use std::{sync::LazyLock, time::Duration};

use redis::Script;
use sandfleet_common::{JobId, names};

use super::{
    memory::State,
    redis::{RedisStore, milliseconds},
    switches::{Action, Scope},
};
use crate::StoreError;

static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));

/// The answer to a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// Go on.
    GoOn,
    /// Stop: the job was cancelled.
    Cancelled {
        /// Who cancelled it.
        by: String,
    },
}

impl RedisStore {
    /// Renews a lease, with `renew.lua`. `scopes` are what of the job an operator's switch may end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn renew(
        &self,
        job: &JobId,
        owner: &str,
        lease: Duration,
        scopes: &[Scope],
    ) -> Result<Renewed, StoreError> {
        let keys = self.keys(job);
        let mut script = RENEW.prepare_invoke();
        script.key(keys.lease).key(keys.record).arg(owner).arg(milliseconds(lease));
        script.arg(names::switches_key(&self.prefix));
        for scope in scopes {
            script.arg(Action::Kill.field(scope));
        }
        let action = || format!("renew the lease of job {job}");
        let by: Option<String> = self.invoke(action, &script).await?;
        Ok(by.map_or(Renewed::GoOn, |by| Renewed::Cancelled { by }))
    }

    /// Ends a lease, with `release.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release(&self, job: &JobId, owner: &str) -> Result<(), StoreError> {
        let mut script = RELEASE.prepare_invoke();
        script.key(self.keys(job).lease).arg(owner);
        self.invoke(|| format!("release job {job}"), &script).await
    }
}

impl State {
    /// The same as `renew.lua`.
    pub(super) fn renew(&mut self, job: &JobId, owner: &str, lease: Duration) -> Renewed {
        if self.leases.get(job).is_some_and(|holder| holder == owner) {
            self.leases.set(job, owner.to_owned(), lease);
        }
        let by = self.records.get(job).and_then(|record| record.cancelled_by.clone());
        by.map_or(Renewed::GoOn, |by| Renewed::Cancelled { by })
    }

    /// The same as `release.lua`.
    pub(super) fn release(&mut self, job: &JobId, owner: &str) {
        if self.leases.get(job).is_some_and(|holder| holder == owner) {
            self.leases.remove(job);
        }
    }
}
