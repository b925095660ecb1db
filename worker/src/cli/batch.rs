//! `sandfleet run --batch`: many jobs through the same pipeline.

use std::{
    collections::HashSet,
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use indicatif::{ProgressBar, ProgressStyle};
use sandfleet_common::{JobId, JobResult, Status};
use serde_json::Value;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, BufReader},
    sync::{Semaphore, mpsc},
};

use super::{
    exit::{Exit, Failure},
    run::refuse,
};
use crate::{
    app,
    config::{Backend, Settings},
    embedded::Embedded,
    hooks::Hooks,
};

/// Jobs that wait in memory for each that runs.
const AHEAD: usize = 4;

pub(super) async fn run(
    path: &Path,
    slots: usize,
    backend: Backend,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let lines = open(path).await?;
    let sandbox = app::open_sandbox(backend, settings).await.map_err(refuse)?;
    let (finished, mut results) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(slots * AHEAD));
    let hooks = Arc::new(Collect { finished: finished.clone(), room: Arc::clone(&room) });
    let embedded = Embedded::new(Arc::clone(&sandbox), settings, hooks);

    let progress = progress_bar();
    let read = async {
        let read = feed(lines, &embedded, &room, &progress).await;
        embedded.close();
        read
    };
    let mut failed_jobs = 0;
    let write = async {
        let mut stdout = std::io::stdout();
        while let Some(Some(result)) = results.recv().await {
            let mut line = sandfleet_common::encode(&result);
            line.push(b'\n');
            stdout.write_all(&line).and_then(|()| stdout.flush())?;
            progress.inc(1);
            failed_jobs += u64::from(result.status == Status::Error);
        }
        Ok::<(), std::io::Error>(())
    };
    let serve = async {
        embedded.serve(slots).await;
        // The last result was sent before, so that writing them comes to its end.
        let _ = finished.send(None);
    };
    let work = async { tokio::join!(read, serve, write) };
    let ended = tokio::select! {
        (read, (), written) = work => Some((read, written)),
        () = app::stop_signal() => None,
    };
    progress.finish_and_clear();
    sandbox.close().await;
    let Some((refused_lines, written)) = ended else {
        return Err(Exit::Interrupted.with("interrupted"));
    };
    written.map_err(|error| Exit::Internal.because(error))?;
    let refused_lines = refused_lines?;
    Ok(match (refused_lines, failed_jobs) {
        (0, 0) => Exit::Success.into(),
        (0, _) => Exit::Internal.into(),
        _ => Exit::Rejected.into(),
    })
}

type Lines = tokio::io::Lines<Box<dyn AsyncBufRead + Send + Unpin>>;

async fn open(path: &Path) -> Result<Lines, Failure> {
    let reader: Box<dyn AsyncBufRead + Send + Unpin> = if path == Path::new("-") {
        Box::new(BufReader::new(tokio::io::stdin()))
    } else {
        let file = tokio::fs::File::open(path)
            .await
            .map_err(|error| Exit::Usage.with(format!("{}: {error}", path.display())))?;
        Box::new(BufReader::new(file))
    };
    Ok(reader.lines())
}

/// Puts every line into the queue as there is room; gives back how many were no job at all.
async fn feed(
    mut lines: Lines,
    embedded: &Embedded,
    room: &Semaphore,
    progress: &ProgressBar,
) -> Result<usize, Failure> {
    let mut seen = HashSet::new();
    let mut refused = 0;
    let mut number = 0;
    while let Some(line) = lines.next_line().await.map_err(|error| Exit::Internal.because(error))? {
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        match identify(&line) {
            Ok((id, body)) if seen.insert(id.clone()) => {
                if let Ok(permit) = room.acquire().await {
                    permit.forget();
                }
                progress.inc_length(1);
                embedded.submit(body);
            }
            Ok((id, _)) => {
                refused += 1;
                progress.suspend(|| eprintln!("line {number}: job_id {id} was there before"));
            }
            Err(why) => {
                refused += 1;
                progress.suspend(|| eprintln!("line {number}: {why}"));
            }
        }
    }
    Ok(refused)
}

/// The id of the job on a line and the job as bytes. A job without an id gets one: on one
/// machine there is nobody else who would have to know it.
fn identify(line: &str) -> Result<(JobId, Vec<u8>), String> {
    let mut value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let job = value.as_object_mut().ok_or("not a JSON object")?;
    match job.get("job_id") {
        Some(Value::String(text)) => {
            let id = text.parse::<JobId>().map_err(|error| format!("job_id: {error}"))?;
            Ok((id, line.as_bytes().to_vec()))
        }
        Some(_) => Err("job_id: not a string".into()),
        None => {
            let id = JobId::generate();
            job.insert("job_id".into(), Value::String(id.to_string()));
            Ok((id, value.to_string().into_bytes()))
        }
    }
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} jobs, {per_sec}, {eta} left");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Hands results over and makes room for more jobs.
struct Collect {
    finished: mpsc::UnboundedSender<Option<JobResult>>,
    room: Arc<Semaphore>,
}

impl Hooks for Collect {
    fn stored(&self, result: &JobResult) {
        // The receiver is gone only when nobody wants results any more.
        let _ = self.finished.send(Some(result.clone()));
        self.room.add_permits(1);
    }
}
