//! A release's messages, keys and results, as a file keeps them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use jiff::Timestamp;
use lapin::{
    BasicProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};
use redis::aio::MultiplexedConnection;
use sandfleet_common::{JobId, Status, Verdict};
use sandfleet_tests::Services;
use serde::{Deserialize, Serialize};

/// How far from the recording a number may be to count as a time of it, in milliseconds.
const NEAR: i64 = 370 * DAY;
const DAY: i64 = 86_400_000;

/// What one release wrote.
#[derive(Serialize, Deserialize)]
pub(crate) struct Release {
    pub(crate) version: String,
    /// Of the repository: what `tests/run upgrade` builds the release's program from.
    pub(crate) commit: String,
    /// When it was recorded, in Unix milliseconds: all times are moved from then to now.
    pub(crate) recorded_at_ms: i64,
    /// How all names began.
    pub(crate) prefix: String,
    pub(crate) messages: Vec<Message>,
    /// The store while the messages' jobs waited.
    pub(crate) waiting: BTreeMap<String, Value>,
    /// The store when the other jobs had ended.
    pub(crate) ended: BTreeMap<String, Value>,
    /// The jobs, and how they have to end or have ended.
    pub(crate) jobs: Vec<Ending>,
}

/// A message of a job queue.
#[derive(Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) priority: Option<u8>,
    pub(crate) message_id: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) headers: FieldTable,
    pub(crate) body: String,
}

/// A key's value and how long it is kept.
#[derive(Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) ttl_ms: Option<i64>,
    #[serde(flatten)]
    pub(crate) data: Data,
}

/// A value of the store, by its type.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Data {
    String(String),
    Hash(BTreeMap<String, String>),
    SortedSet(Vec<(String, f64)>),
    Stream(Vec<(String, Vec<(String, String)>)>),
}

/// How a job ended, or has to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ending {
    pub(crate) what: String,
    pub(crate) id: JobId,
    /// Whether it still waited.
    pub(crate) waits: bool,
    pub(crate) status: Status,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) stdout: Option<String>,
}

impl Release {
    /// Where the releases are.
    pub(crate) fn directory() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upgrade/recorded"))
    }

    /// All that have been recorded, with their times moved to now.
    pub(crate) fn all() -> Vec<Self> {
        let files = fs::read_dir(Self::directory()).expect("the recorded releases");
        let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        assert!(!paths.is_empty(), "no release is recorded");
        paths.iter().map(|path| Self::read(&fs::read_to_string(path).expect("a text"))).collect()
    }

    fn read(text: &str) -> Self {
        let recorded: Self = serde_json::from_str(text).expect("what `recording` wrote");
        let moved = moved(text, recorded.recorded_at_ms, Timestamp::now().as_millisecond());
        serde_json::from_str(&moved).expect("only numbers have changed")
    }

    pub(crate) fn waiting_jobs(&self) -> impl Iterator<Item = &Ending> {
        self.jobs.iter().filter(|job| job.waits)
    }

    pub(crate) fn ended_jobs(&self) -> impl Iterator<Item = &Ending> {
        self.jobs.iter().filter(|job| !job.waits)
    }

    /// Puts keys of it into the store, under the names of `services`.
    pub(crate) async fn restore(&self, keys: &BTreeMap<String, Value>, services: &Services) {
        let client = redis::Client::open(services.admin.redis_url.as_str()).expect("a URL");
        let mut store = client.get_multiplexed_async_connection().await.expect("the store runs");
        for (key, value) in keys {
            let own = |text: &str| text.replace(&self.prefix, &services.prefix);
            write(&mut store, &own(key), value, own).await.expect("an administrator may write");
        }
    }

    /// Publishes its messages as a producer does, under the names of `services`.
    pub(crate) async fn publish(&self, services: &Services) {
        let options = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&services.producer.amqp_url, options).await;
        let channel = connection.expect("the broker runs").create_channel().await.expect("one");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        for message in &self.messages {
            let own = |text: &str| text.replace(&self.prefix, &services.prefix);
            let mut properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_headers(message.headers.clone());
            if let Some(priority) = message.priority {
                properties = properties.with_priority(priority);
            }
            if let Some(id) = &message.message_id {
                properties = properties.with_message_id(id.as_str().into());
            }
            if let Some(kind) = &message.content_type {
                properties = properties.with_content_type(kind.as_str().into());
            }
            let confirmed = channel
                .basic_publish(
                    own(&message.exchange).into(),
                    own(&message.routing_key).into(),
                    BasicPublishOptions { mandatory: true, ..Default::default() },
                    message.body.as_bytes(),
                    properties,
                )
                .await
                .expect("a message")
                .await
                .expect("the broker answers");
            assert!(confirmed.is_ack() && confirmed.take_message().is_none(), "not routed");
        }
    }
}

async fn write(
    store: &mut MultiplexedConnection,
    key: &str,
    value: &Value,
    own: impl Fn(&str) -> String,
) -> redis::RedisResult<()> {
    let mut all = redis::pipe();
    match &value.data {
        Data::String(text) => _ = all.set(key, own(text)),
        Data::Hash(fields) => {
            fields.iter().for_each(|(name, field)| _ = all.hset(key, own(name), own(field)));
        }
        Data::SortedSet(members) => {
            members.iter().for_each(|(member, score)| _ = all.zadd(key, own(member), *score));
        }
        Data::Stream(entries) => {
            for (id, fields) in entries {
                let entry = all.cmd("XADD").arg(key).arg(id);
                fields.iter().for_each(|(name, field)| _ = entry.arg(name).arg(own(field)));
            }
        }
    }
    if let Some(ttl_ms) = value.ttl_ms {
        all.pexpire(key, ttl_ms);
    }
    all.query_async(store).await
}

/// `text` with each time of about `then` moved by what has passed until `now`, since what is too old is refused or removed:
/// numbers of milliseconds, RFC 3339, and the days that usage is counted by.
fn moved(text: &str, then: i64, now: i64) -> String {
    let mut moved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|it: char| it.is_ascii_digit()) {
        moved.push_str(&rest[..start]);
        let is_day = moved.ends_with(":usage:");
        rest = &rest[start..];
        let digits = rest.find(|it: char| !it.is_ascii_digit()).unwrap_or(rest.len());
        let (time, length) =
            match rest.find('Z').map(|end| (rest[..=end].parse::<Timestamp>(), end + 1)) {
                Some((Ok(time), length)) => (Some(time.as_millisecond()), length),
                _ => (rest[..digits].parse().ok(), digits),
            };
        match time {
            Some(day) if is_day => moved.push_str(&(day + now / DAY - then / DAY).to_string()),
            Some(time) if (time - then).abs() >= NEAR => moved.push_str(&rest[..length]),
            Some(time) if length == digits => moved.push_str(&(time - then + now).to_string()),
            Some(time) => {
                let time = Timestamp::from_millisecond(time - then + now).expect("near to now");
                moved.push_str(&time.to_string());
            }
            None => moved.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    moved + rest
}

#[test]
fn times_are_moved_and_nothing_else() {
    let then = 1_700_000_000_000;
    let text = r#"{"at":1700000005000,"far":1234567890123,"id":"1699999999000-0","n":17,"x":"17000000050001","p:usage:19675":1,
        "queued_at":"2023-11-14T22:13:21.5Z","old":"2001-01-01T00:00:00Z"}"#;
    let two_days_later = r#"{"at":1700172805000,"far":1234567890123,"id":"1700172799000-0","n":17,"x":"17000000050001","p:usage:19677":1,
        "queued_at":"2023-11-16T22:13:21.5Z","old":"2001-01-01T00:00:00Z"}"#;
    assert_eq!(moved(text, then, then + 2 * DAY), two_days_later);
}
