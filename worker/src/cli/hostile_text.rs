//! Property tests: whatever texts a command shows, what it prints is printable, bounded, and has the command's
//! own lines only.

use jiff::Timestamp;
use proptest::prelude::*;
use sandfleet_common::{
    Artifact, Encoding, EndedJob, Isolation, JobId, JobResult, JobState, Priority, QueuedJob,
    RunningJob, Status, TestGroupReport, TestReport, WorkerInfo, is_printable,
};
use sandfleet_sdk::{Error, Progress};
use serde_json::json;

use super::{
    evaluation,
    exit::Exit,
    explain::explain,
    jobs, print,
    terminal::{self, MAX_LINE_BYTES, failure_text},
    waiting,
};
use crate::{
    doctor::{
        self, Finding, State,
        attack::{self, Outcome, Tried},
        report::changes::{Change, Kind},
    },
    sandbox::SandboxError,
};

/// Text with all that a terminal obeys in it.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<String>(),
        Just("\u{1b}[2J\u{1b}]0;x\u{7}".to_owned()),
        Just("\r\nsandfleet: accepted: exit code 0\n".to_owned()),
        Just("\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{7f}\u{0}".to_owned()),
        Just("long ".repeat(1_000)),
    ];
    proptest::collection::vec(piece, 1..3).prop_map(|pieces| pieces.concat())
}

fn check(printed: &str, lines: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(printed.matches('\n').count(), lines, "lines of {:?}", printed);
    for line in printed.lines() {
        prop_assert!(line.len() <= MAX_LINE_BYTES, "{} bytes", line.len());
        prop_assert!(line.chars().all(is_printable), "{:?}", line);
    }
    Ok(())
}

/// A result as another program wrote it into the store, with `text` wherever it has one.
fn result(text: &str) -> JobResult {
    let mut result: JobResult = serde_json::from_value(json!({
        "job_id": "x", "status": "failed", "verdict": "runtime_error", "message": text,
        "exit_code": 1, "signal": text, "artifacts_skipped": [text, text], "worker_id": text,
        "run": { "stdout": "", "stderr": "", "encoding": "utf-8", "stdout_truncated": true,
                 "stderr_truncated": true },
        "usage": { "cpu_time_ms": 1, "wall_time_ms": 1, "memory_peak_bytes": 1 },
        "security_events": [{ "rule": text, "detail": text }],
        "started_at": "2020-01-01T00:00:00Z", "finished_at": "2020-01-01T00:00:00Z", "attempt": 1,
    }))
    .expect("a result");
    result.artifacts = vec![
        Artifact {
            name: text.to_owned(),
            size_bytes: 0,
            sha256: String::new(),
            content_type: String::new(),
            content: String::new(),
            encoding: Encoding::Utf8,
        };
        21
    ];
    result.tests =
        vec![TestReport { name: text.into(), message: text.into(), ..TestReport::default() }];
    result.test_groups = vec![TestGroupReport { name: text.into(), ..TestGroupReport::default() }];
    result
}

fn worker(text: &str) -> WorkerInfo {
    WorkerInfo {
        worker_id: text.into(),
        version: text.into(),
        backend: text.into(),
        isolation: Isolation::Container,
        languages: vec![text.into(), text.into()],
        priorities: Priority::ALL.to_vec(),
        protocol_version: u32::MAX,
        protocol_minor: u32::MAX,
        max_job_bytes: usize::MAX,
        slots: 1,
        busy: 0,
        stopping: false,
        ready: true,
        started_at: Timestamp::UNIX_EPOCH,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn results_show_nothing_that_a_terminal_obeys(text in hostile()) {
        let result = result(&text);
        // Two streams that were cut, two artifacts that were refused, and the verdict.
        check(&terminal::lines(&print::summary(&result, Some(text.as_ref()), Some(&result.job_id))), 5)?;
        // A table of a test and one of a group, and the line between.
        check(&terminal::lines(&evaluation::tables(&result)), 5)?;
        let json = terminal::json(&result);
        prop_assert!(json.chars().all(is_printable));
        prop_assert_eq!(serde_json::from_str::<JobResult>(&json).expect("a result"), result);
    }

    #[test]
    fn the_life_of_a_job_and_the_history_show_nothing_that_a_terminal_obeys(text in hostile()) {
        let result = result(&text);
        // Taken, complete, the message, two artifacts, an event, and where the time went.
        check(&terminal::lines(&explain(&result)), 7)?;
        let ended = EndedJob::of(&result, Some(&text), Some(&text), None);
        let json = terminal::bounded_json(&ended, false).expect("JSON");
        let stored: EndedJob = serde_json::from_str(&json).expect("an entry");
        check(&terminal::lines(&jobs::table(&[ended, stored])), 3)?;
        prop_assert!(json.chars().all(is_printable));
    }

    #[test]
    fn states_and_workers_show_nothing_that_a_terminal_obeys(text in hostile()) {
        let queued = QueuedJob {
            language: Some(text.clone()), queue: Some(text.clone()), attempts: 1,
            ..QueuedJob::default()
        };
        let running = RunningJob {
            worker_id: text.clone(), attempt: 1, started_at: None, cancelled: true,
        };
        for state in [
            JobState::Queued(queued), JobState::Running(running),
            JobState::ResultExpired(Status::Failed), JobState::Unknown,
        ] {
            let progress =
                Progress { state, queue_depth: Some(1), workers: Vec::new(), workers_alive: 1, held: Some(text.clone()) };
            let sentence = waiting::sentence(&progress, Timestamp::UNIX_EPOCH);
            check(&(sentence.clone() + "\n"), 1)?;
            check(&failure_text(&Exit::NotYet.with(sentence)), 1)?;
        }
        let workers = [worker(&text), worker("w")];
        check(&terminal::lines(&waiting::table(&workers, Timestamp::UNIX_EPOCH)), 3)?;
        let json = terminal::bounded_json(&workers, false).expect("JSON");
        prop_assert!(json.chars().all(is_printable) && json.len() < 20_000);
    }

    #[test]
    fn errors_show_nothing_that_a_terminal_obeys(text in hostile()) {
        let job_id: JobId = "x".parse().expect("an id");
        let errors = [
            Error::InvalidJob { job_id: job_id.clone(), reason: text.as_str().into() },
            Error::UnreadableResult { job_id, reason: text.as_str().into() },
            Error::Unroutable { queue: text.clone() },
            Error::Mismatch {
                broker: text.clone(), what: text.clone(), reason: text.as_str().into(),
            },
            Error::Broker {
                broker: text.clone(), action: text.clone(),
                said: Box::new(std::io::Error::other(text.clone()).into()),
            },
        ];
        for error in errors {
            check(&failure_text(&error.into()), 1)?;
        }
        let barrier = SandboxError::Barrier { barrier: "seccomp", reason: text.clone(), fix: text.clone() };
        check(&failure_text(&barrier.into()), 1)?;
        // What a batch says of its lines.
        check(&(terminal::line(format_args!("line 1: {text}")) + "\n"), 1)?;
    }

    #[test]
    fn doctor_shows_nothing_that_a_terminal_obeys(text in hostile()) {
        let finding = Finding {
            area: "docker", name: text.clone(), state: State::Missing,
            detail: text.clone(), fix: Some(text.clone()),
        };
        check(&terminal::lines(&doctor::table(std::slice::from_ref(&finding))), 2)?;
        let json = terminal::bounded_json(&[finding], true).expect("JSON");
        prop_assert!(json.len() < 10_000 && json.chars().all(|c| is_printable(c) || c == '\n'));
        let tried = Tried {
            claim: "c".into(), program: "p".into(), control: false, tried: "t".into(), proves: "q".into(),
            outcome: Outcome::Fail, remark: Some(text.clone()),
        };
        check(&terminal::lines(&attack::row(&tried)), 3)?;
        let change = Change { kind: Kind::New, what: text.clone(), old: None, new: Some(text) };
        check(&(terminal::line(change.sentence()) + "\n"), 1)?;
    }
}
