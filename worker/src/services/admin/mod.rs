//! The HTTP endpoint for operators: metrics, liveness, readiness.

mod listener;
mod open;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;

use std::{fs, future::Future, io::Read, path::Path, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use sandfleet_common::PrintableText;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use self::listener::Rules;
pub use self::open::open;
use crate::{
    metrics::{FleetMetrics, Metrics},
    services::readiness::Readiness,
};

/// Of a longer token file nothing more is read.
const MAX_TOKEN_BYTES: u64 = 4096;

/// What those send who may see everything.
pub struct Token {
    /// Of the token: the time that comparing hashes takes doesn't tell how much of a guess was right.
    hash: [u8; 32],
}

impl Token {
    /// The token that `file` holds.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn read(file: &Path) -> Result<Self, String> {
        let refuse = |reason: &str| {
            format!("admin.token_file {}: {reason}; put a token on one line", file.display())
        };
        let mut text = String::new();
        fs::File::open(file)
            .and_then(|file| file.take(MAX_TOKEN_BYTES).read_to_string(&mut text))
            .map_err(|error| refuse(&format!("cannot be read: {error}")))?;
        match text.trim() {
            short if short.len() < 16 => Err(refuse("holds less than 16 characters")),
            token if token.contains(|c: char| !c.is_ascii_graphic()) => {
                Err(refuse("holds more than plain characters"))
            }
            token => Ok(Self { hash: Sha256::digest(token).into() }),
        }
    }

    fn is_sent(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = sent.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| <[u8; 32]>::from(Sha256::digest(token.trim())) == self.hash)
    }
}

/// Answers `/metrics`, `/livez` and `/readyz` on `listener` until `stop` is done, and then for at
/// most 3 s those who have asked already. With a token, metrics and the reasons why something
/// isn't ready are only for those who send it. What clients may do is in `rules`.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    token: Option<Token>,
    rules: Rules,
    stop: impl Future<Output = ()> + Send,
) {
    let endpoint = Arc::new(Endpoint { metrics, readiness, token });
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(readiness_page))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /metrics, /livez or /readyz\n") })
        .with_state(endpoint);

    listener::serve(listener, router, rules, stop).await;
}

/// Answers `/metrics` with `metrics` of a fleet and `/livez` on `listener`, as [`serve`] does for a worker.
pub async fn serve_fleet(
    listener: TcpListener,
    metrics: Arc<FleetMetrics>,
    token: Option<Token>,
    hosts: Vec<String>,
    stop: impl Future<Output = ()> + Send,
) {
    let token = Arc::new(token);
    let page = move |headers: HeaderMap| {
        let page = match token.as_ref().as_ref().is_none_or(|token| token.is_sent(&headers)) {
            true => shown(metrics.render()),
            false => unauthorized(),
        };
        async { page }
    };
    let router = Router::new()
        .route("/metrics", get(page))
        .route("/livez", get(|| async { "alive\n" }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "try /metrics or /livez\n") });
    listener::serve(listener, router, Rules { hosts, ..Rules::default() }, stop).await;
}

fn shown(page: prometheus::Result<String>) -> Response {
    match page {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn unauthorized() -> Response {
    let refusal = "send the token in admin.token_file: Authorization: Bearer TOKEN\n";
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], refusal).into_response()
}

struct Endpoint {
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    token: Option<Token>,
}

impl Endpoint {
    fn admits(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_none_or(|token| token.is_sent(headers))
    }
}

async fn metrics_page(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    if !endpoint.admits(&headers) {
        return unauthorized();
    }
    // For the gauges of the components.
    endpoint.readiness.report().await;
    shown(endpoint.metrics.render())
}

async fn readiness_page(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap) -> Response {
    let report = endpoint.readiness.report().await;
    let ready = endpoint.readiness.is_ready(&report);
    let components: serde_json::Map<_, _> = report
        .iter()
        .map(|(name, answer)| {
            let said = match answer {
                Ok(None) => json!({ "ok": true }),
                Ok(Some(note)) => json!({ "ok": true, "note": PrintableText::new(note) }),
                Err(trouble) => json!({ "ok": false, "reason": PrintableText::new(trouble) }),
            };
            (name.to_string(), said)
        })
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = match endpoint.admits(&headers) {
        true => json!({ "ready": ready, "components": components }),
        // Enough for a supervisor that restarts workers; the reasons name addresses.
        false => json!({ "ready": ready }),
    };
    (status, [(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
