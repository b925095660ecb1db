//! The list of live workers.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use redis::Script;
use sandfleet_common::{WorkerInfo, encode, names};

use super::redis::{RedisStore, milliseconds};
use crate::StoreError;

static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("announce.lua")));

/// How often a worker sends a heartbeat; it counts as live for three times as long.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How many workers are read at most, and how much of each announcement.
const MAX_WORKERS: usize = 10_000;
const MAX_INFO_BYTES: usize = 16 << 10;

impl RedisStore {
    /// Lists a worker as live.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn announce(&self, worker: &WorkerInfo) -> Result<(), StoreError> {
        let mut script = ANNOUNCE.prepare_invoke();
        script
            .key(names::workers_key(&self.prefix))
            .key(names::worker_key(&self.prefix, &worker.worker_id))
            .arg(&worker.worker_id)
            .arg(encode(worker))
            .arg(milliseconds(HEARTBEAT * 3));
        self.invoke(|| format!("announce worker {}", worker.worker_id), &script).await
    }

    /// Takes a worker off the list.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leave(&self, worker_id: &str) -> Result<(), StoreError> {
        let mut leave = redis::pipe();
        leave
            .atomic()
            .del(names::worker_key(&self.prefix, worker_id))
            .zrem(names::workers_key(&self.prefix), worker_id);
        let leave = &leave;
        let action = || format!("take worker {worker_id} off the list");
        self.run(
            action,
            |mut connection| async move { leave.query_async::<()>(&mut connection).await },
        )
        .await
    }

    /// The live workers, by their ids; of more than 10,000 those with the latest heartbeats. An
    /// entry that isn't a worker's is skipped: any client that may write to the store can make one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, StoreError> {
        let action = || "list the workers".to_owned();
        let index = &names::workers_key(&self.prefix);
        let ids: Vec<Vec<u8>> = self
            .run(action, |mut connection| async move {
                let mut list = redis::cmd("ZREVRANGE");
                list.arg(index).arg(0).arg(MAX_WORKERS - 1).query_async(&mut connection).await
            })
            .await?;
        let ids: BTreeSet<String> =
            ids.into_iter().filter_map(|id| String::from_utf8(id).ok()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut read = redis::pipe();
        // A key of another type isn't a worker's either.
        read.ignore_errors();
        for id in &ids {
            // A longer value is cut, and no JSON then.
            read.cmd("GETRANGE")
                .arg(names::worker_key(&self.prefix, id))
                .arg(0)
                .arg(MAX_INFO_BYTES - 1);
        }
        let read = &read;
        let infos: Vec<redis::RedisResult<Vec<u8>>> = self
            .run(action, |mut connection| async move { read.query_async(&mut connection).await })
            .await?;
        // A worker that died since its last heartbeat has no key, and a newer version's entry may
        // be unreadable.
        let readable = |(id, json): (&String, redis::RedisResult<Vec<u8>>)| {
            serde_json::from_slice(&json.ok()?)
                .ok()
                .filter(|info: &WorkerInfo| info.worker_id == *id)
        };
        Ok(ids.iter().zip(infos).filter_map(readable).collect())
    }
}
