//! Hearing from Redis which running jobs are called off: one subscription for the whole worker.

use std::time::Duration;

use futures_util::StreamExt;
use redis::Client;
use sandfleet_common::JobId;
use tokio::{sync::broadcast, time};
use tracing::debug;

/// How many notices may be unread; a receiver that lags has to look at its job.
pub(super) const BACKLOG: usize = 256;
/// How long the server may take to answer, and how long a silent connection is trusted.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait between two attempts to connect.
const RETRY: Duration = Duration::from_secs(1);

/// Something was called off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelNotice {
    /// This job.
    Job(JobId),
    /// Alarms may have gone unheard: whoever runs a job has to look.
    Any,
}

/// Passes on what is announced on `channel`, for ever.
pub(super) async fn listen(
    client: Client,
    channel: String,
    notices: broadcast::Sender<CancelNotice>,
) {
    loop {
        let reason = subscribe(&client, &channel, &notices).await;
        debug!(reason, "no cancellations can be heard; renewals bring them meanwhile");
        time::sleep(RETRY).await;
    }
}

/// Listens until that fails, and tells why.
async fn subscribe(
    client: &Client,
    channel: &str,
    notices: &broadcast::Sender<CancelNotice>,
) -> String {
    let connected = time::timeout(PATIENCE, client.get_async_pubsub()).await;
    let (mut sink, mut stream) = match connected {
        Ok(Ok(connection)) => connection.split(),
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return format!("no connection in {PATIENCE:?}"),
    };
    match time::timeout(PATIENCE, sink.subscribe(channel)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return format!("no answer in {PATIENCE:?}"),
    }
    // Nobody is there to hear it if nothing runs.
    let _ = notices.send(CancelNotice::Any);
    loop {
        // Without traffic a dead peer would never be noticed.
        match time::timeout(PATIENCE, stream.next()).await {
            Ok(Some(message)) => {
                let id = message.get_payload::<String>().ok().and_then(|text| text.parse().ok());
                let _ = notices.send(id.map_or(CancelNotice::Any, CancelNotice::Job));
            }
            Ok(None) => return "connection closed".into(),
            Err(_) => match time::timeout(PATIENCE, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return format!("no answer in {PATIENCE:?}"),
            },
        }
    }
}
