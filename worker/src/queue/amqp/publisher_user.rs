//! Which user of the broker published a message first, as far as the broker vouches for it.
//!
//! RabbitMQ refuses a message whose property `user-id` names another user than that of its connection, so it says who
//! published the message. A worker that publishes a message again is that user itself. It notes the first one in a
//! header, which counts only in messages that a worker published: a producer can set the header, and not the property.

use std::collections::BTreeSet;

use lapin::{BasicProperties, types::AMQPValue};

/// The header that says who published a message before a worker did.
pub(super) const USER_HEADER: &str = "x-sandfleet-user";

/// Who published a message with these properties first, if the broker vouches for it. `workers` are the users of the
/// fleet's workers.
pub(super) fn publisher_user(
    properties: &BasicProperties,
    workers: &BTreeSet<String>,
) -> Option<String> {
    let user = properties.user_id().as_ref()?.as_str();
    if !workers.contains(user) {
        return Some(user.to_owned());
    }
    match properties.headers().as_ref()?.inner().get(USER_HEADER)? {
        AMQPValue::LongString(first) => std::str::from_utf8(first.as_bytes()).ok().map(Into::into),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;

    fn message(user: Option<&str>, header: Option<&str>) -> BasicProperties {
        let mut headers = FieldTable::default();
        if let Some(header) = header {
            headers.insert(USER_HEADER.into(), AMQPValue::LongString(header.into()));
        }
        let properties = BasicProperties::default().with_headers(headers);
        user.map_or(properties.clone(), |user| properties.with_user_id(user.into()))
    }

    #[test]
    fn only_a_worker_says_who_published_a_message_before_it() {
        let workers = BTreeSet::from(["worker.1".to_owned(), "worker.2".to_owned()]);
        for (user, header, first) in [
            (None, None, None),
            (Some("acme"), None, Some("acme")),
            // Forged by its producer.
            (None, Some("acme"), None),
            (Some("beta"), Some("acme"), Some("beta")),
            // Published again, by this worker or another.
            (Some("worker.1"), Some("acme"), Some("acme")),
            (Some("worker.2"), Some("acme"), Some("acme")),
            (Some("worker.1"), None, None),
        ] {
            let found = publisher_user(&message(user, header), &workers);
            assert_eq!(found.as_deref(), first, "{user:?} {header:?}");
        }
    }
}
