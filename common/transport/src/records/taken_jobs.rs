//! Up to when the queues were served, which tells at most how long the oldest job of a queue has waited.

use std::{collections::BTreeMap, sync::LazyLock};

use redis::Script;
use sandfleet_common::names;

use super::redis::{RedisStore, milliseconds};
use crate::StoreError;

static NOTE_TAKEN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("note_taken.lua")));

impl RedisStore {
    /// Notes of each queue when the last job that was taken from it had been submitted, in Unix milliseconds. What is
    /// known of a later job stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_taken(&self, queues: &[(String, i64)]) -> Result<(), StoreError> {
        let mut script = NOTE_TAKEN.prepare_invoke();
        script.key(names::taken_key(&self.prefix)).arg(milliseconds(self.max_wait));
        for (queue, at) in queues {
            script.arg(queue).arg(at);
        }
        self.invoke(|| "note which jobs were taken".to_owned(), &script).await
    }

    /// What was noted, by queue.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn taken(&self) -> Result<BTreeMap<String, i64>, StoreError> {
        let key = &names::taken_key(&self.prefix);
        let action = || "read which jobs were taken".to_owned();
        self.run(action, |mut connection| async move {
            redis::cmd("HGETALL").arg(key).query_async(&mut connection).await
        })
        .await
    }
}
