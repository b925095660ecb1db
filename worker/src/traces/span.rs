//! A span, before it is encoded, and the way to the exporter.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sandfleet_common::{PrintableText, SpanId, TraceId};
use tokio::sync::mpsc;

/// One step of a job.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) parent: Option<SpanId>,
    /// Whether the parent is another process's.
    pub(super) has_remote_parent: bool,
    /// What `tracestate` said.
    pub(super) state: String,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// In Unix nanoseconds.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// Whether the fleet failed in it.
    pub(super) is_failed: bool,
}

/// What a step is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of something.
    Internal,
    /// A call of a service.
    Client,
    /// Handing a message over.
    Producer,
    /// Dealing with a message.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A name of a closed list, or a bounded text.
    Text(String),
    /// A number.
    Number(i64),
    /// Whether something is so.
    Truth(bool),
}

/// A text that came from elsewhere, as the value of an attribute: printable, and bounded.
pub fn text(text: &str) -> Value {
    Value::Text(String::from(PrintableText::new(text)))
}

/// Takes the spans of a job at a time, and never waits: what the exporter has no room for is counted and dropped.
#[derive(Debug, Clone)]
pub(super) struct SpanSender {
    pub(super) jobs: mpsc::Sender<Vec<Span>>,
    /// How many spans were dropped and not reported yet.
    pub(super) dropped: Arc<AtomicU64>,
}

impl SpanSender {
    pub(super) fn send(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.jobs.try_send(spans).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}
