//! Spans as OTLP has them.

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status, span::SpanKind, status},
};
use prost::Message;

use super::span::{Kind, Span, Value};

/// The flags of a span: sampled, known where its parent is, and its parent elsewhere.
const SAMPLED: u32 = 0x1;
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// A request with these spans, of a process that is described so.
pub(super) fn encode<'a>(
    resource: &[(&'static str, Value)],
    spans: impl Iterator<Item = &'a Span>,
) -> Vec<u8> {
    let scope = InstrumentationScope {
        name: "sandfleet".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans {
        scope: Some(scope),
        spans: spans.map(otlp).collect(),
        ..ScopeSpans::default()
    };
    let resource = Resource { attributes: attributes(resource), ..Resource::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}

/// How many spans a collector refused, as its answer says.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}

fn otlp(span: &Span) -> OtlpSpan {
    let kind = match span.kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    };
    let remote = if span.has_remote_parent { IS_REMOTE } else { 0 };
    OtlpSpan {
        trace_id: span.trace_id.bytes().to_vec(),
        span_id: span.span_id.bytes().to_vec(),
        trace_state: span.state.clone(),
        parent_span_id: span.parent.map(|id| id.bytes().to_vec()).unwrap_or_default(),
        flags: SAMPLED | HAS_IS_REMOTE | remote,
        name: span.name.into(),
        kind: kind.into(),
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        attributes: attributes(&span.attributes),
        status: span
            .is_failed
            .then(|| Status { message: String::new(), code: status::StatusCode::Error.into() }),
        ..OtlpSpan::default()
    }
}

fn attributes(pairs: &[(&'static str, Value)]) -> Vec<KeyValue> {
    let value = |value: &Value| match value {
        Value::Text(text) => any_value::Value::StringValue(text.clone()),
        Value::Number(number) => any_value::Value::IntValue(*number),
        Value::Truth(truth) => any_value::Value::BoolValue(*truth),
    };
    let pair = |(key, it): &(&'static str, Value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(value(it)) }),
        ..KeyValue::default()
    };
    pairs.iter().map(pair).collect()
}
