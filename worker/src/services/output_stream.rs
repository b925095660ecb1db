//! What a program prints, for those who follow it while it runs.
//!
//! Off the program's path: a piece that there is no room for is left out, and the offsets of the
//! next one show it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sandfleet_common::JobId;
use sandfleet_transport::records::{Output, OutputKind, Store};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tracing::debug;

use crate::hooks::Stream;

/// How many pieces may wait for the store; each is one frame of the agent's at most.
const BACKLOG: usize = 64;
/// The most of an attempt's output that can be followed, in bytes; the result has the rest.
const MAX_BYTES: u64 = 4 << 20;
/// How long pieces are gathered, and how many bytes of them, before they are sent.
const GATHER: Duration = Duration::from_millis(30);
const GATHER_BYTES: usize = 64 << 10;
/// How long the last pieces may hold up the result.
const LAST: Duration = Duration::from_millis(100);

/// The output of one attempt.
pub struct OutputStream {
    pieces: mpsc::Sender<Output>,
    attempt: u32,
    /// How many bytes were printed to stdout and to stderr.
    printed: Mutex<[u64; 2]>,
    sending: JoinHandle<()>,
}

impl OutputStream {
    /// Streams what `attempt` of `job_id` prints, which `owner` has claimed, to `store`.
    pub fn open(store: &Arc<dyn Store>, job_id: JobId, attempt: u32, owner: String) -> Self {
        let (pieces, waiting) = mpsc::channel(BACKLOG);
        let start = Output { attempt, kind: OutputKind::Start, offset: 0, bytes: Vec::new() };
        // The channel is empty, so there is room.
        let _ = pieces.try_send(start);
        let sending = tokio::spawn(send(Arc::clone(store), job_id, owner, waiting));
        Self { pieces, attempt, printed: Mutex::default(), sending }
    }

    /// Takes what the program printed. Never waits.
    pub fn push(&self, stream: Stream, bytes: &[u8]) {
        let (index, kind) = match stream {
            Stream::Stdout => (0, OutputKind::Stdout),
            Stream::Stderr => (1, OutputKind::Stderr),
        };
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = printed[index];
        printed[index] += bytes.len() as u64;
        if printed.iter().sum::<u64>() <= MAX_BYTES {
            let bytes = bytes.to_vec();
            // A full channel means that the store is slow: what follows shows the gap.
            let _ = self.pieces.try_send(Output { attempt: self.attempt, kind, offset, bytes });
        }
    }

    /// Gives the last pieces a moment to get out.
    pub async fn finish(self) {
        let Self { pieces, mut sending, .. } = self;
        drop(pieces);
        if timeout(LAST, &mut sending).await.is_err() {
            sending.abort();
        }
    }
}

async fn send(
    store: Arc<dyn Store>,
    job: JobId,
    owner: String,
    mut waiting: mpsc::Receiver<Output>,
) {
    let mut batch: Vec<Output> = Vec::new();
    while let Some(first) = waiting.recv().await {
        // That an attempt begins is told at once.
        let is_start = first.kind == OutputKind::Start;
        let mut bytes = first.bytes.len();
        batch.push(first);
        let until = Instant::now() + GATHER;
        while !is_start && bytes < GATHER_BYTES {
            // At the time-out and at the end alike, what there is goes out.
            let Ok(Some(next)) = timeout_at(until, waiting.recv()).await else { break };
            bytes += next.bytes.len();
            match batch.last_mut() {
                Some(last) if follows(last, &next) => last.bytes.extend(next.bytes),
                _ => batch.push(next),
            }
        }
        if let Err(error) = store.append(&job, &owner, &batch).await {
            debug!(%job, %error, "a piece of output can't be followed");
        }
        batch.clear();
    }
}

fn follows(last: &Output, next: &Output) -> bool {
    last.kind == next.kind && last.offset + last.bytes.len() as u64 == next.offset
}
