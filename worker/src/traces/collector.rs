//! An OpenTelemetry collector, to which requests are posted over HTTP/1.1.

use std::{error::Error, fmt, pin::pin};

use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use sandfleet_transport::Tls;
use tokio::net::TcpStream;

/// The longest answer that is read: a collector answers with a few bytes.
const MAX_ANSWER: usize = 64 << 10;
/// What requests are posted to if the endpoint names no path.
const PATH: &str = "/v1/traces";

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Collector {
    host: String,
    port: u16,
    /// The certificates, if it is reached over TLS.
    tls: Option<Tls>,
    path: String,
    /// Among them those that hold secrets, which are marked as sensitive.
    headers: HeaderMap,
}

/// Why a request was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    reason: String,
    /// Whether the same request may be taken later.
    pub(super) is_passing: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Refused {
    pub(super) fn passing(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), is_passing: true }
    }
}

impl Collector {
    /// The collector at `endpoint`, with these headers in each request.
    ///
    /// # Errors
    /// What is wrong with either; the settings have checked that.
    pub fn new(
        endpoint: &str,
        headers: &[(String, String)],
        tls: Tls,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let endpoint: Uri = endpoint.parse()?;
        let is_tls = endpoint.scheme_str() == Some("https");
        let host = endpoint.host().ok_or("the collector's address names no host")?;
        let path = endpoint.path_and_query().map(|path| path.as_str());
        let mut all = HeaderMap::new();
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let agent = concat!("sandfleet/", env!("CARGO_PKG_VERSION"));
        all.insert(USER_AGENT, HeaderValue::from_static(agent));
        let authority = endpoint.authority().map_or(host, |it| it.as_str());
        all.insert(HOST, HeaderValue::from_str(authority)?);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value)?;
            value.set_sensitive(true);
            all.insert(HeaderName::from_bytes(name.as_bytes())?, value);
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: endpoint.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            tls: is_tls.then_some(tls),
            path: path.filter(|path| *path != "/").unwrap_or(PATH).to_owned(),
            headers: all,
        })
    }

    /// Posts a request over a connection of its own, and gives back the answer's body.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<Bytes, Refused> {
        let address = (self.host.as_str(), self.port);
        let stream = TcpStream::connect(address).await.map_err(Refused::passing)?;
        match &self.tls {
            None => self.exchange(TokioIo::new(stream), body).await,
            Some(tls) => {
                let stream = tls.wrap(&self.host, stream).await.map_err(Refused::passing)?;
                self.exchange(TokioIo::new(stream), body).await
            }
        }
    }

    async fn exchange<S>(&self, stream: S, body: Vec<u8>) -> Result<Bytes, Refused>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send,
    {
        let (mut sender, connection) = http1::handshake(stream).await.map_err(Refused::passing)?;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().map_err(Refused::passing)?;
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(Refused::passing)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            if !status.is_success() {
                return Err(refused(status));
            }
            Ok(body.map_err(Refused::passing)?.to_bytes())
        };
        // What the connection's end leaves of the answer is still taken.
        match select(pin!(exchange), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, exchange)) => exchange.await,
        }
    }
}

/// Which answers allow another try is in OTLP's specification.
fn refused(status: StatusCode) -> Refused {
    let is_passing = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    Refused { reason: format!("it answered {status}"), is_passing }
}
