//! W3C trace context: to which trace a job belongs. It travels in the headers of the job's message and in its record, never in
//! the body.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{JobId, digest::hexadecimal};

/// The headers of a message that hold the trace context of its job, as <https://www.w3.org/TR/trace-context/> defines
/// their values.
pub const TRACEPARENT: &str = "traceparent";
/// The second of them, which vendors use.
pub const TRACESTATE: &str = "tracestate";

/// The longest `tracestate` that is carried, in bytes.
const MAX_STATE_BYTES: usize = 512;
/// How many members it has at most.
const MAX_STATE_MEMBERS: usize = 32;
/// The length of a `traceparent` of version 00, the only one there is.
const PARENT_BYTES: usize = 55;
/// The random bits of a trace id that decide whether it is sampled, as level 2 of the standard has it.
const RANDOM_BITS: u32 = 56;

/// The id of a trace: 16 bytes, not all of them 0, written as 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId([u8; 16]);

/// The id of a span within its trace: 8 bytes, not all of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// The span from which a job was submitted, or an ancestor of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the job's spans are children of.
    pub span_id: SpanId,
    /// Whether the spans of this trace are collected.
    pub is_sampled: bool,
    /// The value of `tracestate`, if there is one.
    state: Option<String>,
}

/// Why a text is no part of a trace context. It doesn't quote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTrace(String);

impl TraceId {
    /// A new id.
    pub fn generate() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    /// The id of the trace of a job that names none: every attempt at the job, on whichever worker, has the same.
    pub fn of_job(job: &JobId) -> Self {
        let digest = Sha256::digest(format!("sandfleet trace {job}").as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        // All of them 0 is no id; a digest never is.
        id[0] |= 1;
        Self(id)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether the trace is among the share `ratio` of all traces, from 0.0 to 1.0. Everyone who asks gets the same answer.
    pub fn is_in(&self, ratio: f64) -> bool {
        let mut tail = [0; 8];
        tail.copy_from_slice(&self.0[8..]);
        let random = u64::from_be_bytes(tail) & ((1 << RANDOM_BITS) - 1);
        (random as f64) < ratio * (1_u64 << RANDOM_BITS) as f64
    }
}

impl SpanId {
    /// A new id.
    pub fn generate() -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&Uuid::new_v4().as_bytes()[8..]);
        Self(id)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl TraceContext {
    /// The context of a new trace, which is sampled with probability `ratio`, from 0.0 to 1.0.
    pub fn generate(ratio: f64) -> Self {
        let trace_id = TraceId::generate();
        let (span_id, is_sampled) = (SpanId::generate(), trace_id.is_in(ratio));
        Self { trace_id, span_id, is_sampled, state: None }
    }

    /// The context of another span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: SpanId::generate(), ..self.clone() }
    }

    /// Reads the values of the headers, strictly. A `tracestate` that is malformed is left out, and the second member says
    /// why.
    ///
    /// # Errors
    /// What is wrong with `traceparent`; then nothing of either counts.
    pub fn read(
        traceparent: &str,
        tracestate: Option<&str>,
    ) -> Result<(Self, Option<InvalidTrace>), InvalidTrace> {
        let mut context: Self = traceparent.parse()?;
        match tracestate.map(checked_state) {
            None | Some(Ok(None)) => Ok((context, None)),
            Some(Ok(Some(state))) => {
                context.state = Some(state.to_owned());
                Ok((context, None))
            }
            Some(Err(why)) => Ok((context, Some(why))),
        }
    }

    /// The value of the header `traceparent`.
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }

    /// The value of the header `tracestate`, if there is one.
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTrace;

    /// Reads a `traceparent`: version 00, a trace id, a span id and flags in lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, InvalidTrace> {
        let refuse = |why: &str| Err(InvalidTrace(format!("{TRACEPARENT}: {why}")));
        if text.len() != PARENT_BYTES {
            return refuse(&format!("{} bytes long, not {PARENT_BYTES}", text.len()));
        }
        let mut parts = text.split('-');
        let mut part = || parts.next().unwrap_or_default();
        let (version, trace_id, span_id, flags) = (part(), part(), part(), part());
        if version != "00" {
            return refuse("not of version 00");
        }
        let Some(trace_id) = digits::<16>(trace_id).filter(|id| *id != [0; 16]) else {
            return refuse("its trace id is not 32 of 0-9 a-f, or all 0");
        };
        let Some(span_id) = digits::<8>(span_id).filter(|id| *id != [0; 8]) else {
            return refuse("its span id is not 16 of 0-9 a-f, or all 0");
        };
        // Four parts of these lengths fill the text.
        let Some([flags]) = digits::<1>(flags) else {
            return refuse("its flags are not 2 of 0-9 a-f");
        };
        let is_sampled = flags & 1 == 1;
        Ok(Self { trace_id: TraceId(trace_id), span_id: SpanId(span_id), is_sampled, state: None })
    }
}

/// The bytes that lower-case hexadecimal digits stand for, if it is the right number of both.
fn digits<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * BYTES {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

/// A `tracestate` that can be carried on; nothing if it has no member.
fn checked_state(text: &str) -> Result<Option<&str>, InvalidTrace> {
    let refuse = |why: &str| Err(InvalidTrace(format!("{TRACESTATE}: {why}")));
    if text.len() > MAX_STATE_BYTES {
        return refuse(&format!(
            "{} bytes long; {MAX_STATE_BYTES} are carried at most",
            text.len()
        ));
    }
    let is_space = |c: char| c == ' ' || c == '\t';
    let members = text.split(',').map(|member| member.trim_matches(is_space));
    let members: Vec<_> = members.filter(|member| !member.is_empty()).collect();
    if members.len() > MAX_STATE_MEMBERS {
        return refuse(&format!("more than {MAX_STATE_MEMBERS} members"));
    }
    let is_member = |member: &&str| {
        member
            .split_once('=')
            .is_some_and(|(key, value)| is_state_key(key) && is_state_value(value))
    };
    if !members.iter().all(is_member) {
        return refuse("a member that is no key=value of the characters which are allowed");
    }
    let keys: std::collections::HashSet<_> =
        members.iter().filter_map(|member| member.split('=').next()).collect();
    match keys.len() {
        0 => Ok(None),
        count if count == members.len() => Ok(Some(text)),
        _ => refuse("a key that is there twice"),
    }
}

fn is_state_key(key: &str) -> bool {
    let is_allowed = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '*' | '/' | '@')
    };
    let begins = key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    begins && key.len() <= 256 && key.chars().all(is_allowed)
}

fn is_state_value(value: &str) -> bool {
    let is_allowed = |c: char| (' '..='~').contains(&c) && c != ',' && c != '=';
    (1..=256).contains(&value.len()) && value.chars().all(is_allowed)
}

impl FromStr for TraceId {
    type Err = InvalidTrace;

    fn from_str(text: &str) -> Result<Self, InvalidTrace> {
        let id = digits::<16>(text).filter(|id| *id != [0; 16]);
        id.map(Self).ok_or_else(|| InvalidTrace("trace_id: not 32 of 0-9 a-f, or all 0".into()))
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidTrace;

    fn try_from(text: String) -> Result<Self, InvalidTrace> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> String {
        id.to_string()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_written_as_it_was_read() {
        let (context, ignored) =
            TraceContext::read(PARENT, Some("congo=t61rcWkgMzE, rojo=00f0@")).expect("sound");
        assert_eq!(ignored, None);
        assert_eq!(context.traceparent(), PARENT);
        assert_eq!(context.tracestate(), Some("congo=t61rcWkgMzE, rojo=00f0@"));
        assert!(context.is_sampled);
        let child = context.child();
        assert_eq!((child.trace_id, child.tracestate()), (context.trace_id, context.tracestate()));
        assert_ne!(child.span_id, context.span_id);
        let unsampled: TraceContext = PARENT.replace("-01", "-fe").parse().expect("other flags");
        assert!(!unsampled.is_sampled);
    }

    #[test]
    fn what_is_no_traceparent_is_refused_with_a_reason_that_does_not_quote_it() {
        let upper = PARENT.to_uppercase();
        let long = format!("{PARENT}-what-comes-later");
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let no_span = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01";
        let other = PARENT.replacen("00", "ff", 1);
        let huge = "x".repeat(1 << 20);
        let shifted = "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01";
        let no_text = "\u{1b}".repeat(PARENT_BYTES);
        for bad in ["", "00", &upper, &long, zero, no_span, &other, &huge, shifted, &no_text] {
            let why = bad.parse::<TraceContext>().expect_err("refused").to_string();
            assert!(why.starts_with("traceparent: ") && why.len() < 80, "{why}");
        }
    }

    #[test]
    fn a_bad_tracestate_is_left_out_and_nothing_else() {
        let many: Vec<_> = (0..33).map(|n| format!("k{n}=v")).collect();
        let (many, long) = (many.join(","), format!("k={}", "v".repeat(600)));
        for bad in ["no member", "K=v", "k=", "=v", "k=v,k=w", "k=\u{1b}", "k=ä", &many, &long] {
            let (context, ignored) = TraceContext::read(PARENT, Some(bad)).expect("its parent is");
            assert_eq!(context.tracestate(), None);
            assert!(ignored.expect(bad).to_string().starts_with("tracestate: "));
        }
        for none in ["", " , "] {
            let (context, ignored) = TraceContext::read(PARENT, Some(none)).expect("sound");
            assert_eq!((context.tracestate(), ignored), (None, None));
        }
    }

    #[test]
    fn a_ratio_takes_about_that_share_of_traces() {
        let taken = |ratio| (0..2000).filter(|_| TraceId::generate().is_in(ratio)).count();
        assert_eq!((taken(0.0), taken(1.0)), (0, 2000));
        assert!((400..600).contains(&taken(0.25)), "about 500");
        let of_jobs =
            (0..2000).map(|n| TraceId::of_job(&format!("job-{n}").parse().expect("an id")));
        assert!((400..600).contains(&of_jobs.filter(|id| id.is_in(0.25)).count()), "about 500");
    }

    #[test]
    fn a_job_has_one_trace_for_ever() {
        let job: JobId = "a".parse().expect("an id");
        let id = TraceId::of_job(&job).to_string();
        assert_eq!(id, TraceId::of_job(&job).to_string());
        assert_eq!(id.parse::<TraceId>().map(String::from), Ok(id));
        assert_ne!(SpanId::generate(), SpanId::generate());
        let context = TraceContext::generate(1.0);
        assert_eq!(context.traceparent().parse(), Ok(context));
    }
}
