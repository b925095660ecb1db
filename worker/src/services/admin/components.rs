//! The admin port: what of a worker it shows.

use std::sync::Arc;

use sandfleet_transport::records::Store;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Component, Token, listener::Rules};
use crate::{
    config::Settings, metrics::Metrics, queue::Queue, sandbox::Sandbox, shutdown::Shutdown,
};

/// What readiness is asked of.
type Parts<'a> = (&'a Arc<dyn Queue>, &'a Arc<dyn Store>, &'a Arc<dyn Sandbox>);

/// Binds `admin.address`, unless it is off, and serves metrics and readiness there.
///
/// # Errors
/// If the address or the token's file is unusable.
pub async fn open(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    (queue, store, sandbox): Parts<'_>,
    shutdown: &Shutdown,
) -> Result<Option<JoinHandle<()>>, String> {
    let Some(address) = settings.admin.address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("admin.address {address}: {error}; name another, or switch it off with \"off\"")
    })?;
    let (queue, store, sandbox) = (Arc::clone(queue), Arc::clone(store), Arc::clone(sandbox));
    fn said<E: ToString>(check: Result<(), E>) -> Result<Option<String>, String> {
        check.map(|()| None).map_err(|error| error.to_string())
    }
    let components = vec![
        Component::new("broker", move || {
            let queue = Arc::clone(&queue);
            async move { queue.check().await }
        }),
        Component::new("store", move || {
            let store = Arc::clone(&store);
            async move { said(store.check().await) }
        }),
        Component::new("memory", {
            let (sandbox, metrics) = (Arc::clone(&sandbox), Arc::clone(metrics));
            move || {
                let checked = sandbox.host_memory().map_or(Ok(()), |memory| {
                    metrics.set_host_memory_kills(memory.kills());
                    memory.check()
                });
                async move { said(checked) }
            }
        }),
        Component::new("sandbox", {
            let metrics = Arc::clone(metrics);
            move || {
                let (sandbox, metrics) = (Arc::clone(&sandbox), Arc::clone(&metrics));
                async move {
                    let capacity = sandbox.capacity();
                    metrics.set_slots_stuck(capacity.map_or(0, |capacity| capacity.lost()));
                    sandbox.check().await.map_err(|error| error.to_string())?;
                    Ok(sandbox.capacity().and_then(|capacity| capacity.losses()))
                }
            }
        }),
    ];
    let token = match &settings.admin.token_file {
        None => None,
        Some(file) => Some(Token::read(file)?),
    };
    let rules = Rules { hosts: settings.admin.hosts.0.clone(), ..Rules::default() };
    let (metrics, shutdown) = (Arc::clone(metrics), shutdown.clone());
    Ok(Some(tokio::spawn(async move {
        let stop = async move { shutdown.aborted().await };
        super::serve(listener, metrics, components, token, rules, stop).await;
    })))
}
