//! Who is there to run jobs.

use std::{collections::BTreeSet, time::Duration};

use sandfleet_common::{WorkerInfo, encode, names};

use super::{JobRecords, milliseconds};
use crate::Error;

/// How often a worker says that it lives; it is believed for three times as long.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How many workers are read at most, and how much of what each says.
const MOST_WORKERS: usize = 10_000;
const MOST_INFO_BYTES: usize = 16 << 10;

impl JobRecords {
    /// Says that a worker lives.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn announce(&self, worker: &WorkerInfo) -> Result<(), Error> {
        let mut script = self.announce.prepare_invoke();
        script
            .key(names::workers_key(&self.prefix))
            .key(names::worker_key(&self.prefix, &worker.worker_id))
            .arg(&worker.worker_id)
            .arg(encode(worker))
            .arg(milliseconds(HEARTBEAT * 3));
        self.invoke(|| "write down that a worker lives".into(), &script).await
    }

    /// Says that a worker is gone.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn leave(&self, worker_id: &str) -> Result<(), Error> {
        let mut leave = redis::pipe();
        leave
            .atomic()
            .del(names::worker_key(&self.prefix, worker_id))
            .zrem(names::workers_key(&self.prefix), worker_id);
        let leave = &leave;
        self.link
            .run(|mut connection| async move { leave.query_async::<()>(&mut connection).await })
            .await
            .map_err(|source| self.failed("write down that a worker is gone".into(), source))
    }

    /// The workers that live, by their ids; of more than 10,000 those that were heard of last. An entry
    /// that is no worker's is passed over: any client that may write to the store can make one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        let failed = |source| self.failed("list the workers".into(), source);
        let index = &names::workers_key(&self.prefix);
        let ids: Vec<Vec<u8>> = self
            .link
            .run(|mut connection| async move {
                let mut list = redis::cmd("ZREVRANGE");
                list.arg(index).arg(0).arg(MOST_WORKERS - 1).query_async(&mut connection).await
            })
            .await
            .map_err(failed)?;
        let ids: BTreeSet<String> =
            ids.into_iter().filter_map(|id| String::from_utf8(id).ok()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut read = redis::pipe();
        // A key of another type is no worker's either.
        read.ignore_errors();
        for id in &ids {
            // A longer one is cut, and no JSON then.
            read.cmd("GETRANGE")
                .arg(names::worker_key(&self.prefix, id))
                .arg(0)
                .arg(MOST_INFO_BYTES - 1);
        }
        let read = &read;
        let infos: Vec<redis::RedisResult<Vec<u8>>> = self
            .link
            .run(|mut connection| async move { read.query_async(&mut connection).await })
            .await
            .map_err(failed)?;
        // Those that died since they were last heard of have no key, and a newer version's may be
        // unreadable.
        let readable = |(id, json): (&String, redis::RedisResult<Vec<u8>>)| {
            serde_json::from_slice(&json.ok()?)
                .ok()
                .filter(|info: &WorkerInfo| info.worker_id == *id)
        };
        Ok(ids.iter().zip(infos).filter_map(readable).collect())
    }
}
