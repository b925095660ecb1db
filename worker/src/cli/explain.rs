//! One job's life in words: what happened when, where its time went, and what its end means.

use jiff::Timestamp;
use sandfleet_common::{JobResult, PrintableText, Status};

use super::print::MAX_NOTES;

/// Tells the life of a job that ended, a line for each step.
pub(super) fn explain(result: &JobResult) -> String {
    let mut life =
        Life { text: String::new(), since: result.queued_at.unwrap_or(result.started_at) };
    if let Some(queued_at) = result.queued_at {
        life.at(queued_at, "submitted");
    }
    let worker = PrintableText::new(&result.worker_id);
    let timing = &result.timing;
    if result.attempt == 0 {
        life.at(result.started_at, &format!("looked at by {worker}; it was never started"));
    } else {
        let waited = match result.queued_at {
            Some(_) => format!(" after {} ms in the queue", timing.queue_ms),
            None => String::new(),
        };
        let attempt = match result.attempt {
            1 => String::new(),
            number => format!(", start number {number}: the fleet failed it before"),
        };
        life.at(result.started_at, &format!("taken by worker {worker}{waited}{attempt}"));
    }
    if let Some(compile) = &result.compile {
        let how = match (compile.exit_code, &compile.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => PrintableText::new(signal).to_string(),
            (None, None) => "ended by a limit".to_owned(),
        };
        life.line(&format!("compiled in {} ms: {how}", timing.compile_ms));
    }
    run(&mut life, result);
    life.at(result.finished_at, &format!("the result was complete: {}", outcome(result)));
    life.line(&result.message);
    if let Some(trace_id) = result.trace_id {
        life.line(&format!("its trace is {trace_id}"));
    }
    for hit in result.limits_hit.iter().take(MAX_NOTES) {
        life.line(&format!(
            "limit {} = {} refused the program something",
            hit.limit.as_str(),
            hit.value
        ));
    }
    for skipped in result.artifacts_skipped.iter().take(MAX_NOTES) {
        life.line(&format!("not brought back: {skipped}"));
    }
    for event in result.security_events.iter().take(MAX_NOTES) {
        life.line(&format!("security: {}: {}", event.rule, event.detail));
    }
    life.line(&slowest(result));
    life.text
}

fn run(life: &mut Life, result: &JobResult) {
    let Some(sandbox) = &result.sandbox else { return };
    let timing = &result.timing;
    let start = if sandbox.warm { "from a warm interpreter" } else { "cold" };
    life.line(&format!(
        "started {start} after {} ms of set-up, by {} with isolation {}, in {}",
        timing.setup_ms,
        PrintableText::new(&sandbox.backend),
        sandbox.isolation.as_str(),
        PrintableText::new(&sandbox.image),
    ));
    let Some(usage) = result.usage else { return };
    let memory = usage.memory_peak_bytes.map_or("memory not counted".to_owned(), |bytes| {
        format!(
            "at most {:.1} of {} MiB of memory",
            bytes as f64 / 1048576.0,
            sandbox.limits.memory_bytes >> 20
        )
    });
    life.line(&format!(
        "ran for {} of {} ms, used {} of {} ms of CPU time and {memory}",
        usage.wall_time_ms,
        sandbox.limits.wall_time_ms,
        usage.cpu_time_ms,
        sandbox.limits.cpu_time_ms,
    ));
    if let Some(run) = &result.run {
        let bytes = |bytes: Result<Vec<u8>, String>, is_cut: bool| {
            let cut = if is_cut { " (cut)" } else { "" };
            format!("{} bytes{cut}", bytes.map_or(0, |bytes| bytes.len()))
        };
        life.line(&format!(
            "printed {} to stdout and {} to stderr; artifacts: {}, collected in {} ms",
            bytes(run.stdout_bytes(), run.stdout_truncated),
            bytes(run.stderr_bytes(), run.stderr_truncated),
            result.artifacts.len(),
            timing.collect_ms,
        ));
    }
}

fn outcome(result: &JobResult) -> String {
    match result.verdict {
        Some(verdict) => verdict.as_str().to_owned(),
        None => match result.status {
            Status::Error => "error: the fleet failed it, not the program".to_owned(),
            status => status.as_str().to_owned(),
        },
    }
}

/// Which of the stages took longest, and what shortens it.
fn slowest(result: &JobResult) -> String {
    let timing = &result.timing;
    let stages = [
        (timing.queue_ms, "the queue", "more workers or slots shorten it"),
        (
            timing.setup_ms,
            "set-up",
            "`sandfleet doctor` and the dashboards' set-up panel tell whether that is usual",
        ),
        (timing.compile_ms, "compiling", "it is the compiler's time"),
        (timing.run_ms, "the program", "it is the program's own time"),
        (timing.collect_ms, "collecting its files", "fewer or smaller artifacts shorten it"),
    ];
    let all: u64 = stages.iter().map(|(took, ..)| took).sum();
    match stages.iter().max_by_key(|(took, ..)| *took) {
        Some((took, what, advice)) if *took > 0 => {
            format!("most of its {all} ms went to {what} ({took} ms): {advice}")
        }
        _ => "no stage took a millisecond".to_owned(),
    }
}

struct Life {
    text: String,
    /// When it began.
    since: Timestamp,
}

impl Life {
    /// A step that has a time.
    fn at(&mut self, when: Timestamp, what: &str) {
        let after = when.duration_since(self.since).as_secs_f64();
        self.text.push_str(&format!("{when:.3}  {after:+9.3} s  {what}\n"));
    }

    /// A step or a remark that has none of its own.
    fn line(&mut self, what: &str) {
        self.text.push_str(&format!("{:38}{what}\n", ""));
    }
}
