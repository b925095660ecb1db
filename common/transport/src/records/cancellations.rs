//! Notices of cancellations: one subscription for the whole process.

use std::convert::Infallible;

use futures_util::StreamExt;
use redis::Client;
use sandfleet_common::JobId;
use tokio::{sync::broadcast, time};
use tracing::debug;

use crate::subscription::{self, ANSWER_TIMEOUT, RECONNECT_PAUSE, answer};

/// How many notices may be unread; a receiver that lags has to check its job.
pub(super) const BACKLOG: usize = 256;

/// A notice of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelNotice {
    /// This job is cancelled.
    Job(JobId),
    /// Notices may have been lost: every running job has to be checked.
    Any,
}

/// Passes on what is published on `channel`, for ever.
pub(super) async fn listen(
    client: Client,
    channel: String,
    notices: broadcast::Sender<CancelNotice>,
) {
    loop {
        let Err(reason) = subscribe(&client, &channel, &notices).await;
        debug!(reason, "no notices of cancellations; renewals bring them meanwhile");
        time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Listens until that fails, and returns why.
async fn subscribe(
    client: &Client,
    channel: &str,
    notices: &broadcast::Sender<CancelNotice>,
) -> Result<Infallible, String> {
    let (mut sink, mut stream) = subscription::open(client).await?;
    answer(sink.subscribe(channel)).await?;
    // Without a running job there is no receiver.
    let _ = notices.send(CancelNotice::Any);
    loop {
        // Without traffic a dead peer would never be noticed.
        match time::timeout(ANSWER_TIMEOUT, stream.next()).await {
            Ok(Some(message)) => {
                let id = message.get_payload::<String>().ok().and_then(|text| text.parse().ok());
                let _ = notices.send(id.map_or(CancelNotice::Any, CancelNotice::Job));
            }
            Ok(None) => return Err("connection closed".into()),
            Err(_) => drop(answer(sink.ping::<redis::Value>()).await?),
        }
    }
}
