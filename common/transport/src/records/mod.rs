//! What is written down about jobs and workers in the store, beside results: who submitted what
//! when, who called it off, who is there to run it.
//!
//! Each operation is one script: a single round trip, atomic, and harmless to do twice.

mod cancel;
mod create;
mod output;
mod state;
mod workers;

use std::{sync::Arc, time::Duration};

use redis::{FromRedisValue, RedisError, Script, ScriptInvocation};
use sandfleet_common::{JobId, names};

use crate::{Error, RedisLink};

pub use cancel::{Cancellation, cancelled_result};
pub use create::{Created, NewRecord};
pub use output::{OutputEntry, OutputKind};
pub use workers::HEARTBEAT;

/// The longest result that is announced itself, in bytes; who waits for a longer one has to ask.
pub const ANNOUNCED_BYTES: usize = 4096;

/// The store's books, for producers and workers alike.
pub struct JobRecords {
    link: Arc<RedisLink>,
    prefix: String,
    create: Script,
    rollback: Script,
    get_state: Script,
    cancel: Script,
    announce: Script,
}

impl JobRecords {
    /// The books behind `link` whose keys begin with `prefix`.
    pub fn new(link: Arc<RedisLink>, prefix: impl Into<String>) -> Self {
        Self {
            link,
            prefix: prefix.into(),
            create: Script::new(include_str!("create.lua")),
            rollback: Script::new(include_str!("rollback.lua")),
            get_state: Script::new(include_str!("get_state.lua")),
            cancel: Script::new(include_str!("cancel.lua")),
            announce: Script::new(include_str!("announce.lua")),
        }
    }

    async fn invoke<T: FromRedisValue>(
        &self,
        action: impl FnOnce() -> String,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.link
            .run(|mut connection| async move { script.invoke_async(&mut connection).await })
            .await
            .map_err(|source| self.failed(action(), source))
    }

    fn failed(&self, action: String, source: RedisError) -> Error {
        Error::Store { store: self.link.display_url().into(), action, source: Box::new(source) }
    }

    /// The keys of a job that most operations look at.
    fn keys(&self, id: &JobId) -> JobKeys {
        JobKeys {
            result: names::result_key(&self.prefix, id),
            lease: names::lease_key(&self.prefix, id),
            record: names::record_key(&self.prefix, id),
        }
    }
}

struct JobKeys {
    result: String,
    lease: String,
    record: String,
}

/// At least one: Redis refuses a time to live of nothing.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
