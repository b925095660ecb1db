//! The admin port of a worker.

use std::sync::Arc;

use tokio::{net::TcpListener, task::JoinHandle};

use super::{Token, listener::Rules};
use crate::{
    config::Settings, metrics::Metrics, services::readiness::Readiness, shutdown::Shutdown,
};

/// Binds `admin.address`, unless it is off, and serves metrics and readiness there.
///
/// # Errors
/// If the address or the token's file is unusable.
pub async fn open(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    readiness: &Arc<Readiness>,
    shutdown: &Shutdown,
) -> Result<Option<JoinHandle<()>>, String> {
    let Some(address) = settings.admin.address else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("admin.address {address}: {error}; name another, or switch it off with \"off\"")
    })?;
    let token = match &settings.admin.token_file {
        None => None,
        Some(file) => Some(Token::read(file)?),
    };
    let rules = Rules { hosts: settings.admin.hosts.0.clone(), ..Rules::default() };
    let (metrics, readiness) = (Arc::clone(metrics), Arc::clone(readiness));
    let shutdown = shutdown.clone();
    Ok(Some(tokio::spawn(async move {
        let stop = async move { shutdown.aborted().await };
        super::serve(listener, metrics, readiness, token, rules, stop).await;
    })))
}
