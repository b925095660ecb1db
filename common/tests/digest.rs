//! The digest of a payload, as every client has to compute it.

use proptest::{collection::vec, prelude::*};
use sandfleet_common::{Job, JobId, encode, payload_digest};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vector {
    name: String,
    message: String,
    digest: String,
}

#[test]
fn the_vectors_have_their_digests() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("payload_digests.json")).expect("vectors");
    assert!(vectors.len() > 10);
    for Vector { name, message, digest } in vectors {
        assert_eq!(payload_digest(message.as_bytes()), digest, "{name}: {message}");
    }
}

#[test]
fn the_digest_is_of_the_payload_and_not_of_the_message() {
    let job = Job::new("python", "print(1)");
    let mut again = Job { job_id: JobId::generate(), ..job.clone() };
    again.queued_at = Some(jiff::Timestamp::UNIX_EPOCH);
    let digest = |job: &Job| payload_digest(&encode(job));
    assert_eq!(digest(&job), digest(&again));
    again.ttl_ms = Some(1);
    assert_ne!(digest(&job), digest(&again));
}

/// The same members in another order, at every depth.
fn reversed(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .rev()
                .map(|(name, value)| {
                    let mut member = format!(" {} : ", Value::from(name.as_str()));
                    reversed(value, &mut member);
                    member
                })
                .collect();
            *text += &format!("{{{}}}", members.join(" ,\n"));
        }
        Value::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| {
                    let mut text = String::new();
                    reversed(item, &mut text);
                    text
                })
                .collect();
            *text += &format!("[ {} ]", items.join(" , "));
        }
        other => *text += &other.to_string(),
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn order_and_spaces_change_nothing_and_every_value_counts() {
    proptest!(|(one in value(), other in value())| {
        let mut text = String::new();
        reversed(&one, &mut text);
        let digest = payload_digest(one.to_string().as_bytes());
        prop_assert_eq!(&digest, &payload_digest(text.as_bytes()), "{}", text);
        let wrapped = |value: &Value| payload_digest(serde_json::json!({ "a": value }).to_string().as_bytes());
        // What two texts of one number are is the vectors' business.
        if !one.is_number() && one != other {
            prop_assert_ne!(wrapped(&one), wrapped(&other));
        }
    });
}
