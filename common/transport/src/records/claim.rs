//! Claiming a job.

use std::{sync::LazyLock, time::Duration};

use jiff::Timestamp;
use redis::Script;
use sandfleet_common::{JobId, names};
use tokio::time::Instant;

use super::{
    memory::{MAX_WAIT, State},
    redis::{RedisStore, milliseconds},
    switches::{Action, Scope},
    usage::{OverBudget, Quota, counting_script},
};
use crate::StoreError;

static CLAIM: LazyLock<Script> = LazyLock::new(|| counting_script(include_str!("claim.lua")));

/// How a job is claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Unique to the worker process and the delivery.
    pub owner: String,
    /// How long the claim holds without a renewal.
    pub lease: Duration,
    /// How many claims a job may use up.
    pub max_attempts: u32,
    /// How long the job may have waited for its first claim. The store's own limit holds too.
    pub ttl: Option<Duration>,
    /// When the job was submitted as its message says; only looked at for a job without a record.
    pub queued_at: Option<Timestamp>,
    /// Whether nothing else will run beside the job.
    pub exclusive: bool,
    /// The message's [`payload_digest`](sandfleet_common::payload_digest).
    pub payload: String,
    /// What for.
    pub purpose: Purpose,
    /// What of the job an operator's switch may hold back.
    pub scopes: Vec<Scope>,
    /// On which account it goes, and what may be used of it.
    pub quota: Quota,
}

/// What a job is claimed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run it: the attempt is counted, and the first payload that is claimed defines the job.
    Run,
    /// To read its state: nothing is counted and nothing changes.
    Look,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Run it.
    Run {
        /// The attempt's number, from 1.
        attempt: u32,
        /// How long ago the job was submitted, by the store's clock.
        waited: Duration,
    },
    /// It has its result already, or had it.
    Done,
    /// Another owner holds the lease.
    Busy {
        /// The rest of that lease.
        lease_left: Duration,
    },
    /// One attempt is left after others failed, and it has to be
    /// [exclusive](Claim::exclusive). Nothing was claimed or counted.
    LastAttempt,
    /// Another job has this id: the message has another payload.
    Twin,
    /// It could be run, and the claim was only a [look](Purpose::Look).
    Free,
    /// All attempts are used up.
    Exhausted {
        /// How many there were.
        attempts: u32,
    },
    /// An operator holds it back. Nothing was claimed or counted.
    Held {
        /// The switch.
        by: String,
    },
    /// Its tenant has used up a budget of the day. Nothing was claimed or counted.
    OverBudget(OverBudget),
    /// It waited for longer than it may.
    Expired {
        /// How long, by the store's clock.
        waited: Duration,
        /// How long it may.
        limit: Duration,
    },
    /// It was cancelled while a worker ran it that is gone now.
    Cancelled {
        /// Who cancelled it.
        by: String,
        /// How often it was started.
        attempts: u32,
    },
}

impl RedisStore {
    /// Claims a job, with `claim.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim(&self, job: &JobId, claim: &Claim) -> Result<Claimed, StoreError> {
        let limit = claim.ttl.map_or(self.max_wait, |ttl| ttl.min(self.max_wait));
        let queued_at = claim.queued_at.map(|at| at.as_millisecond().to_string());
        let keys = self.keys(job);
        let mut script = CLAIM.prepare_invoke();
        script
            .key(keys.result)
            .key(keys.lease)
            .key(keys.record)
            .arg(&claim.owner)
            .arg(milliseconds(claim.lease))
            .arg(claim.max_attempts)
            .arg(milliseconds(self.dedup_ttl))
            .arg(milliseconds(limit))
            .arg(queued_at.unwrap_or_default())
            .arg(u8::from(claim.exclusive))
            .arg(&claim.payload)
            .arg(match claim.purpose {
                Purpose::Run => "run",
                Purpose::Look => "look",
            })
            .arg(names::switches_key(&self.prefix));
        self.limit(&claim.quota, &mut script);
        for scope in &claim.scopes {
            script.arg(Action::Hold.field(scope));
        }
        let action = || format!("claim job {job}");
        let (answer, number, waited, by): (String, u64, u64, String) =
            self.invoke(action, &script).await?;
        let count = u32::try_from(number).unwrap_or(u32::MAX);
        let waited = Duration::from_millis(waited);
        match answer.as_str() {
            "twin" => Ok(Claimed::Twin),
            "over" => OverBudget::read(&by, number)
                .map(Claimed::OverBudget)
                .ok_or_else(|| self.link.unexpected(action(), &by)),
            "held" => Ok(Claimed::Held { by }),
            "done" => Ok(Claimed::Done),
            "run" => Ok(Claimed::Run { attempt: count, waited }),
            "busy" => Ok(Claimed::Busy { lease_left: Duration::from_millis(number) }),
            "cancelled" => Ok(Claimed::Cancelled { by, attempts: count }),
            "expired" => Ok(Claimed::Expired { waited, limit }),
            "free" => Ok(Claimed::Free),
            "exhausted" => Ok(Claimed::Exhausted { attempts: count }),
            "last" => Ok(Claimed::LastAttempt),
            other => Err(self.link.unexpected(action(), other)),
        }
    }
}

impl State {
    /// The same as `claim.lua`, in the same order.
    pub(super) fn claim(&mut self, job: &JobId, claim: &Claim) -> Claimed {
        self.sweep();
        let mut record = self.records.get(job).cloned().unwrap_or_default();
        if record.is_not(&claim.payload) {
            return Claimed::Twin;
        }
        if self.results.has(job) {
            return Claimed::Done;
        }
        if record.ended.is_some() {
            return Claimed::Done;
        }
        let attempts = record.queued.attempts;
        let now = Timestamp::now();
        let queued_at = record.queued.queued_at.or(claim.queued_at);
        let waited = queued_at
            .map_or(Duration::ZERO, |at| at.duration_until(now).try_into().unwrap_or_default());
        if let Some((holder, until)) = self.leases.get_until(job) {
            if *holder == claim.owner {
                self.leases.set(job, claim.owner.clone(), claim.lease);
                return Claimed::Run { attempt: attempts, waited };
            }
            return Claimed::Busy { lease_left: until - Instant::now() };
        }
        if let Some(by) = record.cancelled_by {
            return Claimed::Cancelled { by, attempts };
        }
        let limit = claim.ttl.map_or(MAX_WAIT, |ttl| ttl.min(MAX_WAIT));
        if attempts == 0 && waited > limit {
            return Claimed::Expired { waited, limit };
        }
        if claim.purpose == Purpose::Look {
            return Claimed::Free;
        }
        if attempts >= claim.max_attempts {
            return Claimed::Exhausted { attempts };
        }
        if attempts > 0 && attempts + 1 == claim.max_attempts && !claim.exclusive {
            return Claimed::LastAttempt;
        }
        record.queued.attempts = attempts + 1;
        record.started_at = Some(now);
        record.queued.queued_at = queued_at.or(Some(now));
        record.payload = Some(claim.payload.clone());
        self.records.set(job, record, MAX_WAIT);
        self.leases.set(job, claim.owner.clone(), claim.lease);
        Claimed::Run { attempt: attempts + 1, waited }
    }
}
