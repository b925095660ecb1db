//! The protocol page and the types on the wire.

use std::fs;

use jiff::Timestamp;
use sandfleet_common::{
    Artifact, Comparison, ComparisonKind, CompileReport, Encoding, InputFile, Isolation, Job,
    JobResult, LimitHit, LimitName, Limits, LimitsRequest, OutputValidator, RunOutput,
    SandboxReport, ScoreAggregation, SecurityEvent, Status, Test, TestGroup, TestGroupReport,
    TestKind, TestReport, Timing, TraceId, Usage, Verdict,
};
use serde_json::Value;

use super::top;

/// Every field that is there, at any depth that the page names.
fn fields(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                found.push(name.clone());
                fields(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, found)),
        _ => {}
    }
}

fn full_job() -> Job {
    let mut job = Job::new("python", "");
    job.files.push(InputFile { name: "a".into(), content: "".into(), encoding: Encoding::Utf8 });
    job.entrypoint = Some("b".into());
    job.args.push("x".into());
    job.env.insert("version".into(), "".into());
    (job.stdin, job.stdin_encoding) = (Some(String::new()), Encoding::Base64);
    for name in LimitName::ALL {
        job.limits.set(*name, 1);
    }
    job.artifacts.push("*".into());
    job.line_buffered = true;
    job.tests.push(Test {
        name: String::new(),
        kind: TestKind::Sample,
        group: Some(String::new()),
        stdin: Some(String::new()),
        stdin_encoding: Encoding::Base64,
        args: vec![String::new()],
        files: job.files.clone(),
        limits: job.limits.clone(),
        answer: Some(String::new()),
        answer_encoding: Encoding::Base64,
        comparison: Some(Comparison {
            kind: ComparisonKind::Numeric,
            case_sensitive: true,
            space_change_sensitive: true,
            absolute: Some(0.0),
            relative: Some(0.0),
        }),
        validator_args: vec![String::new()],
        max_score: Some(0.0),
    });
    job.test_groups.push(TestGroup {
        name: String::new(),
        score_aggregation: ScoreAggregation::PassFail,
        max_score: Some(0.0),
        require_pass: vec![String::new()],
        stop_at_first_failure: true,
    });
    job.stop_at_first_failure = true;
    job.output_validator = Some(OutputValidator {
        language: String::new(),
        code: Some(String::new()),
        files: job.files.clone(),
        entrypoint: Some(String::new()),
        interactive: true,
        limits: job.limits.clone(),
    });
    job.network_policy.allowed_domains.push("x".into());
    job.queued_at = Some(Timestamp::UNIX_EPOCH);
    (job.ttl_ms, job.result_ttl_ms) = (Some(1), Some(1));
    (job.tenant, job.idempotency_key, job.stream) = (Some("x".into()), Some("x".into()), true);
    job.metadata.insert("version".into(), Value::Null);
    job
}

pub(super) fn full_result() -> JobResult {
    JobResult {
        job_id: "x".parse().expect("valid"),
        status: Status::Failed,
        verdict: Some(Verdict::Accepted),
        message: Default::default(),
        exit_code: Some(0),
        signal: Some(String::new()),
        compile: Some(CompileReport {
            exit_code: Some(0),
            signal: Some(String::new()),
            ..CompileReport::default()
        }),
        run: Some(RunOutput::default()),
        tests: vec![TestReport {
            name: String::new(),
            kind: TestKind::Sample,
            group: Some(String::new()),
            verdict: Some(Verdict::Accepted),
            skipped: true,
            message: Default::default(),
            exit_code: Some(0),
            signal: Some(String::new()),
            usage: Some(Usage::default()),
            run: Some(RunOutput::default()),
            difference: Some(Default::default()),
            score: Some(0.0),
            judge_message: Some(Default::default()),
            team_message: Some(Default::default()),
        }],
        test_groups: vec![TestGroupReport {
            name: String::new(),
            verdict: Some(Verdict::Accepted),
            score: Some(0.0),
            max_score: Some(0.0),
        }],
        score: Some(0.0),
        artifacts: vec![Artifact {
            name: String::new(),
            size_bytes: 0,
            sha256: String::new(),
            content_type: String::new(),
            content: String::new(),
            encoding: Encoding::Utf8,
        }],
        artifacts_skipped: vec![Default::default()],
        limits_hit: vec![LimitHit { limit: LimitName::OpenFiles, value: 1 }],
        usage: Some(Usage::default()),
        timing: Timing::default(),
        queued_at: Some(Timestamp::UNIX_EPOCH),
        started_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        sandbox: Some(SandboxReport {
            backend: String::new(),
            runtime: String::new(),
            isolation: Isolation::Container,
            image: String::new(),
            landlock_abi: Some(7),
            warm: false,
            image_digest: Some(String::new()),
            limits: Limits::default(),
            policy_hash: String::new(),
        }),
        worker_id: String::new(),
        attempt: 1,
        tenant_proven: Some(true),
        trace_id: Some(TraceId::generate()),
        security_events: vec![SecurityEvent {
            rule: Default::default(),
            detail: Default::default(),
        }],
        metadata: [("version".to_owned(), Value::Null)].into(),
    }
}

#[test]
fn the_protocol_page_names_everything_that_is_on_the_wire() {
    let page = fs::read_to_string(top().join("docs/protocol.md")).expect("the page is there");
    let words: Vec<&str> = page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let mut names = Vec::new();
    fields(&serde_json::to_value(full_job()).expect("serialises"), &mut names);
    fields(&serde_json::to_value(full_result()).expect("serialises"), &mut names);
    names.extend(Status::ALL.iter().map(|status| status.as_str().to_owned()));
    names.extend(Verdict::ALL.iter().map(|verdict| verdict.as_str().to_owned()));
    names.extend(Isolation::ALL.iter().map(|isolation| isolation.as_str().to_owned()));
    for name in names {
        assert!(words.contains(&name.as_str()), "docs/protocol.md doesn't name {name}");
    }
}

#[test]
fn the_protocol_page_has_the_default_limits() {
    let page = fs::read_to_string(top().join("docs/protocol.md")).expect("the page is there");
    for name in LimitName::ALL {
        let row = format!("| `{name}` | {} |", Limits::default().get(*name));
        assert!(page.contains(&row), "docs/protocol.md lacks the row {row}");
    }
    assert_eq!(LimitsRequest::default().get(LimitName::OpenFiles), None);
}
