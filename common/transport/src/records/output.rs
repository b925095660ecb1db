//! The output stream of a running job.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use redis::Script;
use sandfleet_common::{JobId, names};

use super::redis::{RedisStore, milliseconds};
use crate::StoreError;

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));

/// How many entries are read at a time.
const PAGE: usize = 256;
/// How many entries of a job's output are kept. Redis trims in larger steps.
const MAX_ENTRIES: usize = 4096;
/// How long a job's output can be read after its last entry.
const TTL: Duration = Duration::from_secs(3600);

/// A piece of what a program printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Which start of the job it belongs to.
    pub attempt: u32,
    /// What it is.
    pub kind: OutputKind,
    /// How many bytes of the same kind came before it in this attempt.
    pub offset: u64,
    /// What was printed.
    pub bytes: Vec<u8>,
}

/// A piece of output, as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEntry {
    /// Its position in the stream.
    pub id: String,
    /// The piece.
    pub output: Output,
}

/// What an entry of a job's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// An attempt begins.
    Start,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputKind {
    /// The name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            OutputKind::Start => "start",
            OutputKind::Stdout => "stdout",
            OutputKind::Stderr => "stderr",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [OutputKind::Start, OutputKind::Stdout, OutputKind::Stderr];
        all.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl RedisStore {
    /// Adds to a job's output, with `append.lua`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn append(
        &self,
        job: &JobId,
        owner: &str,
        output: &[Output],
    ) -> Result<(), StoreError> {
        let Some(first) = output.first() else { return Ok(()) };
        let (key, keys) = (names::output_key(&self.prefix, job), self.keys(job));
        let mut script = APPEND.prepare_invoke();
        script
            .key(&key)
            .key(keys.lease)
            .key(keys.result)
            .arg(owner)
            .arg(first.attempt)
            .arg(milliseconds(TTL))
            .arg(MAX_ENTRIES)
            .arg(&key);
        for piece in output {
            script.arg(piece.kind.as_str()).arg(piece.offset).arg(&piece.bytes[..]);
        }
        self.invoke(|| format!("add to the output of job {job}"), &script).await
    }

    /// The next entries of a job's output after the one with the id `after`, which is empty for the
    /// beginning; nothing if there are none yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn output(&self, job: &JobId, after: &str) -> Result<Vec<OutputEntry>, StoreError> {
        let key = &names::output_key(&self.prefix, job);
        let from = &if after.is_empty() { "-".to_owned() } else { format!("({after}") };
        let stored: Vec<Stored> = self
            .run(
                || format!("read the output of job {job}"),
                |mut connection| async move {
                    let mut range = redis::cmd("XRANGE");
                    range.arg(key).arg(from).arg("+").arg("COUNT").arg(PAGE);
                    range.query_async(&mut connection).await
                },
            )
            .await?;
        Ok(stored.into_iter().filter_map(entry).collect())
    }
}

/// An id, and fields by their names.
type Stored = (String, HashMap<String, Vec<u8>>);

/// Nothing if a newer fleet wrote it.
fn entry((id, mut fields): Stored) -> Option<OutputEntry> {
    let bytes = fields.remove("bytes").unwrap_or_default();
    let text = |name| std::str::from_utf8(fields.get(name)?).ok();
    let output = Output {
        attempt: text("attempt")?.parse().ok()?,
        kind: OutputKind::parse(text("kind")?)?,
        offset: text("offset")?.parse().ok()?,
        bytes,
    };
    Some(OutputEntry { id, output })
}
