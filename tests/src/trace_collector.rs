//! An OpenTelemetry collector: it takes spans as OTLP over HTTP, or behaves as collectors do on bad days.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value},
    trace::v1::Span,
};
use prost::Message;
use tokio::{
    io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

use crate::eventually;

/// How a collector answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// With this status.
    With(u16),
    /// Never.
    Never,
}

/// A collector on a port of this machine. Dropping it ends it.
pub struct TraceCollector {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    answers: watch::Sender<Answers>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    /// The head of each request.
    heads: Vec<String>,
    /// The spans of those that were answered with 200.
    spans: Vec<Span>,
    /// All bodies, as they came.
    bodies: Vec<u8>,
}

impl TraceCollector {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// The same over TLS.
    pub async fn over_tls(acceptor: TlsAcceptor) -> Self {
        Self::listen(Some(acceptor)).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (seen, answers) =
            (Arc::<Mutex<Seen>>::default(), watch::Sender::new(Answers::With(200)));
        let (all, how) = (Arc::clone(&seen), answers.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, how, tls) = (Arc::clone(&all), how.subscribe(), tls.clone());
                tokio::spawn(async move {
                    // A client that goes away in between is no matter of the test.
                    let _ = match tls {
                        None => serve(stream, &seen, how).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &seen, how).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { address, seen, answers, task }
    }

    /// The setting that leads to it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers like this from now on.
    pub fn answer(&self, how: Answers) {
        self.answers.send_replace(how);
    }

    /// The spans that it took so far.
    pub fn spans(&self) -> Vec<Span> {
        self.lock().spans.clone()
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.lock().heads.clone()
    }

    /// Whether these bytes are anywhere in what it was sent.
    pub fn has_seen(&self, text: &str) -> bool {
        self.lock().bodies.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Waits until it has `count` spans of this name in a trace, and gives back all of that trace.
    pub async fn trace(&self, trace_id: &str, name: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans {name} of trace {trace_id}"), || async {
            let spans = self.spans();
            let spans: Vec<_> =
                spans.into_iter().filter(|span| hex(&span.trace_id) == trace_id).collect();
            (spans.iter().filter(|span| span.name == name).count() == count).then_some(spans)
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TraceCollector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes one request.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    seen: &Mutex<Seen>,
    mut answers: watch::Receiver<Answers>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    let status = loop {
        match *answers.borrow_and_update() {
            Answers::With(status) => break status,
            Answers::Never => {}
        }
        if answers.changed().await.is_err() {
            return Ok(());
        }
    };
    {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.heads.push(head);
        seen.bodies.extend(&body);
        if status == 200 {
            let request = ExportTraceServiceRequest::decode(body.as_slice()).expect("OTLP");
            let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
            seen.spans.extend(scopes.flat_map(|it| it.spans));
        }
    }
    let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// An id as it is written.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of an attribute, as text.
pub fn attribute(span: &Span, key: &str) -> Option<String> {
    let is_it = |pair: &&KeyValue| pair.key == key;
    let value = span.attributes.iter().find(is_it)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    })
}
