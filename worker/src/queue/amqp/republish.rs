//! Moving a message to another queue, and telling the broker what becomes of it here.

use std::time::Duration;

use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions},
};
use sandfleet_transport::{Message, Publisher};
use tokio::time;

use super::{config::pauses, failure::why};
use crate::pauses::jittered;

/// How long the socket may take to swallow a few bytes.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) const REQUEUE: BasicNackOptions = BasicNackOptions { multiple: false, requeue: true };

/// Publishes a message elsewhere and settles it where it came from, to which it was returned so many
/// times before. The pause after a failure ends when the worker has `stopped`.
pub(super) async fn move_to(
    publisher: &Publisher,
    acker: &Acker,
    message: Message,
    returns: u32,
    stopped: impl Future<Output = ()>,
) -> Result<(), String> {
    // First there and only then gone from here: twice is better than never.
    match publisher.publish(message).await {
        Ok(()) => sent(acker.ack(BasicAckOptions::default())).await,
        Err(error) => {
            let reason = why(&error);
            // It would be the next to be delivered, and only so many returns are granted to it. Its slot
            // stays taken meanwhile, so that no more of them are held than there are slots.
            let pause = jittered(pauses().after(returns).next());
            // Either end is as good: the pause is over, or the worker stops.
            let _ = time::timeout(pause, stopped).await;
            sent(acker.nack(REQUEUE)).await?;
            Err(reason)
        }
    }
}

/// Waits until a settlement is on its way.
pub(super) async fn sent(sending: impl Future<Output = lapin::Result<bool>>) -> Result<(), String> {
    match time::timeout(TIMEOUT, sending).await {
        Ok(Ok(true)) => Ok(()),
        // The library's way to say that the channel was gone before.
        Ok(Ok(false)) => Err("the channel it came over is gone".into()),
        Ok(Err(error)) => Err(why(&error)),
        Err(_) => Err(format!("the connection took nothing for {TIMEOUT:?}")),
    }
}
