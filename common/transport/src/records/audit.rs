//! The audit in Redis: a capped stream for each user of the store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use jiff::Timestamp;
use redis::{Script, Value};
use sandfleet_common::names;

use super::redis::RedisStore;
use crate::{
    StoreError,
    audit::{Act, Event},
};

static NOTE: LazyLock<Script> = LazyLock::new(|| noting_script(include_str!("note.lua")));
static NOTE_POLICY: LazyLock<Script> =
    LazyLock::new(|| noting_script(include_str!("note_policy.lua")));

/// How many events the server gives at a time.
const PAGE: usize = 10_000;

/// A script that may call `note`.
pub(super) fn noting_script(text: &str) -> Script {
    Script::new(&format!("{}{text}", include_str!("audit.lua")))
}

/// An event as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// The store's user, by whose stream it is. The rest is what that user says.
    pub store_user: String,
    /// What it says, by name: `action`, `subject`, `detail`, `tenant`, `broker_user`, `os_user`, `host`, `process`.
    pub parts: BTreeMap<String, String>,
}

/// Events that are gone from a stream although it isn't full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingEvents {
    /// The user whose stream it is.
    pub store_user: String,
    /// How many were added and are gone.
    pub missing: u64,
    /// How many are left.
    pub left: u64,
}

/// What the store has of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditTrail {
    /// The events, the oldest first.
    pub entries: Vec<AuditEntry>,
    /// Where events are missing.
    pub missing: Vec<MissingEvents>,
}

impl RedisStore {
    /// Notes an event that is no step of a job's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note(&self, event: Event) -> Result<(), StoreError> {
        let mut script = NOTE.prepare_invoke();
        self.audit.prepare(&event, &mut script);
        let unnoted: String = self.invoke(|| "note an event for the audit".into(), &script).await?;
        self.audit.conclude(event, &unnoted);
        Ok(())
    }

    /// Notes that sandboxes of `backend` have the policy with this hash, as an event if they had another before.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_policy(&self, backend: &str, hash: &str) -> Result<(), StoreError> {
        let event = Event::of(Act::PolicyChanged, backend).with(hash);
        let mut script = NOTE_POLICY.prepare_invoke();
        script.key(names::policies_key(&self.prefix)).arg(backend).arg(hash);
        self.audit.prepare(&event, &mut script);
        let answer: Option<String> =
            self.invoke(|| "note the policy for the audit".into(), &script).await?;
        if let Some(unnoted) = answer {
            self.audit.conclude(event, &unnoted);
        }
        Ok(())
    }

    /// The events since `since`. Looks through all keys of the server, in pages.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audit_trail(&self, since: Timestamp) -> Result<AuditTrail, StoreError> {
        let begin = names::audit_key(&self.prefix, "");
        let mut trail = AuditTrail::default();
        for key in self.keys_like(&format!("{begin}*"), Some("stream")).await? {
            let user = key.strip_prefix(&begin).unwrap_or_default().to_owned();
            trail.missing.extend(self.missing(&key, &user).await?);
            self.read_stream(&key, &user, since, &mut trail.entries).await?;
        }
        trail.entries.sort_by_key(|entry| entry.at);
        Ok(trail)
    }

    async fn read_stream(
        &self,
        key: &str,
        user: &str,
        since: Timestamp,
        entries: &mut Vec<AuditEntry>,
    ) -> Result<(), StoreError> {
        let mut from = since.as_millisecond().max(0).to_string();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(key).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            type Page = Vec<(String, HashMap<Vec<u8>, Vec<u8>>)>;
            let page: Page = self.read(|| "read the audit".into(), &range).await?;
            let is_last = page.len() < PAGE;
            for (id, fields) in page {
                from = format!("({id}");
                let ms = id.split('-').next().and_then(|ms| ms.parse().ok());
                let at = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
                // A user that may write there may write anything.
                let event = fields.get(b"event".as_slice());
                let parts = event.and_then(|event| serde_json::from_slice(event).ok());
                entries.push(AuditEntry {
                    at: at.unwrap_or_default(),
                    store_user: user.to_owned(),
                    parts: parts.unwrap_or_else(|| {
                        BTreeMap::from([("action".to_owned(), "unreadable".to_owned())])
                    }),
                });
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The stream counts what was added to it. It loses nothing before it is full, so that what is gone was deleted.
    async fn missing(&self, key: &str, user: &str) -> Result<Option<MissingEvents>, StoreError> {
        let mut ask = redis::cmd("XINFO");
        ask.arg("STREAM").arg(key);
        let info: HashMap<String, Value> = self.read(|| "read the audit".into(), &ask).await?;
        let number = |name| match info.get(name) {
            Some(Value::Int(number)) => u64::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        let (left, added) = (number("length"), number("entries-added"));
        let missing = added.saturating_sub(left);
        let is_full = left >= u64::from(self.audit.entries);
        Ok((missing > 0 && !is_full).then(|| MissingEvents {
            store_user: user.to_owned(),
            missing,
            left,
        }))
    }
}
