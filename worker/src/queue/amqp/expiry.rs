//! An AMQP `expiration`, for messages that a worker publishes again.
//!
//! The broker counts it from the publication, does not say how much of it is over, and drops it from what
//! comes back out of a queue in which messages wait. So the worker that first takes a message notes in its
//! headers until when it may be taken, and every later one looks there. By the workers' clocks: `ttl_ms`
//! goes by the store's.

use jiff::Timestamp;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};

/// Until when a message may be taken, in milliseconds since 1970.
const EXPIRES_AT_HEADER: &str = "x-sandfleet-expires-at";

/// The headers of a message that arrived at `now`, with the time of its expiry if it has one.
pub(super) fn headers(properties: &BasicProperties, now: Timestamp) -> FieldTable {
    let mut headers = properties.headers().clone().unwrap_or_default();
    let expiration = properties.expiration().as_ref().and_then(|text| text.as_str().parse().ok());
    if let (None, Some(left)) = (expires_at(&headers), expiration) {
        let at = now.as_millisecond().saturating_add(left);
        headers.insert(EXPIRES_AT_HEADER.into(), AMQPValue::LongLongInt(at));
    }
    headers
}

/// Whether a message with these headers may no longer be taken.
pub(super) fn is_over(headers: &FieldTable, now: Timestamp) -> bool {
    expires_at(headers).is_some_and(|at| at <= now.as_millisecond())
}

fn expires_at(headers: &FieldTable) -> Option<i64> {
    match headers.inner().get(EXPIRES_AT_HEADER)? {
        AMQPValue::LongLongInt(at) => Some(*at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiration_counts_from_the_first_arrival() {
        let at = |ms| Timestamp::from_millisecond(ms).expect("a time");
        let sent = BasicProperties::default().with_expiration("1000".into());
        let first = headers(&sent, at(500));
        assert!(!is_over(&first, at(1499)) && is_over(&first, at(1500)));
        // Published again: with the header, and with the property or without it.
        for again in [BasicProperties::default(), sent] {
            let later = headers(&again.with_headers(first.clone()), at(1400));
            assert!(!is_over(&later, at(1499)) && is_over(&later, at(1500)));
        }
        for none in ["", "soon", "-1x"] {
            let properties = BasicProperties::default().with_expiration(none.into());
            assert!(!is_over(&headers(&properties, at(0)), Timestamp::MAX), "{none:?}");
        }
    }
}
