//! Who did what: the events that `sandfleet audit` shows. They hold no code, input or output.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::Timestamp;
use redis::ScriptInvocation;
use sandfleet_common::{JobId, PrintableText, names};
use tracing::warn;

use crate::audit_file::AuditFile;

/// The longest part of an event, in bytes.
const MAX_PART_BYTES: usize = 255;

/// What is noted of what a process does, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// About how many events the store keeps of each of its users; 0 for none.
    pub entries: u32,
    /// A file that gets each event of this process as a line of JSON.
    pub file: Option<PathBuf>,
    /// The broker's address, of which the user is noted.
    pub broker_url: String,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { entries: 100_000, file: None, broker_url: String::new() }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A job was submitted.
    Submitted,
    /// A submission was taken back, since the broker refused it.
    NotSubmitted,
    /// A job was cancelled.
    Cancelled,
    /// What is kept of a job was deleted.
    Deleted,
    /// A message went back from the dead letters or the unreadable messages to a queue of jobs.
    Requeued,
    /// A message was removed from the dead letters or the unreadable messages.
    Purged,
    /// A switch was thrown.
    SwitchThrown,
    /// A switch was released.
    SwitchReleased,
    /// The fleet's queues were made.
    QueuesMade,
    /// Workers have another policy than those that were started before.
    PolicyChanged,
    /// A worker began to take jobs.
    WorkerStarted,
    /// A worker was told to stop.
    WorkerDrained,
}

impl Act {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Act::Submitted => "submitted",
            Act::NotSubmitted => "not_submitted",
            Act::Cancelled => "cancelled",
            Act::Deleted => "deleted",
            Act::Requeued => "requeued",
            Act::Purged => "purged",
            Act::SwitchThrown => "switch_thrown",
            Act::SwitchReleased => "switch_released",
            Act::QueuesMade => "queues_made",
            Act::PolicyChanged => "policy_changed",
            Act::WorkerStarted => "worker_started",
            Act::WorkerDrained => "worker_drained",
        }
    }
}

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    act: Act,
    subject: String,
    tenant: Option<String>,
    detail: String,
}

impl Event {
    /// `act` on `subject`.
    pub fn of(act: Act, subject: impl Into<String>) -> Self {
        Self { act, subject: subject.into(), tenant: None, detail: String::new() }
    }

    /// `act` on a job.
    pub fn of_job(act: Act, job: &JobId) -> Self {
        Self::of(act, job.as_str())
    }

    /// That is about this tenant.
    #[must_use]
    pub fn of_tenant(mut self, tenant: Option<&str>) -> Self {
        self.tenant = tenant.map(str::to_owned);
        self
    }

    /// With more to say.
    #[must_use]
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// Notes what a process does.
pub(crate) struct Audit {
    pub(crate) store_user: String,
    key: String,
    pub(crate) entries: u32,
    /// Who does it and from where, as the process itself says.
    origin: Vec<(&'static str, String)>,
    file: Option<AuditFile>,
    has_warned: AtomicBool,
}

impl Audit {
    pub(crate) fn new(config: AuditConfig, prefix: &str, store_url: &str) -> Self {
        let store_user = user_of(store_url).unwrap_or_else(|| "default".into());
        let broker_user = user_of(&config.broker_url).unwrap_or_default();
        Self {
            key: names::audit_key(prefix, &store_user),
            store_user,
            entries: config.entries,
            origin: vec![
                ("broker_user", broker_user),
                ("os_user", os_user()),
                ("host", host()),
                ("process", std::process::id().to_string()),
            ],
            file: config.file.map(AuditFile::open),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Gives `script` what `note` in `audit.lua` takes.
    pub(crate) fn prepare(&self, event: &Event, script: &mut ScriptInvocation<'_>) {
        script.arg(&self.key).arg(self.entries).arg(self.json(event, BTreeMap::new()));
    }

    /// The script has run; `unnoted` is what it says was wrong with noting the event.
    pub(crate) fn conclude(&self, event: Event, unnoted: &str) {
        // A fleet that submits a thousand jobs a second must not log a thousand lines.
        if !unnoted.is_empty() && !self.has_warned.swap(true, Ordering::Relaxed) {
            warn!(
                stream = %PrintableText::new(&self.key),
                reason = %PrintableText::new(unnoted),
                "an event for the audit could not be noted in the store, and what it tells of went on; make the store's \
                 users again with deploy/credentials/make, or set audit.entries to 0"
            );
        }
        if let Some(file) = &self.file {
            let now = Timestamp::now().to_string();
            let known = BTreeMap::from([("at", now), ("store_user", self.store_user.clone())]);
            file.write(self.json(&event, known) + "\n");
        }
    }

    fn json(&self, event: &Event, mut parts: BTreeMap<&'static str, String>) -> String {
        let Event { act, subject, tenant, detail } = event;
        parts.insert("action", act.as_str().into());
        parts.insert("subject", bounded(subject));
        parts.extend(tenant.as_ref().map(|tenant| ("tenant", bounded(tenant))));
        parts.insert("detail", bounded(detail));
        parts.extend(self.origin.iter().map(|(name, value)| (*name, bounded(value))));
        parts.retain(|_, value| !value.is_empty());
        serde_json::json!(parts).to_string()
    }
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_PART_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The user in a URL, if it names one.
fn user_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    // As in `masked`: the password may hold an `@` that is not escaped.
    let (userinfo, _) = rest.rsplit_once('@')?;
    let user = userinfo.split_once(':').map_or(userinfo, |(user, _)| user);
    (!user.is_empty()).then(|| user.to_owned())
}

/// The user that the system knows this process by, with its name if the environment tells.
fn os_user() -> String {
    let uid = fs::metadata("/proc/self").map(|own| own.uid().to_string());
    let name = std::env::var("USER").unwrap_or_default();
    match uid {
        Ok(uid) if name.is_empty() => uid,
        Ok(uid) => format!("{name} ({uid})"),
        Err(_) => name,
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_who_and_from_where_and_no_password() {
        let config = AuditConfig {
            broker_url: "amqp://broker-user:S@CRET@h/v".into(),
            ..AuditConfig::default()
        };
        let audit = Audit::new(config, "p", "redis://store-user:SECRET@h");
        assert_eq!(audit.key, "p:audit:store-user");
        let event = Event::of(Act::SwitchThrown, "hold all").with("x".repeat(1000));
        let json = audit.json(&event, BTreeMap::new());
        let read: BTreeMap<String, String> = serde_json::from_str(&json).expect("texts");
        assert_eq!(read["broker_user"], "broker-user");
        assert_eq!(
            (read["action"].as_str(), read["subject"].as_str()),
            ("switch_thrown", "hold all")
        );
        assert_eq!(read["detail"].len(), MAX_PART_BYTES);
        assert!(!read["host"].is_empty() && !read["os_user"].is_empty(), "{json}");
        assert!(!json.contains("CRET"), "{json}");
        assert_eq!(Audit::new(AuditConfig::default(), "p", "redis://h").key, "p:audit:default");
        assert_eq!(Audit::new(AuditConfig::default(), "p", "redis://:pw@h").key, "p:audit:default");
    }
}
