//! The trace context of a message: written by producers, carried on by workers, and read with suspicion.

use lapin::types::{AMQPValue, FieldTable};
use sandfleet_common::{InvalidTrace, TRACEPARENT, TRACESTATE, TraceContext};

/// What the headers of a message say of its job's trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageTrace {
    /// The context, if there is a sound one.
    pub context: Option<TraceContext>,
    /// Why something there was ignored, in one sentence that quotes none of it.
    pub ignored: Option<String>,
}

impl MessageTrace {
    /// Reads `headers`. Whatever they hold, it is no fault of the job.
    pub fn of(headers: &FieldTable) -> Self {
        let ignored = |why: InvalidTrace| Self { context: None, ignored: Some(why.to_string()) };
        let Some(parent) = headers.inner().get(TRACEPARENT) else { return Self::default() };
        let Some(parent) = text(parent) else {
            let ignored = Some(format!("{TRACEPARENT}: no text"));
            return Self { context: None, ignored };
        };
        let state = headers.inner().get(TRACESTATE).map(text);
        match TraceContext::read(parent, state.flatten()) {
            Err(why) => ignored(why),
            Ok((context, why)) => {
                let no_text = || (state == Some(None)).then(|| format!("{TRACESTATE}: no text"));
                let ignored = why.map(|why| why.to_string()).or_else(no_text);
                Self { context: Some(context), ignored }
            }
        }
    }
}

/// The headers that say `trace`; none without one.
pub fn trace_headers(trace: Option<&TraceContext>) -> FieldTable {
    let mut headers = FieldTable::default();
    let mut insert = |name: &str, value: &str| {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    if let Some(trace) = trace {
        insert(TRACEPARENT, &trace.traceparent());
        if let Some(state) = trace.tracestate() {
            insert(TRACESTATE, state);
        }
    }
    headers
}

fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_forged_is_ignored_with_a_reason() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (trace, _) = TraceContext::read(parent, Some("a=b")).expect("sound");
        let headers = trace_headers(Some(&trace));
        let read = MessageTrace::of(&headers);
        assert_eq!(read, MessageTrace { context: Some(trace), ignored: None });

        let bytes = |bytes: &[u8]| AMQPValue::LongString(bytes.to_vec().into());
        for value in [AMQPValue::LongLongInt(7), bytes(b"\xff\xfe"), bytes(&[b'x'; 100_000])] {
            let mut forged = headers.clone();
            forged.insert(TRACEPARENT.into(), value.clone());
            let MessageTrace { context, ignored } = MessageTrace::of(&forged);
            assert_eq!(context, None);
            assert!(ignored.is_some_and(|why| why.starts_with("traceparent: ") && why.len() < 80));
            let mut forged = headers.clone();
            forged.insert(TRACESTATE.into(), value);
            let MessageTrace { context, ignored } = MessageTrace::of(&forged);
            assert_eq!(context.map(|it| it.traceparent()).as_deref(), Some(parent));
            assert!(ignored.is_some_and(|why| why.starts_with("tracestate: ") && why.len() < 80));
        }
        assert_eq!(MessageTrace::of(&FieldTable::default()), MessageTrace::default());
    }
}
