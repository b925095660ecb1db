//! The way to Redis, rebuilt when it leads to a server that won't do.

use std::{future::Future, sync::Mutex, time::Duration};

use redis::{
    Client, RedisError, RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::{Error, Tls, config::masked};

/// A connection to Redis that many tasks share.
pub struct RedisLink {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<ConnectionManager>,
    shown: String,
}

impl RedisLink {
    /// A link to the server at `url` that waits at most `timeout` for an answer. It connects when
    /// it is first used. Call it within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if `url` is none, or a file of `tls` is unusable.
    pub fn open(url: &str, timeout: Duration, tls: &Tls) -> Result<Self, Error> {
        let refuse = |error: RedisError| Error::InvalidConfig {
            setting: "redis_url",
            reason: format!(
                "{} is no Redis URL ({error}); write redis://user:password@host:6379/0",
                masked(url)
            ),
        };
        let client = if url.starts_with("rediss:") {
            Client::build_with_tls(url, tls.for_redis()?).map_err(refuse)?
        } else {
            Client::open(url).map_err(refuse)?
        };
        // The library's own limit of 500 ms is too short for a server that syncs its log or
        // answers somebody with megabytes first.
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(timeout))
            .set_connection_timeout(Some(timeout.min(Duration::from_secs(2))))
            .set_number_of_retries(2)
            .set_max_delay(Duration::from_millis(500));
        let current = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())
            .map_err(refuse)?;
        Ok(Self { client, config, current: Mutex::new(current), shown: masked(url) })
    }

    /// The server's URL without the password.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The client, for connections that can't be shared.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs `command`, and once more if the connection turns out to be lost or to lead to a
    /// server that can't serve: so it must be harmless to run twice.
    ///
    /// # Errors
    /// What the second try, or the first that isn't worth another, came back with.
    pub async fn run<T, F, R>(&self, command: F) -> RedisResult<T>
    where
        F: Fn(ConnectionManager) -> R,
        R: Future<Output = RedisResult<T>>,
    {
        match command(self.connection()).await {
            Err(error) if serves_elsewhere(&error) => {
                self.rebuild();
                command(self.connection()).await
            }
            // The manager reconnects by itself; the second try waits for that.
            Err(error) if error.is_connection_dropped() => command(self.connection()).await,
            answer => answer,
        }
    }

    fn connection(&self) -> ConnectionManager {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// The manager stays on a server that has become a replica or is still loading: its connection
    /// is fine. A new one resolves the name anew.
    fn rebuild(&self) {
        if let Ok(fresh) =
            ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone())
        {
            *self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = fresh;
        }
    }
}

/// Whether the server at the other end is the wrong one at present.
fn serves_elsewhere(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        redis::ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown
        )
    )
}

/// Whether waiting may help: the server is away or not ready, as opposed to refusing.
pub(crate) fn is_passing(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || serves_elsewhere(error)
}
