//! Notes for `sandfleet audit` that a worker began and was told to stop, and that it has another policy than others before;
//! and says at the start if the store lets it not count what tenants use.

use std::{sync::Arc, time::Duration};

use sandfleet_transport::{
    StoreError,
    audit::{Act, Event},
    records::RedisStore,
};
use tokio::time::timeout;
use tracing::warn;

use crate::{sandbox::Description, shutdown::Shutdown};

/// How long the store may take: jobs go on meanwhile, and a worker that stops doesn't wait for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Notes that the worker `id` begins, and its end once it takes no more jobs.
pub async fn note_worker(
    store: Arc<RedisStore>,
    id: String,
    sandbox: Description,
    shutdown: Shutdown,
) {
    let Description { backend, policy_hash, .. } = sandbox;
    let beginning = async {
        if let Err(error) = store.check_counting().await {
            warn!(
                %error,
                "what tenants use is not counted, so that no budget refuses anything; make the store's users again \
                 with deploy/credentials/make"
            );
        }
        tell(store.note_policy(backend, &policy_hash)).await;
        let started = Event::of(Act::WorkerStarted, &id);
        tell(store.note(started.with(format!("{backend}, policy {policy_hash}")))).await;
    };
    // A store that says nothing holds up no stop.
    tokio::select! {
        () = beginning => {}
        () = shutdown.drained() => {}
    }
    shutdown.drained().await;
    tell(store.note(Event::of(Act::WorkerDrained, &id))).await;
}

async fn tell(noting: impl Future<Output = Result<(), StoreError>>) {
    let reason = match timeout(PATIENCE, noting).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer in {PATIENCE:?}"),
    };
    warn!(reason, "an event for the audit could not be noted in the store");
}
