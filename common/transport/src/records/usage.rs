//! What tenants use, by day: counted by `commit.lua` in the step that stores a result, looked at by `claim.lua`.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use redis::{Script, ScriptInvocation};
use sandfleet_common::{JobResult, names};

use super::redis::{RedisStore, milliseconds};
use crate::StoreError;

/// How many accounts are told apart in a day: names of tenants are free, and a producer could fill the store with them.
const MAX_ACCOUNTS: usize = 10_000;

/// The account of jobs without a tenant.
const NO_TENANT: &str = "(none)";

/// What a tenant has a budget of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Processor time, in milliseconds.
    CpuMs,
    /// Results of runs.
    Jobs,
    /// Bytes of stored results.
    Bytes,
}

impl Resource {
    /// All of them, in the order in which they are looked at.
    pub const ALL: [Resource; 3] = [Resource::CpuMs, Resource::Jobs, Resource::Bytes];

    /// Its name in the store.
    fn as_str(self) -> &'static str {
        match self {
            Resource::CpuMs => "cpu_ms",
            Resource::Jobs => "jobs",
            Resource::Bytes => "bytes",
        }
    }
}

/// On which account a job goes, and what may be used of it in a day.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// The account; empty for a job without a tenant.
    pub account: String,
    /// How much may be used before no more is started.
    pub budget: BTreeMap<Resource, u64>,
}

impl Quota {
    fn account(&self) -> &str {
        if self.account.is_empty() { NO_TENANT } else { &self.account }
    }
}

/// A budget that is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverBudget {
    /// Of what.
    pub resource: Resource,
    /// How much was used.
    pub used: u64,
    /// When the next day begins.
    pub renews_at: Timestamp,
}

impl OverBudget {
    /// What `claim.lua` says: the resource and the day.
    pub(super) fn read(said: &str, used: u64) -> Option<Self> {
        let (name, day) = said.split_once(' ')?;
        let resource = Resource::ALL.into_iter().find(|it| it.as_str() == name)?;
        let seconds = day.parse::<i64>().ok()?.checked_add(1)?.checked_mul(86_400)?;
        Some(Self { resource, used, renews_at: Timestamp::from_second(seconds).ok()? })
    }
}

/// What was used on an account in a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantUsage {
    /// Processor time, in milliseconds.
    pub cpu_ms: u64,
    /// Results of runs.
    pub jobs: u64,
    /// Bytes of stored results.
    pub bytes: u64,
}

/// A script that may call `usage_key`.
pub(super) fn counting_script(text: &str) -> Script {
    Script::new(&format!("{}{text}", include_str!("usage.lua")))
}

impl RedisStore {
    /// Gives `claim.lua` what it takes of a quota.
    pub(super) fn limit(&self, quota: &Quota, script: &mut ScriptInvocation<'_>) {
        script.arg(names::usage_key(&self.prefix, "")).arg(quota.account());
        for resource in Resource::ALL {
            let most = quota.budget.get(&resource).map(u64::to_string);
            script.arg(most.unwrap_or_default());
        }
    }

    /// Gives `commit.lua` what it counts of a result of `bytes` bytes.
    pub(super) fn count(
        &self,
        result: &JobResult,
        bytes: usize,
        script: &mut ScriptInvocation<'_>,
    ) {
        let compiler = result.compile.as_ref().map(|compile| compile.usage);
        let used = [result.usage, compiler].into_iter().flatten().map(|usage| usage.cpu_time_ms);
        script
            .arg(names::usage_key(&self.prefix, ""))
            .arg(used.sum::<u64>())
            .arg(bytes)
            .arg(milliseconds(self.usage_ttl))
            .arg(3 * MAX_ACCOUNTS);
    }

    /// Whether what tenants use can be counted: a commit stores its result also where it can't.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn check_counting(&self) -> Result<(), StoreError> {
        let key = names::usage_key(&self.prefix, "check");
        let mut count = redis::pipe();
        count.hincr(&key, "jobs", 0).ignore().pexpire(&key, 1000).ignore();
        let count = &count;
        let action = || "count what tenants use".to_owned();
        self.run(action, |mut connection| async move { count.query_async(&mut connection).await })
            .await
    }

    /// What was used on a day in UTC, by account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage(&self, day: Date) -> Result<BTreeMap<String, TenantUsage>, StoreError> {
        let begins = day.to_zoned(TimeZone::UTC).map(|day| day.timestamp().as_second());
        let number = begins.unwrap_or_default().div_euclid(86_400);
        let mut ask = redis::cmd("HGETALL");
        ask.arg(names::usage_key(&self.prefix, &number.to_string()));
        let fields: BTreeMap<String, u64> =
            self.read(|| format!("read the usage of {day}"), &ask).await?;
        let mut accounts = BTreeMap::<String, TenantUsage>::new();
        for (field, number) in fields {
            let Some((name, account)) = field.split_once(' ') else { continue };
            let usage = accounts.entry(account.to_owned()).or_default();
            match name {
                "cpu_ms" => usage.cpu_ms = number,
                "jobs" => usage.jobs = number,
                "bytes" => usage.bytes = number,
                _ => {}
            }
        }
        Ok(accounts)
    }
}
