//! What is shown of one worker or one job.

use jiff::Timestamp;
use sandfleet_common::{Isolation, JobId, JobState, PrintableText, Priority};
use sandfleet_sdk::Progress;
use sandfleet_transport::records::Scope;

use super::sample::{Sample, outcome};
use crate::cli::{age::age, explain::explain, waiting};

/// How many jobs of a worker are listed.
const MAX_JOBS: usize = 50;

/// A worker: what it says of itself, what it runs, and what ended there.
pub(super) fn worker(sample: &Sample, id: &str) -> Vec<String> {
    let Some(it) = sample.workers.iter().find(|worker| worker.worker_id == id) else {
        return vec!["it is not live any more".into()];
    };
    let mut lines = vec![
        format!("version {}, protocol {}.{}", it.version, it.protocol_version, it.protocol_minor),
        format!("sandbox {} with isolation {}", it.backend, it.isolation.as_str()),
        format!(
            "slots {}, busy {}, ready: {}, stopping: {}",
            it.slots, it.busy, it.ready, it.stopping
        ),
        format!("up since {:.0}", it.started_at),
        format!("languages: {}", it.languages.join(" ")),
        String::new(),
        "runs now:".into(),
    ];
    let running = sample.running_on(id).take(MAX_JOBS).map(|job| {
        let since = match &job.state {
            JobState::Running(running) => running.started_at,
            _ => None,
        };
        let since = since.map_or(0, |at| sample.at.as_second() - at.as_second());
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        format!(
            "  {}  {}  {}  tenant {}",
            job.id,
            age(since),
            text(&job.language),
            text(&job.tenant)
        )
    });
    lines.extend(running);
    lines.push("ended there lately:".into());
    let name = PrintableText::new(id);
    let ended = sample.ended.iter().filter(|job| job.worker_id == name).take(MAX_JOBS);
    lines.extend(ended.map(|job| format!("  {}  {}", job.job_id, outcome(job))));
    lines.into_iter().map(|line| PrintableText::from(line).into()).collect()
}

/// A job: its life in words if it ended, or what it waits for.
pub(super) fn job(sample: &Sample, id: &JobId, state: JobState) -> Vec<String> {
    if let JobState::Done(result) = &state {
        return explain(result).lines().map(|line| PrintableText::new(line).into()).collect();
    }
    let sentence = waiting::sentence(&progress(sample, state), Timestamp::now());
    vec![PrintableText::from(format!("job {id} {sentence}")).into()]
}

fn progress(sample: &Sample, state: JobState) -> Progress {
    let (mut workers, mut held, mut queue_depth) = (Vec::new(), None, None);
    if let JobState::Queued(queued) = &state {
        let isolation = queued.isolation.unwrap_or(Isolation::Container);
        let priority = queued.priority.unwrap_or(Priority::Interactive);
        let language = queued.language.as_deref().unwrap_or_default();
        let serves = |it: &&sandfleet_common::WorkerInfo| {
            it.ready && it.serves(language, isolation, priority)
        };
        workers = sample.workers.iter().filter(serves).cloned().collect();
        let mut scopes = vec![Scope::All];
        scopes.extend(queued.tenant.clone().map(Scope::Tenant));
        scopes.extend(queued.language.clone().map(Scope::Language));
        held = sample.switches.iter().find(|it| it.holds(&scopes)).map(ToString::to_string);
        let queue = sample.queues.iter().find(|it| Some(&it.name) == queued.queue.as_ref());
        queue_depth = queue.map(|queue| queue.messages);
    }
    let workers_alive = sample.workers.iter().filter(|it| it.ready).count();
    Progress { state, queue_depth, workers, workers_alive, held }
}
