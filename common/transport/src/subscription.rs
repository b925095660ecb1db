//! A connection to Redis for subscriptions, whose answers have a deadline.

use std::time::Duration;

use redis::{
    Client, RedisResult,
    aio::{PubSubSink, PubSubStream},
};
use tokio::time;

/// How long the server may take to answer, and how long a silent connection is trusted.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two attempts to connect.
pub const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Opens a connection.
///
/// # Errors
/// Why there is none.
pub async fn open(client: &Client) -> Result<(PubSubSink, PubSubStream), String> {
    answer(client.get_async_pubsub()).await.map(|connection| connection.split())
}

/// Awaits the server's answer.
///
/// # Errors
/// What it said, or that it said nothing in time.
pub async fn answer<T>(reply: impl Future<Output = RedisResult<T>>) -> Result<T, String> {
    match time::timeout(ANSWER_TIMEOUT, reply).await {
        Ok(reply) => reply.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {ANSWER_TIMEOUT:?}")),
    }
}
