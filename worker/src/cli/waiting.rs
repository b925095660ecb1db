//! Messages about jobs without a result yet, and about the workers that could run them.

use jiff::Timestamp;
use sandfleet_common::{Isolation, JobState, PrintableText, WorkerInfo};
use sandfleet_sdk::Progress;

/// Where a job without a result is, after "job ID".
pub(super) fn sentence(progress: &Progress, now: Timestamp) -> String {
    match &progress.state {
        JobState::Done(_) => "has a result".into(),
        JobState::ResultExpired(status) => {
            format!("ended as {status}, and its result is not kept any more")
        }
        JobState::Unknown => "is unknown: never submitted to this fleet, or long forgotten; look \
                              at the id, and at queue.prefix and store.prefix"
            .into(),
        JobState::Running(running) => {
            let since = running.started_at.map(|at| age(at, now)).unwrap_or_default();
            let end = if running.cancelled { "; it was cancelled and is about to end" } else { "" };
            format!(
                "runs{since} on worker {}, attempt {}{end}; --wait waits",
                PrintableText::new(&running.worker_id),
                running.attempt
            )
        }
        JobState::Queued(queued) => {
            let mut text = "is queued".to_owned();
            text += &queued.queued_at.map(|at| age(at, now)).unwrap_or_default();
            if queued.attempts > 0 {
                let attempts = if queued.attempts == 1 { "attempt" } else { "attempts" };
                text += &format!(", after {} {attempts} that failed", queued.attempts);
            }
            if let Some(depth) = progress.queue_depth {
                text += &format!("; messages in its queue: {depth}");
            }
            if let Some(held) = &progress.held {
                let held = PrintableText::new(held);
                return text
                    + &format!(
                        "; an operator holds it back ({held}); it waits until `sandfleet release`"
                    );
            }
            match hindrance(progress) {
                Some(hindrance) => text + "; " + &hindrance,
                None => {
                    let free: usize =
                        progress.workers.iter().map(|it| it.slots.saturating_sub(it.busy)).sum();
                    let workers = progress.workers.len();
                    text + &format!("; workers that take it: {workers}, free slots: {free}")
                }
            }
        }
    }
}

/// Why a job that waits will go on waiting, if that is known.
pub(super) fn hindrance(progress: &Progress) -> Option<String> {
    let JobState::Queued(queued) = &progress.state else { return None };
    if !progress.workers.is_empty() {
        return None;
    }
    if progress.workers_alive == 0 {
        return Some("no live workers; start one with `sandfleet worker`".into());
    }
    let isolation = queued.isolation.unwrap_or(Isolation::Container).as_str();
    let language = PrintableText::new(queued.language.as_deref().unwrap_or("any"));
    let none = match progress.workers_alive {
        1 => "the only live worker doesn't take".to_owned(),
        workers => format!("none of the {workers} live workers takes"),
    };
    Some(format!(
        "{none} language \"{language}\" with isolation {isolation:?}; start one that does (`sandfleet workers` \
         lists them)"
    ))
}

/// Live workers, for people.
pub(super) fn table(workers: &[WorkerInfo], now: Timestamp) -> String {
    if workers.is_empty() {
        return "no live workers; start one with `sandfleet worker`\n".into();
    }
    let names: Vec<_> = workers.iter().map(|it| PrintableText::new(&it.worker_id)).collect();
    let width = names.iter().map(|it| it.len()).max().unwrap_or(0).max(6);
    let mut table =
        format!("{:width$}  BUSY/SLOTS  SANDBOX           SINCE       LANGUAGES\n", "WORKER");
    for (it, name) in workers.iter().zip(&names) {
        let busy = format!("{}/{}", it.busy, it.slots);
        let backend = PrintableText::new(&it.backend);
        let sandbox = format!("{backend} ({})", it.isolation.as_str());
        let since = seconds(it.started_at, now);
        let stopping = match (it.stopping, it.ready) {
            (true, _) => " (stopping)",
            (false, false) => " (not ready)",
            (false, true) => "",
        };
        table += &format!(
            "{name:width$}  {busy:10}  {sandbox:16}  {since:>8} s  {}{stopping}\n",
            PrintableText::new(it.languages.join(" "))
        );
    }
    table
}

fn age(since: Timestamp, now: Timestamp) -> String {
    format!(" since {since:.0} ({} s)", seconds(since, now))
}

fn seconds(since: Timestamp, now: Timestamp) -> i64 {
    // Two machines' clocks: the difference can be negative.
    (now.as_second() - since.as_second()).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandfleet_common::{Priority, QueuedJob, RunningJob};

    fn worker(language: &str) -> WorkerInfo {
        WorkerInfo {
            worker_id: "w".into(),
            version: "1".into(),
            backend: "native".into(),
            isolation: Isolation::Container,
            languages: vec![language.into()],
            priorities: Priority::ALL.to_vec(),
            protocol_version: 1,
            protocol_minor: 0,
            max_job_bytes: 0,
            slots: 4,
            busy: 1,
            stopping: false,
            ready: true,
            started_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn queued(workers: Vec<WorkerInfo>, workers_alive: usize) -> Progress {
        let queued = QueuedJob { language: Some("cobol".into()), ..QueuedJob::default() };
        let (state, queue_depth) = (JobState::Queued(queued), Some(12));
        Progress { state, queue_depth, workers, workers_alive, held: None }
    }

    #[test]
    fn what_a_job_waits_for_is_told() {
        let now = Timestamp::UNIX_EPOCH;
        let told = |progress: &Progress| sentence(progress, now);
        assert!(told(&queued(vec![], 0)).contains("no live workers"));
        let none = told(&queued(vec![], 2));
        assert!(none.contains("none of the 2 live workers takes language \"cobol\""), "{none}");
        let held = Progress { held: Some("hold all".into()), ..queued(vec![], 0) };
        assert!(told(&held).contains("(hold all)"), "{}", told(&held));
        let some = told(&queued(vec![worker("cobol")], 2));
        assert!(some.contains("queue: 12") && some.ends_with("free slots: 3"), "{some}");
        let running = RunningJob {
            worker_id: "w".into(),
            attempt: 2,
            started_at: Some(now),
            cancelled: false,
        };
        let running = Progress { state: JobState::Running(running), ..queued(vec![], 0) };
        assert!(told(&running).contains("on worker w, attempt 2"), "{}", told(&running));
    }

    #[test]
    fn the_table_has_a_line_for_each_worker() {
        let table = table(&[worker("python"), worker("bash")], Timestamp::UNIX_EPOCH);
        assert_eq!(table.lines().count(), 3);
        assert!(table.contains("1/4") && table.contains("native (container)"), "{table}");
    }
}
