//! `sandfleet submit --jobs`: the jobs of a file.

use std::{collections::HashSet, path::Path, process::ExitCode, time::Duration};

use sandfleet_common::{Job, JobId, Status, TraceContext, decode_job};
use sandfleet_sdk::{Client, Error};
use serde_json::json;
use tokio::time::Instant;

use super::{
    exit::{Exit, Failure},
    input::{self, Line, next_line},
    line::{Defaults, identify},
    show, terminal,
};
use crate::config::Settings;

/// How many jobs are submitted together: a bound on what is in memory.
const CHUNK: usize = 64;

/// How the jobs of a file are submitted.
pub(super) struct How<'a> {
    /// What holds for a job that doesn't say otherwise.
    pub(super) defaults: &'a Defaults,
    /// For how long results are waited for, which are printed instead of the ids then.
    pub(super) wait: Option<Duration>,
    pub(super) as_json: bool,
    /// What all of them are submitted in.
    pub(super) trace: Option<TraceContext>,
}

/// Submits every job of the file at `path`.
pub(super) async fn run(
    client: &Client,
    path: &Path,
    How { defaults, wait, as_json, trace }: &How<'_>,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let mut input = input::open_lines(path)?;
    let max_bytes = settings.jobs.max_bytes;
    let (mut jobs, mut ids, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let (mut exit, mut number) = (Exit::Success, 0);
    loop {
        let line = next_line(&mut input, max_bytes).await;
        let line = line.map_err(|error| Exit::Internal.because(error))?;
        let is_over = line.is_none();
        number += 1;
        let job = match line {
            None => None,
            Some(Line::Whole(line)) if line.trim_ascii().is_empty() => None,
            Some(Line::Whole(line)) => Some(read(line, defaults, max_bytes, &mut seen)),
            Some(Line::TooLong(length)) => {
                Some(Err(format!("{length} bytes long; the limit is jobs.max_bytes = {max_bytes}")))
            }
        };
        match job {
            Some(Ok(job)) => jobs.push((number, job)),
            Some(Err(why)) => {
                exit = Exit::Rejected;
                terminal::say(format_args!("line {number}: {why}"));
            }
            None => {}
        }
        if jobs.len() == CHUNK || is_over {
            let (numbers, chunk): (Vec<u64>, Vec<Job>) =
                std::mem::take(&mut jobs).into_iter().unzip();
            let outcomes = match trace {
                Some(trace) => client.submit_batch_traced(&chunk, trace).await,
                None => client.submit_batch(&chunk).await,
            };
            for (number, outcome) in numbers.into_iter().zip(outcomes) {
                match outcome {
                    Ok(id) if wait.is_some() => ids.push(id),
                    Ok(id) => print_id(&id, *as_json)?,
                    // What one job is refused for need not be true of the next.
                    Err(error) if is_of_the_job(&error) => {
                        exit = Exit::Rejected;
                        terminal::say(format_args!("line {number}: {error}"));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if is_over {
            break;
        }
    }
    if let Some(timeout) = wait {
        exit = print_results(client, &ids, *timeout, exit).await?;
    }
    Ok(exit.into())
}

/// The job on a line.
fn read(
    line: Vec<u8>,
    defaults: &Defaults,
    max_bytes: usize,
    seen: &mut HashSet<JobId>,
) -> Result<Job, String> {
    let (id, body) = identify(line, defaults)?;
    let job = decode_job(&body, max_bytes).map_err(|error| error.to_string())?;
    match id {
        Some(id) if !seen.insert(id.clone()) => {
            Err(format!("job_id {id} was there before; give each line an id of its own, or none"))
        }
        _ => Ok(job),
    }
}

fn is_of_the_job(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidJob { .. }
            | Error::TooLarge { .. }
            | Error::Conflict { .. }
            | Error::Unroutable { .. }
    )
}

pub(super) fn print_id(id: &JobId, as_json: bool) -> Result<(), Failure> {
    match as_json {
        true => terminal::print_line(json!({ "job_id": id })),
        false => terminal::print_line(id),
    }
}

/// Prints the results, one a line, and returns the worst that they say about the jobs.
async fn print_results(
    client: &Client,
    ids: &[JobId],
    timeout: Duration,
    mut exit: Exit,
) -> Result<Exit, Failure> {
    let end = Instant::now() + timeout;
    let mut worse = |than: Exit| {
        if exit == Exit::Success {
            exit = than;
        }
    };
    for chunk in ids.chunks(CHUNK) {
        let left = end.saturating_duration_since(Instant::now());
        for (id, outcome) in chunk.iter().zip(client.wait_batch(chunk, left).await) {
            match outcome {
                Ok(result) => {
                    terminal::print(&(terminal::json(&result) + "\n"))?;
                    match result.status {
                        Status::Rejected => worse(Exit::Rejected),
                        Status::Error => worse(Exit::Internal),
                        _ => {}
                    }
                }
                Err(Error::NoResult { .. }) => {
                    let failure = show::no_result(client, id, timeout).await;
                    terminal::say_lines(&terminal::failure_text(&failure));
                    worse(failure.exit);
                }
                Err(error) => {
                    let failure = Failure::from(error);
                    terminal::say_lines(&terminal::failure_text(&failure));
                    worse(failure.exit);
                }
            }
        }
    }
    Ok(exit)
}
