//! The trace of a job: what its message says of it, the spans of its way through this process, and their export by OTLP. Off
//! unless `tracing.endpoint` is set; then no span is made.

mod collector;
mod encoding;
mod exporter;
mod span;
#[cfg(test)]
mod tests;
mod timeline;

pub use collector::Collector;
pub use exporter::{Exporter, ExporterConfig};
pub use span::{Value, text};
pub use timeline::{JobTrace, Timeline, Tracer};
