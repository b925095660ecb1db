//! The components of a worker.

use std::{sync::Arc, time::Duration};

use sandfleet_transport::records::RedisStore;
use tokio::time::timeout;

use super::component::Component;
use crate::{
    metrics::Metrics,
    queue::{DeadLetterStatus, Queue},
    sandbox::Sandbox,
    trouble::Trouble,
};

/// The component that jobs come from, without which the others can be asked.
pub const BROKER: &str = "broker";

/// How long the store may take to answer; less than a component may.
const ANSWER: Duration = Duration::from_millis(1900);

/// What a worker can't do without.
pub fn components(
    (queue, letters): (&Arc<dyn Queue>, DeadLetterStatus),
    (store, address): (&Arc<RedisStore>, String),
    sandbox: &Arc<dyn Sandbox>,
    metrics: &Arc<Metrics>,
) -> Vec<Component> {
    let (queue, store) = (Arc::clone(queue), Arc::clone(store));
    let counted = Arc::clone(metrics);
    vec![
        Component::new(BROKER, move || {
            let (queue, letters) = (Arc::clone(&queue), letters.clone());
            counted.set_broker_blocked(queue.is_blocked());
            async move {
                let note = queue.check().await?;
                letters.check().map(|()| note)
            }
        }),
        Component::new("store", move || {
            let (store, address) = (Arc::clone(&store), address.clone());
            async move {
                match timeout(ANSWER, store.check()).await {
                    Ok(checked) => Ok(checked.map(|()| None)?),
                    Err(_) => Err(format!(
                        "store {address}: no answer in {} s; check that it runs",
                        ANSWER.as_secs_f32()
                    )
                    .into()),
                }
            }
        }),
        Component::new("memory", {
            let (sandbox, metrics) = (Arc::clone(sandbox), Arc::clone(metrics));
            move || {
                let checked = sandbox.host_memory().map_or(Ok(()), |memory| {
                    metrics.set_host_memory_kills(memory.kills());
                    memory.check()
                });
                async move { checked.map(|()| None).map_err(Trouble::from) }
            }
        })
        .that_logs(),
        Component::new("sandbox", {
            let (sandbox, metrics) = (Arc::clone(sandbox), Arc::clone(metrics));
            move || {
                let (sandbox, metrics) = (Arc::clone(&sandbox), Arc::clone(&metrics));
                async move {
                    let capacity = sandbox.capacity();
                    metrics.set_slots_stuck(capacity.map_or(0, |capacity| capacity.lost()));
                    sandbox.check().await.map_err(|error| error.to_string())?;
                    Ok(sandbox.capacity().and_then(|capacity| capacity.losses()))
                }
            }
        })
        .that_logs(),
    ]
}
