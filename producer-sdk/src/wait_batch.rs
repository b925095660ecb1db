//! Waiting for many results.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{FutureExt, StreamExt, future::join_all, stream::FuturesUnordered};
use sandfleet_common::{JobId, JobResult, names};
use tokio::time::{self, Instant};

use crate::{Client, Error, OpenState, subscriber::Notifications, wait::announced_result};

/// How often the store is read although nothing was announced, for all open jobs together.
const REREAD: Duration = Duration::from_secs(2);
/// How many results are read at a time: a bound on one answer of the store's.
const CHUNK: usize = 64;

type Outcome = Result<JobResult, Error>;

impl Client {
    /// The results of many jobs, in the order of `ids`, as soon as all are there, but after
    /// `timeout` at the latest. However many they are, they share one subscription, and the store
    /// is asked about a job only when its end was announced without a result that is too long for
    /// that, and about all that are open every two seconds in a few commands.
    ///
    /// # Errors
    /// For each job as [`wait`](Self::wait).
    pub async fn wait_batch(&self, ids: &[JobId], timeout: Duration) -> Vec<Outcome> {
        let end = Instant::now().checked_add(timeout);
        let prefix = self.shared.config.store_prefix();
        // Subscribe first and read then: the other way round, a result stored in between would go
        // unnoticed.
        let joined =
            ids.iter().map(|id| self.shared.subscriber.join(names::done_channel(prefix, id), end));
        let mut notifications = FuturesUnordered::new();
        let next = async |index, mut channel: Notifications| (index, channel.next().await, channel);
        for (index, channel) in join_all(joined).await.into_iter().enumerate() {
            notifications.push(next(index, channel));
        }
        let mut outcomes: Vec<Option<Outcome>> = ids.iter().map(|_| None).collect();
        let mut open: BTreeSet<usize> = (0..ids.len()).collect();
        let mut due: Vec<usize> = open.iter().copied().collect();
        let mut failure;
        let mut reread = Instant::now() + REREAD;
        loop {
            match self.read(ids, &due, &mut outcomes).await {
                Ok(()) => failure = None,
                Err(Error::Store(error)) if error.is_passing => {
                    failure = Some(Error::Store(error));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
            open.retain(|index| outcomes[*index].is_none());
            if open.is_empty() || end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
            let until = end.map_or(reread, |end| end.min(reread));
            due = match time::timeout_at(until, notifications.next()).await {
                Ok(Some(first)) => {
                    // All that was announced meanwhile is read with it, unless it was announced whole.
                    let (mut announced, mut heard) = (Vec::new(), Some(first));
                    while let Some((index, said, channel)) = heard {
                        match said.and_then(|said| announced_result(&said, &ids[index])) {
                            Some(result) => outcomes[index] = Some(Ok(result)),
                            None => {
                                announced.push(index);
                                // Perhaps nothing was said, and only a connection made.
                                notifications.push(next(index, channel));
                            }
                        }
                        heard = match announced.len() < CHUNK {
                            true => notifications.next().now_or_never().flatten(),
                            false => None,
                        };
                    }
                    announced.retain(|index| open.contains(index));
                    announced
                }
                // Nothing will be announced any more; read again from time to time.
                Ok(None) => {
                    time::sleep_until(until).await;
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            if Instant::now() >= until {
                due = open.iter().copied().collect();
                reread = Instant::now() + REREAD;
            }
        }
        let none = |index: usize| Error::NoResult {
            job_id: ids[index].clone(),
            after: timeout,
            state: OpenState::Open,
        };
        let last = |index| Err(failure.clone().unwrap_or_else(|| none(index)));
        let outcomes = outcomes.into_iter().enumerate();
        outcomes.map(|(index, outcome)| outcome.unwrap_or_else(|| last(index))).collect()
    }

    /// Reads the results of `due` jobs, as far as they are there.
    async fn read(
        &self,
        ids: &[JobId],
        due: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        for chunk in due.chunks(CHUNK) {
            let jobs: Vec<&JobId> = chunk.iter().map(|index| &ids[*index]).collect();
            for (index, result) in chunk.iter().zip(self.shared.records.results(&jobs).await?) {
                if result.is_some() {
                    outcomes[*index] = result;
                }
            }
        }
        Ok(())
    }
}
