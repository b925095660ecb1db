//! The history of ended jobs: a stream of bounded length, written beside the path of a job.

use std::collections::HashMap;

use sandfleet_common::{EndedJob, encode, names};

use super::redis::{RedisStore, milliseconds};
use crate::StoreError;

/// The field of an entry that holds the job, as JSON.
const JOB: &str = "job";

/// A part of the history, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryPage {
    /// The jobs. What a newer fleet wrote and can't be read is left out.
    pub jobs: Vec<EndedJob>,
    /// Where the part before begins, if there may be one.
    pub next: Option<String>,
}

/// An id, and fields by their names.
type Stored = (String, HashMap<String, Vec<u8>>);

impl RedisStore {
    /// Adds jobs to the history, of which the last `keep` stay; Redis trims in larger steps.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_ended(&self, jobs: &[EndedJob], keep: u64) -> Result<(), StoreError> {
        let mut add = redis::pipe();
        for job in jobs {
            add.cmd("XADD").arg(names::history_key(&self.prefix));
            add.arg("MAXLEN").arg("~").arg(keep).arg("*").arg(JOB).arg(encode(job)).ignore();
        }
        // No longer than the jobs themselves are remembered.
        let ttl = milliseconds(self.dedup_ttl);
        add.cmd("PEXPIRE").arg(names::history_key(&self.prefix)).arg(ttl).ignore();
        let add = &add;
        let action = || "add to the history of jobs".to_owned();
        self.run(action, |mut connection| async move { add.query_async(&mut connection).await })
            .await
    }

    /// At most `count` entries of the history before the place `before`, or the newest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn history(
        &self,
        before: Option<&str>,
        count: usize,
    ) -> Result<HistoryPage, StoreError> {
        let key = &names::history_key(&self.prefix);
        let from = &before.map_or_else(|| "+".to_owned(), |before| format!("({before}"));
        let stored: Vec<Stored> = self
            .run(
                || "read the history of jobs".to_owned(),
                |mut connection| async move {
                    let mut range = redis::cmd("XREVRANGE");
                    range.arg(key).arg(from).arg("-").arg("COUNT").arg(count);
                    range.query_async(&mut connection).await
                },
            )
            .await?;
        let next = stored.last().filter(|_| stored.len() == count).map(|(id, _)| id.clone());
        let readable = |(_, fields): &Stored| serde_json::from_slice(fields.get(JOB)?).ok();
        Ok(HistoryPage { jobs: stored.iter().filter_map(readable).collect(), next })
    }
}
