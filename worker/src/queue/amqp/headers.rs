//! The headers of messages that a worker publishes again.

use jiff::Timestamp;
use lapin::types::{AMQPValue, FieldTable};
use sandfleet_common::{PrintableText, TRACEPARENT, TRACESTATE, names};
use sandfleet_transport::{MALFORMED_HEADER, MessageTrace, trace_headers};

use super::publisher_user::USER_HEADER;
use crate::queue::later;

/// The header of a dead letter that says why it is one.
pub(super) const REASON_HEADER: &str = "x-sandfleet-reason";
/// The header that says how often a message was put off.
pub(super) const PUT_OFF_HEADER: &str = "x-sandfleet-put-off";
/// How the names of headers begin that are the broker's.
const BROKERS: &str = "x-";
/// How those begin that are ours.
const OURS: &str = "x-sandfleet-";
/// Headers by which a publisher has the broker deliver copies elsewhere (RabbitMQ's sender-selected
/// distribution). Published again they would route again, with the worker's rights, and a message that
/// names its own queue would multiply without end.
const ROUTING: [&str; 2] = ["CC", "BCC"];
/// What a message may carry on in headers of its own, names and values together. All headers travel in
/// one frame: what just fits into it when it arrives must not grow past it when something is added.
const MAX_CARRIED_BYTES: usize = 4096;
/// The header of a letter that says in which queue it died, if that was no death of the broker's.
pub(super) const QUEUE_HEADER: &str = "x-sandfleet-queue";
/// The header that says when that was, in milliseconds since 1970, by the clock of the worker that did it.
pub(super) const AT_HEADER: &str = "x-sandfleet-at";

/// Notes why and in which queue a message was given up, and when, unless that is noted already.
pub(super) fn note_death(
    headers: &mut FieldTable,
    reason: &str,
    queue: &str,
    at: Option<Timestamp>,
) {
    for (name, text) in [(REASON_HEADER, reason), (QUEUE_HEADER, queue)] {
        headers.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    if let Some(at) = at
        && !headers.contains_key(AT_HEADER)
    {
        headers.insert(AT_HEADER.into(), AMQPValue::LongLongInt(at.as_millisecond()));
    }
}

/// The headers that a message keeps when it is published again: plain values of its own within
/// [`MAX_CARRIED_BYTES`]; not those that the broker sets anew, nor any that route, nor the one that says
/// that the others were lost, since what is published then is sound. `user` published the message first, which stands in
/// the place of what its headers say.
pub(super) fn carried(headers: &FieldTable, user: Option<&str>) -> FieldTable {
    let mut carried = FieldTable::default();
    let mut left = MAX_CARRIED_BYTES;
    if let Some(user) = user {
        left -= USER_HEADER.len() + user.len();
        carried.insert(USER_HEADER.into(), AMQPValue::LongString(user.into()));
    }
    // Ours first: however much else there is, how often it was put off and when it expires is kept. Then its trace, if
    // that is what its name says.
    let is_ours = |name: &str| name.starts_with(OURS);
    let trace = trace_headers(MessageTrace::of(headers).context.as_ref());
    let is_trace = |name: &str| name == TRACEPARENT || name == TRACESTATE;
    let (ours, others): (Vec<_>, Vec<_>) = headers
        .inner()
        .iter()
        .filter(|(name, _)| !is_trace(name.as_str()))
        .partition(|(name, _)| is_ours(name.as_str()));
    for (name, value) in ours.into_iter().chain(trace.inner()).chain(others) {
        let key = name.as_str();
        let is_brokers = key.starts_with(BROKERS) && !is_ours(key);
        if key == MALFORMED_HEADER || key == USER_HEADER {
            continue;
        }
        if is_brokers || ROUTING.iter().any(|routing| key.eq_ignore_ascii_case(routing)) {
            continue;
        }
        let Some(bytes) = plain_bytes(value) else { continue };
        let Some(rest) = left.checked_sub(key.len() + bytes) else { continue };
        left = rest;
        carried.insert(name.clone(), value.clone());
    }
    carried
}

/// How long a header's value is; nothing for tables, arrays and what holds bytes, which no client of ours
/// sends.
fn plain_bytes(value: &AMQPValue) -> Option<usize> {
    match value {
        AMQPValue::LongString(text) => Some(text.as_bytes().len()),
        AMQPValue::ShortString(text) => Some(text.as_str().len()),
        AMQPValue::FieldTable(_) | AMQPValue::FieldArray(_) | AMQPValue::ByteArray(_) => None,
        _ => Some(16),
    }
}

/// Why the properties of a message with these headers could not be parsed, if that is so.
pub(super) fn malformed(headers: &FieldTable) -> Option<PrintableText> {
    match headers.inner().get(MALFORMED_HEADER)? {
        AMQPValue::LongString(why) => Some(PrintableText::new(why)),
        _ => Some("no reason given".into()),
    }
}

/// How often a message with these headers was put off.
pub(super) fn put_off(headers: &FieldTable) -> u32 {
    match headers.inner().get(PUT_OFF_HEADER) {
        Some(AMQPValue::LongLongInt(times)) => u32::try_from(*times).unwrap_or(0),
        _ => 0,
    }
}

/// How often the broker took a message with these headers back.
pub(super) fn returns(headers: &FieldTable) -> u32 {
    match headers.inner().get("x-delivery-count") {
        Some(AMQPValue::LongLongInt(times)) => u32::try_from(*times).unwrap_or(0),
        _ => 0,
    }
}

/// The exchange behind which such a message waits, and its headers then.
pub(super) fn put_off_once_more(prefix: &str, mut headers: FieldTable) -> (String, FieldTable) {
    let before = put_off(&headers);
    let times = AMQPValue::LongLongInt(i64::from(before) + 1);
    headers.insert(PUT_OFF_HEADER.into(), times);
    (names::later_queue(prefix, later::step(before)), headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_again_routes_nowhere_else_and_fits_into_a_frame() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut headers = FieldTable::default();
        for routing in ["CC", "BCC", "cc"] {
            headers.insert(routing.into(), text("sandfleet.jobs.container.interactive"));
        }
        headers.insert("x-death".into(), text("the broker's"));
        headers.insert(MALFORMED_HEADER.into(), text("a name that is not UTF-8"));
        headers.insert("table".into(), AMQPValue::FieldTable(FieldTable::default()));
        headers.insert("long".into(), text(&"x".repeat(MAX_CARRIED_BYTES)));
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT.into(), text(trace));
        headers.insert(TRACESTATE.into(), text("no member"));
        headers.insert("tenant-mark".into(), text("a"));
        headers.insert(PUT_OFF_HEADER.into(), AMQPValue::LongLongInt(3));
        headers.insert(USER_HEADER.into(), text("forged"));
        let kept = carried(&headers, None);
        let names: Vec<&str> = kept.inner().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["tenant-mark", TRACEPARENT, PUT_OFF_HEADER]);

        let mut many = FieldTable::default();
        for number in 0..2000 {
            many.insert(format!("header-{number}").into(), text(&"x".repeat(100)));
        }
        let kept: usize =
            carried(&many, None).inner().keys().map(|name| name.as_str().len() + 100).sum();
        assert!((MAX_CARRIED_BYTES / 2..=MAX_CARRIED_BYTES).contains(&kept), "{kept} bytes");
        many.insert(PUT_OFF_HEADER.into(), AMQPValue::LongLongInt(7));
        many.insert(TRACEPARENT.into(), text(trace));
        let kept = carried(&many, None);
        assert_eq!(put_off(&kept), 7, "ours is kept first");
        assert_eq!(kept.inner().get(TRACEPARENT), Some(&text(trace)), "and its trace next");
        let longest = "u".repeat(255);
        let kept = carried(&many, Some(&longest));
        let user = kept.inner().get(USER_HEADER).expect("who published it stays, too");
        assert_eq!(*user, text(&longest));
    }
}
