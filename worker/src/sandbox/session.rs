//! The worker's side of a job inside a container: sends the request and reads what comes back.
//!
//! The container is hostile. Nothing it sends is trusted in length, order or number; what breaks
//! the protocol ends the session.

mod context;
mod error;
#[cfg(test)]
mod fuzz;
mod request;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use sandfleet_agent::protocol::{
    frame::{self, HEADER, Kind},
    mac::{FrameMac, Key, TAG},
    message::{AGENT_PROTOCOL, Collected, ExitReport, FileHeader, Hello},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader},
    time::{Instant as Deadline, timeout_at},
};

use super::{End, Outcome, SandboxError, capture::Captured};
use crate::hooks::Stream;

#[cfg(test)]
pub(crate) use self::request::sent_to_agent;
pub(crate) use self::{
    context::{SessionContext, Transport},
    error::SessionError,
};

/// How long a container may take from the run request to the program's start.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// How long the agent may take, beyond the wall time limit, to end the program. It ends it at
/// once, so this only strikes when the agent itself is stuck.
const END_DEADLINE: Duration = Duration::from_secs(2);
/// How long bringing artifacts back may take.
const COLLECT_DEADLINE: Duration = Duration::from_secs(30);
/// Refusals that are taken; the agent sends fewer.
const MAX_REFUSALS: usize = 100;
/// Bytes of a sentence from a container that are kept: each may end up in a result.
const MAX_SENTENCE: usize = 4096;

/// Extra read time after the engine answered a ping: what the container sent in time may have been held up
/// on the way.
const HELD_UP: Duration = Duration::from_secs(1);

/// What came from a container, complete or not.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// Of a container that was [`handshake`]ed before, too.
    pub(crate) hello: Option<Hello>,
    pub(crate) started: Option<Instant>,
    pub(crate) ended: Option<(ExitReport, Instant)>,
    /// When the last of it had come.
    over: Option<Instant>,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) artifacts: Vec<(String, Vec<u8>)>,
    pub(crate) artifacts_skipped: Vec<String>,
    pub(crate) collected: Collected,
}

/// Runs a plan over the two directions of a container's stream. `transcript` is what came back, also
/// when the conversation broke off.
pub(crate) async fn run(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    context: &SessionContext<'_>,
    transcript: &mut Transcript,
) -> Result<(), SessionError> {
    let start_by = Deadline::now() + START_DEADLINE;
    // Most frames are short and come in twos and threes.
    let from = BufReader::new(from);
    let held = async {
        let key = request::hand_over(&mut to, context, start_by).await?;
        let read = read(from, key, context, transcript, start_by);
        let Some(input) = context.input else { return read.await };
        tokio::pin!(read);
        tokio::select! {
            held = &mut read => held,
            () = request::feed(to, input) => read.await,
        }
    };
    let held = held.await;
    transcript.over = Some(Instant::now());
    held
}

/// What else is known of a container that ended in the middle of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// A process in it was killed because the job's memory was used up.
    OutOfMemory,
    /// A process in it was killed because the host's memory was used up.
    HostOutOfMemory,
    /// Its program killed it.
    Killed,
    /// Its agent ended in order, so it had said everything: the program took that away.
    Unheard,
    /// Nothing: it may be the host's fault.
    Unexplained,
}

/// What a backend knows of a container that is gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    /// When the job came to the sandbox.
    pub(crate) begun: Instant,
    /// Counts only if the container was lost.
    pub(crate) loss: Loss,
    /// Whether the program started from a warm interpreter.
    pub(crate) warm: bool,
    /// What the container's control group held before it, which is not the program's; 0 if the group is new.
    pub(crate) memory_before: u64,
    /// The peak of that group, if it rose; the agent may have seen another.
    pub(crate) memory_peak: Option<u64>,
}

impl Ending {
    /// Of a container that was made anew for its program.
    pub(crate) fn new(begun: Instant, loss: Loss) -> Self {
        Self { begun, loss, warm: false, memory_before: 0, memory_peak: None }
    }

    fn seen(&self, report: ExitReport) -> End {
        let peak = self.memory_peak.max(report.memory_peak_bytes);
        let memory_peak_bytes = peak.map(|peak| peak.saturating_sub(self.memory_before));
        End::Seen(ExitReport { memory_peak_bytes, ..report })
    }
}

/// Puts together what is known once the container is gone.
pub(crate) fn conclude(
    held: Result<(), SessionError>,
    transcript: Transcript,
    ending: Ending,
) -> Result<Outcome, SandboxError> {
    let Ending { begun, loss, warm, .. } = ending;
    let failed = |reason: String| SandboxError::failed("running a container", reason);
    if let Err(SessionError::Barrier(barrier)) = held {
        return Err(barrier.into());
    }
    let host_killed = match &transcript.ended {
        Some((ended, _)) => ended.was_host_short(),
        None => matches!(held, Err(SessionError::Lost)) && loss == Loss::HostOutOfMemory,
    };
    if host_killed {
        // Whatever became of the program, it is not what it would have done.
        return Err(SandboxError::HostMemory);
    }
    // Taking a container down may take longer than all of its job.
    let over = transcript.over.unwrap_or_else(Instant::now);
    // Before the start, memory can only run out over what the job brought along.
    let has_started = transcript.started.is_some();
    let started = transcript.started.unwrap_or(over);
    let ended_at = transcript.ended.as_ref().map_or(over, |(_, at)| *at);
    let wall_time = ended_at.duration_since(started);
    let mut artifacts_skipped = transcript.artifacts_skipped;
    let end = match (held, transcript.ended) {
        (Ok(()), Some((ended, _))) => ending.seen(ended),
        (Err(SessionError::Lost), _) if loss == Loss::OutOfMemory => End::OutOfMemory { wall_time },
        (Err(SessionError::Lost), None) if loss == Loss::Killed && has_started => {
            End::Killed { wall_time }
        }
        (Err(SessionError::Lost), None) if loss == Loss::Unheard && has_started => {
            End::Tampered { wall_time }
        }
        (Err(SessionError::BadMac(_) | SessionError::Protocol(_)), None) if has_started => {
            End::Tampered { wall_time }
        }
        // That a container is lost or silent may be the host's fault, and then another attempt
        // helps. All else is the program's: what it left behind must not take its verdict away.
        (Err(error), Some((ended, _)))
            if !matches!(error, SessionError::Lost | SessionError::Unheard(_)) =>
        {
            artifacts_skipped.push(format!("all that is not here: {error}"));
            ending.seen(ended)
        }
        (Err(SessionError::Overdue), None) if has_started => End::Overdue { wall_time },
        (Err(error), _) => return Err(failed(error.to_string())),
        (Ok(()), None) => return Err(failed("it ended without an account of it".into())),
    };
    Ok(Outcome {
        // The backend knows.
        root: Default::default(),
        end,
        stdout: transcript.stdout,
        stderr: transcript.stderr,
        artifacts: transcript.artifacts,
        artifacts_skipped,
        collected: transcript.collected,
        landlock: transcript.hello.and_then(|hello| hello.landlock),
        warm,
        setup: started.duration_since(begun),
        collect: over.duration_since(ended_at),
    })
}

/// Hears a container from its first word to its last.
async fn read(
    mut from: impl AsyncRead + Unpin,
    key: Key,
    context: &SessionContext<'_>,
    transcript: &mut Transcript,
    start_by: Deadline,
) -> Result<(), SessionError> {
    if transcript.hello.is_none() {
        transcript.hello = Some(handshake(&mut from, start_by).await?);
    }
    listen(Receiver::new(from, &key), context, transcript, start_by).await
}

/// Hears that a container's agent is there, has found its barriers and waits for its run request.
pub(crate) async fn handshake(
    mut from: impl AsyncRead + Unpin,
    start_by: Deadline,
) -> Result<Hello, SessionError> {
    let mut payload = Vec::new();
    let first = read_frame(&mut from, &mut payload);
    match timeout_at(start_by, first).await.map_err(|_| SessionError::Overdue)?? {
        Kind::Hello => {}
        Kind::Failed => return Err(SessionError::Refused(sentence(&payload))),
        Kind::Barrier => return Err(SessionError::Barrier(parse(&payload)?)),
        kind => return Err(SessionError::Protocol(format!("{kind:?} out of turn"))),
    }
    let hello: Hello = parse(&payload)?;
    if hello.protocol != AGENT_PROTOCOL {
        return Err(SessionError::Refused(format!(
            "the image's agent speaks protocol {}, this worker {AGENT_PROTOCOL}; rebuild the image \
             with `sandfleet images import`",
            hello.protocol
        )));
    }
    Ok(hello)
}

/// Hears what a container says once it has greeted.
async fn listen(
    mut from: Receiver<impl AsyncRead + Unpin>,
    context: &SessionContext<'_>,
    transcript: &mut Transcript,
    start_by: Deadline,
) -> Result<(), SessionError> {
    let SessionContext { plan, policy, watcher, transport, .. } = *context;
    let cap = plan.limits.output_bytes;
    let mut read_deadline = ReadDeadline { until: start_by, is_used_up: false, transport };
    let mut artifact_bytes = 0;
    let mut payload = Vec::new();
    loop {
        let kind = read_deadline.read(from.frame(&mut payload)).await?;
        match (kind, transcript.started.is_some(), transcript.ended.is_some()) {
            (Kind::Failed, ..) => return Err(SessionError::Refused(sentence(&payload))),
            (Kind::Started, false, _) => {
                transcript.started = Some(Instant::now());
                let limit = Duration::from_millis(plan.limits.wall_time_ms);
                read_deadline.renew(limit + END_DEADLINE);
            }
            (Kind::Stdout, true, false) => {
                transcript.stdout.push(&payload, cap).map_err(SessionError::Protocol)?;
                watcher(Stream::Stdout, &payload);
            }
            (Kind::Stderr, true, false) => {
                transcript.stderr.push(&payload, cap).map_err(SessionError::Protocol)?;
                watcher(Stream::Stderr, &payload);
            }
            (Kind::StderrTail, true, false) => {
                payload.truncate(policy.stderr_tail_bytes as usize);
                transcript.stderr.tail = std::mem::take(&mut payload);
            }
            (Kind::ExitReport, true, false) => {
                let ended: ExitReport = parse(&payload)?;
                transcript.stdout.total = ended.stdout_bytes.max(transcript.stdout.total);
                transcript.stderr.total = ended.stderr_bytes.max(transcript.stderr.total);
                transcript.ended = Some((ended, Instant::now()));
                read_deadline.renew(COLLECT_DEADLINE);
            }
            (Kind::Artifact, _, true) => {
                let header: FileHeader = parse(&payload)?;
                artifact_bytes = u64::saturating_add(artifact_bytes, header.size);
                if artifact_bytes > plan.limits.artifact_bytes
                    || transcript.artifacts.len() as u64 >= plan.limits.artifact_count
                {
                    return Err(SessionError::Protocol("more artifacts than agreed".into()));
                }
                let read = from.content(header, &mut payload);
                transcript.artifacts.push(read_deadline.read(read).await?);
            }
            (Kind::Refused, _, true) => {
                if transcript.artifacts_skipped.len() < MAX_REFUSALS {
                    transcript.artifacts_skipped.push(sentence(&payload));
                }
            }
            (Kind::Done, _, true) => {
                if !payload.is_empty() {
                    transcript.collected = parse(&payload)?;
                }
                return Ok(());
            }
            (kind, ..) => return Err(SessionError::Protocol(format!("{kind:?} out of turn"))),
        }
    }
}

/// How long a container is listened to.
struct ReadDeadline<'a> {
    until: Deadline,
    /// Whether it was given a moment more already.
    is_used_up: bool,
    transport: &'a dyn Transport,
}

impl ReadDeadline<'_> {
    fn renew(&mut self, for_so_long: Duration) {
        self.until = Deadline::now() + for_so_long;
        self.is_used_up = false;
    }

    /// What `said` comes to, if that is in time. Whatever is read half by then is read on for the one
    /// moment more.
    async fn read<T>(
        &mut self,
        said: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        tokio::pin!(said);
        if let Ok(said) = timeout_at(self.until, &mut said).await {
            return said;
        }
        if self.is_used_up {
            return Err(SessionError::Overdue);
        }
        self.transport.ping().await.map_err(SessionError::Unheard)?;
        self.is_used_up = true;
        self.until = Deadline::now() + HELD_UP;
        timeout_at(self.until, said).await.map_err(|_| SessionError::Overdue)?
    }
}

fn sentence(payload: &[u8]) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(MAX_SENTENCE)]).into_owned()
}

fn parse<'a, T: serde::Deserialize<'a>>(payload: &'a [u8]) -> Result<T, SessionError> {
    serde_json::from_slice(payload).map_err(|error| SessionError::Protocol(error.to_string()))
}

async fn read_frame(
    mut from: impl AsyncRead + Unpin,
    payload: &mut Vec<u8>,
) -> Result<Kind, SessionError> {
    let mut head = [0; HEADER];
    from.read_exact(&mut head).await.map_err(|_| SessionError::Lost)?;
    let (kind, length) =
        frame::parse_header(head).map_err(|error| SessionError::Protocol(error.to_string()))?;
    // Grows with what really arrives: a header alone allocates nothing.
    payload.clear();
    let read =
        from.take(length as u64).read_to_end(payload).await.map_err(|_| SessionError::Lost)?;
    if read < length {
        return Err(SessionError::Lost);
    }
    Ok(kind)
}

/// The frames of one container after its handshake: nothing is taken without a MAC of its agent.
struct Receiver<R> {
    from: R,
    mac: FrameMac,
}

impl<R: AsyncRead + Unpin> Receiver<R> {
    fn new(from: R, key: &Key) -> Self {
        Self { from, mac: FrameMac::new(key) }
    }

    async fn frame(&mut self, payload: &mut Vec<u8>) -> Result<Kind, SessionError> {
        let kind = read_frame(&mut self.from, payload).await?;
        let mut tag = [0; TAG];
        self.from.read_exact(&mut tag).await.map_err(|_| SessionError::Lost)?;
        if !self.mac.is_genuine(kind, payload, &tag) {
            return Err(SessionError::BadMac(kind));
        }
        Ok(kind)
    }

    async fn content(
        &mut self,
        header: FileHeader,
        payload: &mut Vec<u8>,
    ) -> Result<(String, Vec<u8>), SessionError> {
        // The name goes into results and from there to file systems of people we don't know.
        sandfleet_common::validate_file_name(&header.name).map_err(SessionError::Protocol)?;
        let mut content = Vec::new();
        while (content.len() as u64) < header.size {
            let kind = self.frame(payload).await?;
            let left = header.size - content.len() as u64;
            if kind != Kind::Data || payload.is_empty() || payload.len() as u64 > left {
                return Err(SessionError::Protocol(format!("{kind:?} inside an artifact")));
            }
            content.extend_from_slice(payload);
        }
        Ok((header.name, content))
    }
}
