//! Who is there to run jobs.

use std::time::Duration;

use sandfleet_common::{WorkerInfo, encode, names};

use super::{Ledger, milliseconds};
use crate::Error;

/// How often a worker says that it lives; it is believed for three times as long.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

impl Ledger {
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

    /// The workers that live, by their ids.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        let failed = |source| self.failed("list the workers".into(), source);
        let index = &names::workers_key(&self.prefix);
        let mut ids: Vec<String> = self
            .link
            .run(|mut connection| async move {
                let mut list = redis::cmd("ZRANGE");
                list.arg(index).arg(0).arg(-1).query_async(&mut connection).await
            })
            .await
            .map_err(failed)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        ids.sort();
        let keys: Vec<_> = ids.iter().map(|id| names::worker_key(&self.prefix, id)).collect();
        let keys = &keys;
        let infos: Vec<Option<Vec<u8>>> = self
            .link
            .run(|mut connection| async move {
                redis::cmd("MGET").arg(keys).query_async(&mut connection).await
            })
            .await
            .map_err(failed)?;
        // Those that died since they were last heard of have no key, and a newer version's may be
        // unreadable.
        let readable = |json: Vec<u8>| serde_json::from_slice(&json).ok();
        Ok(infos.into_iter().flatten().filter_map(readable).collect())
    }
}
