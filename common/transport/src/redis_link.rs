//! A connection to Redis, replaced when it leads to a server that can't serve.

use std::{
    future::Future,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Client, RedisError, RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time;

use crate::{
    Error, StoreError, Tls,
    masked::masked,
    refusal::{self, Answer},
};

/// A connection to Redis that many tasks share.
pub struct RedisLink {
    client: Client,
    config: ConnectionManagerConfig,
    current: Mutex<Current>,
    timeout: Duration,
    display_url: String,
}

/// The connection at present, and which one in a row it is.
struct Current {
    manager: ConnectionManager,
    number: u64,
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
        // The library has one time-out for all answers; here a large value may take longer than
        // a small one, so the time is taken in `within`.
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(timeout.min(Duration::from_secs(2))))
            .set_number_of_retries(2)
            .set_max_delay(Duration::from_millis(500));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config.clone())
            .map_err(refuse)?;
        let current = Mutex::new(Current { manager, number: 0 });
        Ok(Self { client, config, current, timeout, display_url: masked(url) })
    }

    /// The server's URL without the password.
    pub fn display_url(&self) -> &str {
        &self.display_url
    }

    /// The client, for connections that can't be shared.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// That `action` failed with `error`.
    pub fn failed(&self, action: String, error: &RedisError) -> StoreError {
        let answer = refusal::of_store(error);
        let is_passing = answer.is_none() && is_passing(error);
        let reason = answer.as_ref().map_or_else(|| error.to_string(), Answer::sentence);
        StoreError {
            store: self.display_url.clone(),
            action,
            reason,
            is_damaged: is_damaged(error),
            is_passing,
            refusal: answer.and_then(|answer| answer.refusal),
        }
    }

    /// That `action` failed since the server answered this.
    pub(crate) fn refused(&self, action: String, answer: &Answer) -> StoreError {
        StoreError {
            store: self.display_url.clone(),
            action,
            reason: answer.sentence(),
            is_damaged: false,
            is_passing: false,
            refusal: answer.refusal,
        }
    }

    /// That a script had an answer which this version doesn't know.
    pub(crate) fn unexpected(&self, action: String, answer: &str) -> StoreError {
        StoreError {
            store: self.display_url.clone(),
            action,
            reason: format!("unexpected answer {answer:?}"),
            is_damaged: true,
            is_passing: false,
            refusal: None,
        }
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
        self.run_within(self.timeout, command).await
    }

    /// As [`run`](Self::run), but the server may take `timeout` to answer.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_within<T, F, R>(&self, timeout: Duration, command: F) -> RedisResult<T>
    where
        F: Fn(ConnectionManager) -> R,
        R: Future<Output = RedisResult<T>>,
    {
        match self.attempt(timeout, &command).await {
            // The manager reconnects by itself after a loss, and the second try waits for that.
            Err(error) if serves_elsewhere(&error) || error.is_connection_dropped() => {
                self.attempt(timeout, &command).await
            }
            answer => answer,
        }
    }

    async fn attempt<T, F, R>(&self, timeout: Duration, command: &F) -> RedisResult<T>
    where
        F: Fn(ConnectionManager) -> R,
        R: Future<Output = RedisResult<T>>,
    {
        let (manager, number) = {
            let current = self.lock();
            (current.manager.clone(), current.number)
        };
        let answer = time::timeout(timeout, command(manager)).await.unwrap_or_else(|_| {
            let late = format!("no answer in {timeout:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
        });
        // The manager stays on a server that has become a replica or is still loading, since its
        // connection is fine, and on one that is silent. A new one resolves the name anew.
        if answer.as_ref().is_err_and(|error| serves_elsewhere(error) || error.is_timeout()) {
            self.replace(number);
        }
        answer
    }

    /// Puts a new connection in the place of that with `number`, unless another task has.
    fn replace(&self, number: u64) {
        let fresh =
            ConnectionManager::new_lazy_with_config(self.client.clone(), self.config.clone());
        let mut current = self.lock();
        if let Ok(manager) = fresh
            && current.number == number
        {
            *current = Current { manager, number: number + 1 };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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
fn is_passing(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || serves_elsewhere(error)
}

/// Whether a key isn't what the scripts expect, as opposed to the server being unable to serve.
fn is_damaged(error: &RedisError) -> bool {
    match error.code() {
        Some("WRONGTYPE") => true,
        // A script that met a value it can't work with; refusals have codes of their own.
        Some("ERR") => error.detail().is_some_and(|detail| detail.contains("user_script")),
        _ => false,
    }
}
