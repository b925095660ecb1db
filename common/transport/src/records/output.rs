//! What programs print, while they run.

use std::collections::HashMap;

use sandfleet_common::{JobId, names};

use super::JobRecords;
use crate::Error;

/// How many entries are read at a time.
const PAGE: usize = 256;

/// One entry of a job's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputEntry {
    /// Its place in the stream.
    pub id: String,
    /// Which start of the job it belongs to.
    pub attempt: u32,
    /// What it is.
    pub kind: OutputKind,
    /// How many bytes of the same kind came before it in this attempt.
    pub offset: u64,
    /// What was printed.
    pub bytes: Vec<u8>,
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

impl JobRecords {
    /// The next entries of a job's output after that with the id `after`, which is empty for the
    /// beginning; nothing if there are none yet.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn output(&self, id: &JobId, after: &str) -> Result<Vec<OutputEntry>, Error> {
        let key = &names::output_key(&self.prefix, id);
        let from = &if after.is_empty() { "-".to_owned() } else { format!("({after}") };
        let stored: Vec<Stored> = self
            .link
            .run(|mut connection| async move {
                let mut range = redis::cmd("XRANGE");
                range.arg(key).arg(from).arg("+").arg("COUNT").arg(PAGE);
                range.query_async(&mut connection).await
            })
            .await
            .map_err(|source| self.failed(format!("read the output of job {id}"), source))?;
        Ok(stored.into_iter().filter_map(entry).collect())
    }
}

/// An id, and fields by their names.
type Stored = (String, HashMap<String, Vec<u8>>);

/// Nothing if a newer fleet wrote it.
fn entry((id, mut fields): Stored) -> Option<OutputEntry> {
    let bytes = fields.remove("bytes").unwrap_or_default();
    let text = |name| std::str::from_utf8(fields.get(name)?).ok();
    Some(OutputEntry {
        attempt: text("attempt")?.parse().ok()?,
        kind: OutputKind::parse(text("kind")?)?,
        offset: text("offset")?.parse().ok()?,
        bytes,
        id,
    })
}
