//! Connections to the broker.

mod header;
mod screen;
mod server;
mod transport;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    Connection, ConnectionBuilder, ConnectionProperties,
    tcp::OwnedTLSConfig,
    uri::{AMQPScheme, AMQPUri, SASLMechanism},
};
use tokio::time;

use self::transport::ScreenedReactor;
pub use self::{
    header::MALFORMED_HEADER,
    server::{DEAD_LETTERING_FIX, Server},
};
use crate::{Error, Tls, masked::masked};

/// A dead peer is noticed after two of these. The library's default lets 120 s go by.
const HEARTBEAT_SECONDS: u16 = 10;

/// The longest frame, in bytes. The library keeps 32 of them in either direction, and in the end all of
/// that is in memory: with the broker's 128 KiB it would be most of an idle worker.
const FRAME_BYTES: u32 = 32 << 10;

/// A broker, and how long one exchange with it may take.
#[derive(Clone)]
pub struct Broker {
    /// As for a connection without TLS, which the transport speaks.
    uri: AMQPUri,
    /// The host that has to prove itself, and how, if the connection is to have TLS.
    tls: Option<(String, OwnedTLSConfig)>,
    frame_max: usize,
    display_url: String,
    name: String,
    timeout: Duration,
    /// What it named itself in the last connection.
    server: Arc<Mutex<Option<Server>>>,
}

impl Broker {
    /// The broker at `url`, to which the connections of this process are known as `name`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] if `url` is none, or a file of `tls` is unusable.
    pub fn new(url: &str, name: &str, timeout: Duration, tls: &Tls) -> Result<Self, Error> {
        let shown = masked(url);
        let mut uri: AMQPUri = url.parse().map_err(|error| Error::InvalidConfig {
            setting: "amqp_url",
            reason: format!(
                "{shown} is no AMQP URL ({error}); write \
                 amqp://user:password@host:5672/%2f, or amqps:// for TLS"
            ),
        })?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        let frame_max = *uri.query.frame_max.get_or_insert(FRAME_BYTES) as usize;
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        uri.query.connection_timeout.get_or_insert(milliseconds);
        let tls = match uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => Some((uri.authority.host.clone(), tls.for_amqp()?)),
        };
        uri.scheme = AMQPScheme::AMQP;
        let (name, server) = (name.into(), Arc::default());
        Ok(Self { uri, tls, frame_max, display_url: shown, name, timeout, server })
    }

    /// The broker's URL without the password.
    pub fn display_url(&self) -> &str {
        &self.display_url
    }

    /// The user that messages are published as, if the URL says it and the broker will check it.
    pub fn user(&self) -> Option<&str> {
        let user = self.uri.authority.userinfo.username.as_str();
        let by_password =
            matches!(self.uri.query.auth_mechanism, None | Some(SASLMechanism::Plain));
        (by_password && !user.is_empty()).then_some(user)
    }

    /// What the broker named itself, once there was a connection; nothing if it didn't.
    pub fn server(&self) -> Option<Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How a producer can stop the broker's dead-lettering, unless its version is known to be safe; to be
    /// asked once there was a connection. [`DEAD_LETTERING_FIX`] says what to do.
    pub fn dead_lettering_risk(&self) -> Option<String> {
        self.server().unwrap_or_else(Server::unknown).dead_lettering_risk()
    }

    /// How long one exchange may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Connects once. The library's own recovery stays off: it doesn't bring back channels, and
    /// gives up; the owner of the connection opens a new one.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`].
    pub async fn connect(&self) -> Result<Connection, Error> {
        let properties =
            ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let connect = async {
            let runtime =
                ScreenedReactor::runtime(self.tls.clone(), self.frame_max, self.server.clone());
            let builder = ConnectionBuilder::new_with_runtime(runtime)
                .with_uri(self.uri.clone())
                .with_properties(properties);
            builder.connect().await
        };
        self.with_timeout("connect", connect).await
    }

    /// Awaits the broker's answer to `action`, and no longer than the time-out: the library waits
    /// for ever on a broker that shuts down or blocks.
    ///
    /// # Errors
    /// [`Error::Broker`] and [`Error::TimedOut`]; after either the connection is good for nothing.
    pub async fn with_timeout<T>(
        &self,
        action: impl Into<String>,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, Error> {
        match time::timeout(self.timeout, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(self.failed(action, source)),
            Err(_) => Err(self.timed_out(action)),
        }
    }

    pub(crate) fn failed(&self, action: impl Into<String>, source: lapin::Error) -> Error {
        Error::Broker {
            broker: self.display_url.clone(),
            action: action.into(),
            said: Box::new(source),
        }
    }

    pub(crate) fn timed_out(&self, action: impl Into<String>) -> Error {
        let (broker, after) = (self.display_url.clone(), self.timeout);
        Error::TimedOut { broker, action: action.into(), after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_url_is_refused_without_its_password() {
        let error =
            Broker::new("http://u:SECRET@h", "test", Duration::from_secs(1), &Tls::default())
                .err()
                .expect("not AMQP")
                .to_string();
        assert!(error.starts_with("amqp_url: http://u:***@h is no AMQP URL"), "{error}");
        assert!(!error.contains("SECRET"), "{error}");
    }
}
