//! Addresses of services, which may hold passwords.

use std::fmt;

use url::Url;

/// The address of a service. It shows itself with its password masked.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The whole address, with the password: for connecting, never for showing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

/// `text` without any password in it. Works on text and not on a parsed address, because a password
/// with a character that should have been escaped is what makes addresses unparsable.
pub(super) fn mask(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return "***".into();
    };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
        return "***".into();
    }
    let (user, host) = match rest.rsplit_once('@') {
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => (format!("{user}:***@"), host),
            None => ("***@".into(), host),
        },
        None => (String::new(), rest),
    };
    let host = match host.split_once('?') {
        Some((host, _)) => format!("{host}?***"),
        None => host.to_owned(),
    };
    format!("{scheme}://{user}{host}")
}

/// `text` with `password` in the place of its own; unchanged if there is no place for one.
pub(super) fn with_password(text: &str, password: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return text.to_owned();
    };
    // The crate escapes what would end the password early, but takes `%41` for an escaped `A`.
    match url.set_password(Some(&password.replace('%', "%25"))) {
        Ok(()) => url.into(),
        Err(()) => text.to_owned(),
    }
}

/// Checks the address of a RabbitMQ broker.
pub(super) fn check_amqp(text: &str) -> Result<(), String> {
    check(text, "amqp", |text| text.parse::<lapin::uri::AMQPUri>().is_ok())
}

/// Checks the address of a Redis server.
pub(super) fn check_redis(text: &str) -> Result<(), String> {
    check(text, "redis", |text| redis::IntoConnectionInfo::into_connection_info(text).is_ok())
}

/// The reasons never quote the address: it may be a password that went astray.
fn check(text: &str, scheme: &str, client_accepts: fn(&str) -> bool) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
    if url.scheme() != scheme && url.scheme() != format!("{scheme}s") {
        return Err(format!("begins neither with {scheme}:// nor with {scheme}s://"));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("names no host".into());
    }
    if !client_accepts(text) {
        return Err(format!("is no {scheme} address"));
    }
    Ok(())
}
