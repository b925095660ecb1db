//! Deleting what is kept of a job before its time is over.

use std::sync::LazyLock;

use redis::Script;
use sandfleet_common::{JobId, names};

use super::{
    audit::noting_script,
    redis::{RedisStore, milliseconds},
};
use crate::{
    StoreError,
    audit::{Act, Event},
};

static DELETE: LazyLock<Script> = LazyLock::new(|| noting_script(include_str!("delete.lua")));

/// How many records are read with one command.
const PAGE: usize = 1000;

/// The answer to a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Its result, record and output are gone; that it ended is kept.
    Deleted,
    /// It had not ended: it will not be started any more, and has no result.
    Withdrawn,
    /// It runs, and is left as it is.
    Running,
    /// Nothing is kept of it but that it ended, if even that.
    Unknown,
}

impl RedisStore {
    /// Deletes the result, the record and the output of a job that doesn't run, with `delete.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, job: &JobId) -> Result<Deletion, StoreError> {
        let keys = self.keys(job);
        let mut script = DELETE.prepare_invoke();
        script
            .key(keys.record)
            .arg(keys.result)
            .arg(keys.cancelled)
            .arg(keys.lease)
            .arg(names::output_key(&self.prefix, job))
            .arg(milliseconds(self.dedup_ttl));
        let event = Event::of_job(Act::Deleted, job);
        self.audit.prepare(&event, &mut script);
        let action = || format!("delete job {job}");
        let (answer, unnoted): (String, String) = self.invoke(action, &script).await?;
        let deletion = match answer.as_str() {
            "deleted" => Deletion::Deleted,
            "withdrawn" => Deletion::Withdrawn,
            "running" => return Ok(Deletion::Running),
            "unknown" => return Ok(Deletion::Unknown),
            other => return Err(self.link.unexpected(action(), other)),
        };
        self.audit.conclude(event, &unnoted);
        Ok(deletion)
    }

    /// The jobs of a tenant that have a record. Looks through all keys of the server, in pages.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn jobs_of(&self, tenant: &str) -> Result<Vec<JobId>, StoreError> {
        let (begin, end) = (format!("{}:{{", self.prefix), "}:record");
        let keys = self.keys_like(&format!("{begin}*{end}"), Some("hash")).await?;
        let mut jobs = Vec::new();
        for page in keys.chunks(PAGE) {
            let mut ask = redis::pipe();
            page.iter().for_each(|key| _ = ask.hget(key, "tenant"));
            let ask = &ask;
            let tenants: Vec<Option<String>> = self
                .run(
                    || format!("look for jobs of tenant {tenant}"),
                    |mut connection| async move { ask.query_async(&mut connection).await },
                )
                .await?;
            let of_tenant = page.iter().zip(tenants);
            let of_tenant = of_tenant.filter(|(_, known)| known.as_deref() == Some(tenant));
            jobs.extend(of_tenant.filter_map(|(key, _)| {
                key.strip_prefix(&begin)?.strip_suffix(end)?.parse::<JobId>().ok()
            }));
        }
        Ok(jobs)
    }
}
