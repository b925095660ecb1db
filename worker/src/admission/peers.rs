//! What the other live workers take: a refusal is final only if it is true of all of them.

use std::{sync::Arc, time::Duration};

use sandfleet_common::{Needs, WorkerInfo};
use sandfleet_transport::{StoreError, records::RedisStore};
use tokio::{sync::Mutex, time::Instant};

/// How long what the workers said of themselves is believed without asking again.
const FRESH: Duration = Duration::from_secs(1);

/// The live workers, as they announce themselves.
pub struct Peers {
    store: Arc<RedisStore>,
    seen: Mutex<Option<(Instant, Vec<WorkerInfo>)>>,
}

impl Peers {
    /// Those who announce themselves in `store`.
    pub fn of(store: Arc<RedisStore>) -> Self {
        Self { store, seen: Mutex::default() }
    }

    /// The name of a live worker that takes a job with such needs, if there is one.
    ///
    /// # Errors
    /// If the store doesn't tell.
    pub async fn who_takes(&self, needs: &Needs) -> Result<Option<String>, StoreError> {
        // Held while the store is asked: many refusals at a time are one question.
        let mut seen = self.seen.lock().await;
        let workers = match seen.take() {
            Some((at, workers)) if at.elapsed() < FRESH => seen.insert((at, workers)),
            _ => seen.insert((Instant::now(), self.store.workers().await?)),
        };
        let taker = workers.1.iter().find(|worker| worker.takes(needs));
        Ok(taker.map(|worker| worker.worker_id.clone()))
    }
}
