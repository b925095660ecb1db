//! `sandfleet run --batch`: many jobs through the same pipeline.

use std::{collections::HashSet, path::Path, process::ExitCode, sync::Arc, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use sandfleet_common::{JobResult, Status};
use tokio::{
    io::AsyncBufRead,
    sync::{Semaphore, mpsc},
    time::sleep,
};

use super::{
    exit::{Exit, Failure},
    input::{self, Line, next_line},
    line::{Defaults, identify},
    terminal, trace,
};
use crate::{
    app,
    config::{Backend, Settings},
    embedded::Embedded,
    hooks::{Hooks, JobFacts, Observer},
    shutdown::stop_signal,
};

/// Jobs that wait in memory for each that runs.
const AHEAD: usize = 4;
/// How long running jobs may take to end when the batch is interrupted.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Runs the jobs of the file at `path`, with `defaults` for what a line of at most `max_line` bytes doesn't set.
pub(super) async fn run(
    path: &Path,
    max_line: usize,
    defaults: &Defaults,
    backend: Backend,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let input = input::open_lines(path)?;
    let slots = settings.worker.slots;
    let sandbox = app::open_sandbox(backend, settings, Observer::default()).await?;
    let (ends, mut ended) = mpsc::unbounded_channel();
    let hooks = Arc::new(Collect { ends: ends.clone() });
    let parent = settings.tracing.endpoint.as_ref().and_then(|_| trace::of_environment());
    let (tracer, exporter) = trace::export(settings, parent)?;
    let embedded = Embedded::traced(Arc::clone(&sandbox), settings, hooks, tracer);
    let room = Semaphore::new(slots * AHEAD);
    let progress = progress_bar();

    let read = async {
        let read = feed(input, max_line, defaults, &embedded, &room, &progress).await;
        embedded.close();
        read
    };
    let serve = async {
        embedded.serve(slots).await;
        // After all results: it ends the writer.
        let _ = ends.send(JobEnd::OfAll);
    };
    let write = async {
        let written = write_results(&mut ended, &room, &progress).await;
        if written.is_err() {
            // stdout is closed, so no more jobs are run.
            room.close();
            embedded.stop().await;
        }
        written
    };
    let work = async { tokio::join!(read, serve, write) };
    tokio::pin!(work);
    let mut stopped = false;
    let (read, (), written) = tokio::select! {
        all = &mut work => all,
        () = stop_signal() => {
            stopped = true;
            embedded.stop().await;
            // The rest of the input is not wanted any more, and may never end.
            room.close();
            tokio::select! {
                all = &mut work => all,
                () = sleep(STOP_DEADLINE) => (Ok(Fed::default()), (), Ok(Count::default())),
            }
        }
    };
    progress.finish_and_clear();
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    sandbox.close().await;
    if stopped {
        return Err(Exit::Interrupted.with("interrupted"));
    }
    let count = written?;
    let fed = read?;
    if count.results + count.without_id != fed.submitted {
        return Err(Exit::Internal.with(format!(
            "{} jobs were run, but {} results came back",
            fed.submitted, count.results
        )));
    }
    if count.rejected > 0 {
        let jobs = if count.rejected == 1 { "job was" } else { "jobs were" };
        terminal::say(format_args!(
            "sandfleet: {} {jobs} rejected; each result's message says why",
            count.rejected
        ));
    }
    Ok(match (fed.refused + count.without_id + count.rejected, count.errors) {
        (0, 0) => Exit::Success.into(),
        (0, _) => Exit::Internal.into(),
        _ => Exit::Rejected.into(),
    })
}

/// What came back.
#[derive(Default)]
struct Count {
    results: u64,
    errors: u64,
    rejected: u64,
    without_id: u64,
}

/// What went in.
#[derive(Default)]
struct Fed {
    submitted: u64,
    refused: u64,
}

/// How a job ended, or all of them.
enum JobEnd {
    Result(Box<JobResult>),
    WithoutId(String),
    OfAll,
}

async fn write_results(
    ended: &mut mpsc::UnboundedReceiver<JobEnd>,
    room: &Semaphore,
    progress: &ProgressBar,
) -> Result<Count, Failure> {
    let mut count = Count::default();
    while let Some(end) = ended.recv().await {
        match end {
            JobEnd::Result(result) => {
                terminal::print(&(terminal::json(&*result) + "\n"))?;
                count.results += 1;
                count.errors += u64::from(result.status == Status::Error);
                count.rejected += u64::from(result.status == Status::Rejected);
            }
            JobEnd::WithoutId(reason) => {
                count.without_id += 1;
                progress.suspend(|| terminal::say(format_args!("a job without an id: {reason}")));
            }
            JobEnd::OfAll => return Ok(count),
        }
        progress.inc(1);
        room.add_permits(1);
    }
    Ok(count)
}

/// Puts every line into the queue as there is room.
async fn feed(
    mut input: impl AsyncBufRead + Unpin,
    max_bytes: usize,
    defaults: &Defaults,
    embedded: &Embedded,
    room: &Semaphore,
    progress: &ProgressBar,
) -> Result<Fed, Failure> {
    // For as long as the batch goes on, since a second line with an id would have a second result: about
    // 100 bytes for each id that the input names. An id that is made here is no other's.
    let mut seen = HashSet::new();
    let mut fed = Fed::default();
    let mut number = 0;
    while let Some(line) =
        next_line(&mut input, max_bytes).await.map_err(|error| Exit::Internal.because(error))?
    {
        number += 1;
        let identified = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => continue,
            Line::Whole(line) => identify(line, defaults),
            Line::TooLong(length) => {
                Err(format!("{length} bytes long; the limit is jobs.max_bytes = {max_bytes}"))
            }
        };
        let identified = identified.and_then(|(id, body)| match id {
            Some(id) if seen.contains(&id) => Err(format!(
                "job_id {id} was there before; give each line an id of its own, or none"
            )),
            id => {
                seen.extend(id);
                Ok(body)
            }
        });
        match identified {
            Ok(body) => {
                // Closed when nothing more is wanted.
                let Ok(permit) = room.acquire().await else { break };
                permit.forget();
                progress.inc_length(1);
                fed.submitted += 1;
                embedded.submit(body);
            }
            Err(why) => {
                fed.refused += 1;
                progress.suspend(|| terminal::say(format_args!("line {number}: {why}")));
            }
        }
    }
    Ok(fed)
}

fn progress_bar() -> ProgressBar {
    if !terminal::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs, {per_sec}, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Hands every job's end over.
struct Collect {
    ends: mpsc::UnboundedSender<JobEnd>,
}

impl Hooks for Collect {
    // The receiver is dropped only when results are no longer wanted.
    fn stored(&self, result: &JobResult, _facts: &JobFacts) {
        let _ = self.ends.send(JobEnd::Result(Box::new(result.clone())));
    }

    fn unreadable(&self, reason: &str) {
        let _ = self.ends.send(JobEnd::WithoutId(reason.to_owned()));
    }
}
