//! A line of the log for each job that ended, and an entry of the fleet's history. Both are beside the path of a job:
//! what can't be written in time is left out.

use std::{sync::Arc, time::Duration};

use sandfleet_common::{EndedJob, JobResult, Priority, Status, Verdict};
use sandfleet_transport::records::RedisStore;
use tokio::{sync::mpsc, time::timeout};
use tracing::{info, warn};

use crate::{
    hooks::{Hooks, JobFacts, RunFacts},
    shutdown::Shutdown,
};

/// How many entries wait for the store at most, and how many go to it at a time.
const BACKLOG: usize = 4096;
const BATCH: usize = 256;
/// How long a worker that stops waits for the store to take what is left.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Logs jobs that ended, and hands them to the [`HistoryWriter`] if there is one.
pub struct JobLog {
    history: Option<mpsc::Sender<EndedJob>>,
}

/// Writes the history of jobs into the store.
pub struct HistoryWriter {
    ended: mpsc::Receiver<EndedJob>,
    keep: u64,
}

impl JobLog {
    /// One that keeps a history of `keep` jobs, or none.
    pub fn new(keep: u64) -> (Self, Option<HistoryWriter>) {
        if keep == 0 {
            return (Self { history: None }, None);
        }
        let (sender, ended) = mpsc::channel(BACKLOG);
        (Self { history: Some(sender) }, Some(HistoryWriter { ended, keep }))
    }
}

impl Hooks for JobLog {
    fn stored(&self, result: &JobResult, facts: &JobFacts) {
        log(result, facts);
        let Some(history) = &self.history else { return };
        let (tenant, language) = (facts.tenant.as_deref(), facts.language.as_deref());
        // A full backlog is a store that doesn't answer, which the writer says.
        let _ = history.try_send(EndedJob::of(result, tenant, language, facts.priority));
    }
}

/// The one line of a job: never its code, input or output.
fn log(result: &JobResult, facts: &JobFacts) {
    let JobFacts { language, tenant, priority, trace, waited, run, commit, .. } = facts;
    let trace_id = result.trace_id.map(|id| id.to_string());
    let trace_ignored = trace.ignored.as_deref();
    let RunFacts { setup, compile, run, collect, .. } = run.clone().unwrap_or_default();
    let milliseconds = |took: Option<Duration>| took.map(|took| took.as_secs_f64() * 1000.0);
    if result.status == Status::Error {
        // The fleet failed it: nothing else tells the operator why.
        let JobResult { job_id, attempt, message, .. } = result;
        warn!(job = %job_id, attempt, reason = %message, trace_id, trace_ignored, "a job ended in status error");
        return;
    }
    info!(
        job = %result.job_id,
        status = result.status.as_str(),
        verdict = result.verdict.map(Verdict::as_str),
        language,
        tenant,
        priority = priority.map(Priority::as_str),
        attempt = result.attempt,
        exit_code = result.exit_code,
        queue_ms = milliseconds(*waited),
        setup_ms = milliseconds(setup),
        compile_ms = milliseconds(compile),
        run_ms = milliseconds(run),
        collect_ms = milliseconds(collect),
        commit_ms = milliseconds(Some(*commit)),
        cpu_ms = result.usage.map(|usage| usage.cpu_time_ms),
        trace_id,
        trace_ignored,
        "a job ended"
    );
}

impl HistoryWriter {
    /// Writes until the worker is stopped for good.
    pub async fn write(mut self, store: Arc<RedisStore>, shutdown: Shutdown) {
        let mut is_broken = false;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                count = self.ended.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = shutdown.aborted() => break,
            }
            let written = tokio::select! {
                written = store.note_ended(&batch, self.keep) => written,
                () = shutdown.aborted() => break,
            };
            match written {
                Ok(()) => is_broken = false,
                // Once: readiness tells how the store is.
                Err(error) if !is_broken => {
                    is_broken = true;
                    warn!(%error, "the history of jobs has a gap: `sandfleet jobs` doesn't show those that end meanwhile");
                }
                Err(_) => {}
            }
            batch.clear();
        }
        // What a batch held that was being written may be there twice then, and never is lost for that.
        self.ended.close();
        while let Ok(ended) = self.ended.try_recv() {
            batch.push(ended);
        }
        if !batch.is_empty() {
            let _ = timeout(LAST_WORD, store.note_ended(&batch, self.keep)).await;
        }
    }
}
