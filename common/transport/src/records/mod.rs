//! The record of a job: what the store keeps of it, and every step that changes it.
//!
//! Three keys hold a job. The *record* is a hash with its payload digest, times, attempts and end;
//! the *lease* names the owner that runs it; the *result* is its one answer. Their presence is the
//! job's state:
//!
//! ```text
//!            create               claim (to run)            commit
//! unknown ───────────▶ queued ────────────────────▶ running ────────▶ done ───────▶ result expired
//!    ▲                  │  ▲                          │   │             ▲  result_ttl
//!    └───── rollback ───┘  └── release, lease ends ───┘   └─ renew      │
//!                       │                                               │
//!                       └────────────── cancel, refuse ─────────────────┘
//! ```
//!
//! | step | script | called by |
//! |---|---|---|
//! | unknown → queued | `create.lua` | a producer, before it publishes |
//! | queued → unknown | `rollback.lua` | a producer whose message the broker refused |
//! | queued → running | `claim.lua` | a worker; a job without a record gets one |
//! | running → running | `renew.lua` | the worker that runs it; the answer says whether it is cancelled |
//! | running → queued | `release.lua` | the worker that gives it back; else the lease expires |
//! | running → done | `commit.lua` (run) | the worker that ran it; the first result stays |
//! | queued → done | `commit.lua` (refuse) | a worker: rejected, expired, exhausted, dead letter |
//! | queued → done | `cancel.lua` | a producer; a running job is only marked |
//! | queued, done → result expired | `delete.lua` | an operator; only the end is kept |
//! | done → result expired | none | the result's time to live; the record stays for `dedup_ttl` |
//!
//! `get_state.lua` reads all three keys at once, `append.lua` adds to a running job's output,
//! `throw.lua` throws an operator's switch, which claims and renewals obey, `release_hold.lua` takes one back,
//! `commit.lua` counts what tenants use and `claim.lua` looks at their budgets; `note.lua` and `note_policy.lua` note events for the audit, as the steps of producers and operators do; `announce.lua` lists a worker,
//! `note_taken.lua` notes up to when queues were served, `enter.lua` counts a tenant's running jobs. Each step is one
//! script: a single round trip, atomic, and harmless to repeat.
//!
//! Every step is a file here: the types of its answer, the script's caller, and below it the same
//! step in memory for the embedded mode. The tests in `tests/tests/queue_store` run against both.

mod audit;
mod cancel;
mod cancellations;
mod claim;
mod commit;
mod create;
mod delete;
mod history;
mod keyspace;
mod lease;
mod live_jobs;
mod memory;
mod output;
mod record;
mod redis;
mod server;
mod state;
mod store;
mod switches;
mod taken_jobs;
mod tenant_limiter;
mod usage;
mod workers;

pub use self::{
    audit::{AuditEntry, AuditTrail, MissingEvents},
    cancel::Cancellation,
    cancellations::CancelNotice,
    claim::{Claim, Claimed, Purpose},
    commit::{Committed, Refused},
    create::Created,
    delete::Deletion,
    history::HistoryPage,
    lease::Renewed,
    live_jobs::{LiveJob, LiveJobs},
    memory::MemoryStore,
    output::{Output, OutputEntry, OutputKind},
    redis::{RedisConfig, RedisStore},
    server::ServerInfo,
    store::Store,
    switches::{Action, Scope, Switch},
    tenant_limiter::{TenantLimiter, TenantPermit},
    usage::{OverBudget, Quota, Resource, TenantUsage},
    workers::HEARTBEAT,
};
