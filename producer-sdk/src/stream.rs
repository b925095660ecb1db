//! The output of a job while it runs, up to its result.

use std::{collections::VecDeque, time::Duration};

use futures_util::{Stream, stream};
use sandfleet_common::{JobId, JobResult, JobState, names};
use sandfleet_transport::records::{Output, OutputEntry};
use tokio::time::{self, Instant};

use crate::{
    Client, Error, OutputKind,
    subscriber::Notifications,
    wait::{REREAD, spread},
};

/// An event of a job's output stream.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvent {
    /// A worker starts it. If it isn't the first attempt, what was printed before doesn't count.
    Started {
        /// Which start of the job this is, from 1.
        attempt: u32,
    },
    /// It printed something.
    Stdout(Vec<u8>),
    /// It printed something to its standard error.
    Stderr(Vec<u8>),
    /// Output that is lost to the stream; the result has it, within its limits.
    Missing {
        /// From which of the two streams.
        stream: OutputKind,
        /// How many bytes.
        bytes: u64,
    },
    /// It ended. Nothing follows.
    Done(Box<JobResult>),
}

/// The output of a job.
pub type OutputStream<'a> = stream::BoxStream<'a, Result<OutputEvent, Error>>;

impl Client {
    /// The output of a job from its beginning, as it prints it, and its result at the end. A job
    /// that was submitted without `stream` shows its result only. The stream ends after
    /// [`OutputEvent::Done`] or an error; while the store is away, it waits.
    pub fn stream<'a>(&'a self, id: &'a JobId) -> OutputStream<'a> {
        let follower = Follower {
            client: self,
            id,
            notifications: None,
            after: String::new(),
            attempt: 0,
            seen: [0; 2],
            ready: VecDeque::new(),
            result: None,
            over: false,
        };
        Box::pin(events(follower))
    }
}

fn events(follower: Follower<'_>) -> impl Stream<Item = Result<OutputEvent, Error>> + Send {
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await?;
        Some((event, follower))
    })
}

struct Follower<'a> {
    client: &'a Client,
    id: &'a JobId,
    /// Of its output, and of its end.
    notifications: Option<[Notifications; 2]>,
    /// The id of the last entry that was read.
    after: String,
    attempt: u32,
    /// How many bytes of each stream were passed on or reported missing, in this attempt.
    seen: [u64; 2],
    ready: VecDeque<OutputEvent>,
    result: Option<Box<JobResult>>,
    over: bool,
}

impl Follower<'_> {
    async fn next(&mut self) -> Option<Result<OutputEvent, Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => self.pause().await,
                Err(Error::Store(error)) if error.is_passing => self.pause().await,
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// Reads what is new; `false` if nothing was.
    async fn read(&mut self) -> Result<bool, Error> {
        let shared = &self.client.shared;
        if self.notifications.is_none() {
            // Subscribe first and read then, so that nothing in between goes unnoticed.
            let prefix = shared.config.store_prefix();
            let output = shared.subscriber.join(names::output_key(prefix, self.id), None).await;
            let done = shared.subscriber.join(names::done_channel(prefix, self.id), None).await;
            self.notifications = Some([output, done]);
        }
        self.notifications.iter_mut().flatten().for_each(Notifications::mark_seen);
        // The state before the output: once there is a result no output is added, so what is read
        // after a result was seen is all there is.
        if self.result.is_none() {
            match self.client.get(self.id).await? {
                JobState::Done(result) => self.result = Some(result),
                JobState::ResultExpired(status) => {
                    return Err(Error::ResultGone { job_id: self.id.clone(), status });
                }
                _ => {}
            }
        }
        let entries = shared.records.output(self.id, &self.after).await?;
        let is_end = entries.is_empty();
        for entry in entries {
            self.take(entry);
        }
        if is_end && let Some(result) = self.result.take() {
            self.count_what_is_left_out(&result);
            self.ready.push_back(OutputEvent::Done(result));
            self.over = true;
        }
        Ok(!is_end || self.over)
    }

    fn take(&mut self, entry: OutputEntry) {
        let OutputEntry { id, output: Output { attempt, kind, offset, bytes } } = entry;
        self.after = id;
        if attempt != self.attempt {
            (self.attempt, self.seen) = (attempt, [0; 2]);
            self.ready.push_back(OutputEvent::Started { attempt });
        }
        let (index, event) = match kind {
            OutputKind::Start => return,
            OutputKind::Stdout => (0, OutputEvent::Stdout as fn(Vec<u8>) -> OutputEvent),
            OutputKind::Stderr => (1, OutputEvent::Stderr as fn(Vec<u8>) -> OutputEvent),
        };
        // A piece may be there twice: its writer lost an answer and wrote it again.
        let known = self.seen[index].saturating_sub(offset);
        if known > 0 && known >= bytes.len() as u64 {
            return;
        }
        let missing = offset.saturating_sub(self.seen[index]);
        if missing > 0 {
            self.ready.push_back(OutputEvent::Missing { stream: kind, bytes: missing });
        }
        self.seen[index] = offset + bytes.len() as u64;
        self.ready.push_back(event(bytes[known as usize..].to_vec()));
    }

    /// The end of the output may be missing: the result knows how much there was.
    fn count_what_is_left_out(&mut self, result: &JobResult) {
        // Another attempt than the one that was seen, or none that was to be seen at all.
        let Some(run) = result.run.as_ref().filter(|_| result.attempt == self.attempt) else {
            return;
        };
        let length = |text: &str| run.encoding.decode(text).map_or(0, |bytes| bytes.len() as u64);
        let stderr = if run.stderr_truncated { 0 } else { length(&run.stderr) };
        let totals = [(OutputKind::Stdout, length(&run.stdout)), (OutputKind::Stderr, stderr)];
        for ((stream, total), seen) in totals.into_iter().zip(self.seen) {
            if total > seen {
                self.ready.push_back(OutputEvent::Missing { stream, bytes: total - seen });
            }
        }
    }

    /// Waits for a notification, and not for ever: it reaches only those subscribed at that moment.
    async fn pause(&mut self) {
        let until = Instant::now() + spread(REREAD).max(Duration::from_millis(1));
        let Some([output, done]) = &mut self.notifications else {
            return time::sleep_until(until).await;
        };
        tokio::select! {
            _ = output.next() => {}
            _ = done.next() => {}
            () = time::sleep_until(until) => {}
        }
    }
}
