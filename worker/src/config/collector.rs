//! The address of an OpenTelemetry collector, and the headers of requests to it.

use std::fmt;

use hyper::header::{HeaderName, HeaderValue};
use url::Url;

use super::kind::{Form, Typed};

/// Headers of HTTP requests, which may hold secrets: they don't show themselves.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretHeaders(Vec<(String, String)>);

impl SecretHeaders {
    /// Names and values: for sending, never for showing.
    pub fn reveal(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for SecretHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Typed for SecretHeaders {
    fn typed(text: &str) -> Option<Self> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            HeaderName::from_bytes(name.as_bytes()).ok()?;
            HeaderValue::from_str(value).ok()?;
            Some((name.to_owned(), value.to_owned()))
        };
        pairs.map(pair).collect::<Option<_>>().map(Self)
    }
}

pub(super) const COLLECTOR: Form = Form {
    allowed: "http://host:4318 or https:// for TLS, with the path if that isn't /v1/traces and without a user, or nothing",
    check: |text| {
        if text.is_empty() {
            return Ok(());
        }
        // The reasons don't quote it: it may hold a password that belongs into the headers.
        let url = Url::parse(text).map_err(|error| format!("is no address: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("begins neither with http:// nor with https://".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("names a user; put that into tracing.headers".into());
        }
        match text.parse::<hyper::Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(()),
            _ => Err("names no host, or holds what has to be escaped".into()),
        }
    },
};

pub(super) const HEADERS: Form = Form {
    allowed: "name=value pairs, separated by commas, such as authorization=Bearer TOKEN, or nothing",
    check: |text| match SecretHeaders::typed(text) {
        Some(_) => Ok(()),
        None => Err("is no list of such pairs".into()),
    },
};
