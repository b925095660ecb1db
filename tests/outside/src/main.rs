//! Names every type that a field of a job or a result needs, through the SDK alone, and runs what README shows.

use std::{collections::BTreeMap, error::Error, path::Path, time::Duration};

use sandfleet_sdk::{
    Artifact, Cancellation, Client, ClientConfig, CompileReport, Encoding, InputFile, Isolation,
    Job, JobId, JobResult, JobState, LimitHit, LimitName, Limits, LimitsRequest, NetworkKind,
    NetworkPolicy, OpenState, OutputEvent, OutputKind, OutputOverflow, PrintableText, Priority,
    Progress, QueueLimits, QueuedJob, RunOutput, RunningJob, SandboxReport, SecurityEvent, Status,
    Comparison, ComparisonKind, OutputValidator, ScoreAggregation, StoreError, StreamExt, Test, TestGroup, TestGroupReport, TestKind, TestReport, Timestamp, Timing, Tls, TraceId, Usage, Value, Verdict, WorkerInfo, input_file,
};

/// Without `..`: a new field has to be named here too.
fn job(directory: &Path) -> Result<Job, Box<dyn Error>> {
    let job_id: JobId = "outside-1".parse()?;
    Ok(Job {
        version: 1,
        job_id,
        tenant: Some("acme".into()),
        language: "python".into(),
        code: Some("print(open('notes.txt').read())".into()),
        files: vec![
            InputFile::from_bytes("data/raw.bin", vec![0xff, 0]),
            input_file(directory.join("notes.txt"))?,
            InputFile { name: "empty".into(), content: String::new(), encoding: Encoding::Utf8 },
        ],
        entrypoint: Some("main.py".into()),
        args: vec!["-v".into()],
        env: BTreeMap::from([("NAME".into(), "value".into())]),
        stdin: Some("1\n".into()),
        stdin_encoding: Encoding::Utf8,
        limits: LimitsRequest { wall_time_ms: Some(2_000), ..LimitsRequest::default() },
        output_overflow: OutputOverflow::Kill,
        line_buffered: true,
        artifacts: Vec::new(),
        tests: vec![Test {
            name: "secret/1".into(),
            kind: TestKind::Secret,
            group: Some("secret".into()),
            stdin: Some("1\n".into()),
            stdin_encoding: Encoding::Utf8,
            args: Vec::new(),
            files: Vec::new(),
            limits: LimitsRequest::default(),
            answer: Some("2\n".into()),
            answer_encoding: Encoding::Utf8,
            comparison: Some(Comparison {
                kind: ComparisonKind::Validator,
                case_sensitive: false,
                space_change_sensitive: false,
                absolute: None,
                relative: None,
            }),
            validator_args: Vec::new(),
            max_score: None,
        }],
        test_groups: vec![TestGroup {
            name: "secret".into(),
            score_aggregation: ScoreAggregation::Sum,
            max_score: Some(100.0),
            require_pass: Vec::new(),
            stop_at_first_failure: false,
        }],
        stop_at_first_failure: false,
        output_validator: Some(OutputValidator {
            language: "python".into(),
            code: Some("exit(42)".into()),
            files: Vec::new(),
            entrypoint: None,
            interactive: false,
            limits: LimitsRequest::default(),
        }),
        network_policy: NetworkPolicy { kind: NetworkKind::Disabled, allowed_domains: Vec::new() },
        isolation: Isolation::GVisor,
        priority: Priority::Batch,
        queued_at: Some(Timestamp::now()),
        ttl_ms: Some(60_000),
        result_ttl_ms: Some(60_000),
        idempotency_key: Some("order-7".into()),
        stream: true,
        metadata: BTreeMap::from([("order".into(), Value::from(7))]),
    })
}

fn show(result: JobResult) -> Result<(), Box<dyn Error>> {
    let JobResult {
        job_id,
        status,
        verdict,
        message,
        exit_code,
        signal,
        compile,
        run,
        tests,
        test_groups,
        score,
        artifacts,
        artifacts_skipped,
        limits_hit,
        usage,
        timing,
        queued_at,
        started_at,
        finished_at,
        sandbox,
        worker_id,
        attempt,
        security_events,
        metadata,
        tenant_proven: _,
        trace_id,
    } = result;
    let _: Option<TraceId> = trace_id;
    let (_, _, _): (JobId, Status, Option<Verdict>) = (job_id, status, verdict);
    let (_, _, _): (PrintableText, Option<i32>, Option<String>) = (message, exit_code, signal);
    if let Some(CompileReport { output, exit_code, signal, usage }) = compile {
        let _: (RunOutput, Option<i32>, Option<String>, Usage) = (output, exit_code, signal, usage);
    }
    if let Some(run) = run {
        let RunOutput { stdout: _, stderr: _, encoding: _, stdout_truncated, stderr_truncated } =
            &run;
        println!("{stdout_truncated} {stderr_truncated}");
        let (_, _): (Vec<u8>, Vec<u8>) = (run.stdout_bytes()?, run.stderr_bytes()?);
    }
    for test in tests {
        let TestReport { name, kind, group, verdict, skipped, message, exit_code, signal, .. } = &test;
        println!("{name} {kind:?} {group:?} {verdict:?} {skipped} {message} {exit_code:?} {signal:?}");
        let TestReport { usage, run, difference, score, judge_message, team_message, .. } = test;
        let _: (Option<Usage>, Option<RunOutput>, Option<f64>) = (usage, run, score);
        let _: [Option<PrintableText>; 3] = [difference, judge_message, team_message];
    }
    for TestGroupReport { name, verdict, score, max_score } in test_groups {
        println!("{name} {verdict:?} {score:?} of {max_score:?}");
    }
    let _: Option<f64> = score;
    for artifact in &artifacts {
        let Artifact { name, size_bytes, sha256, content_type, content: _, encoding: _ } = artifact;
        println!("{name} {size_bytes} {sha256} {content_type}: {} bytes", artifact.bytes()?.len());
    }
    let _: Vec<PrintableText> = artifacts_skipped;
    for LimitHit { limit, value } in limits_hit {
        let _: LimitName = limit;
        println!("{limit} = {value}");
    }
    if let Some(Usage { cpu_time_ms, wall_time_ms, memory_peak_bytes }) = usage {
        println!("{cpu_time_ms} {wall_time_ms} {memory_peak_bytes:?}");
    }
    let Timing { queue_ms, setup_ms, compile_ms, run_ms, collect_ms } = timing;
    println!("{}", queue_ms + setup_ms + compile_ms + run_ms + collect_ms);
    let _: (Option<Timestamp>, Timestamp, Timestamp) = (queued_at, started_at, finished_at);
    if let Some(SandboxReport { limits, isolation, .. }) = sandbox {
        let _: (Limits, Isolation) = (limits, isolation);
    }
    for SecurityEvent { rule, detail } in security_events {
        println!("{rule}: {detail}");
    }
    let _: (String, u32, BTreeMap<String, Value>) = (worker_id, attempt, metadata);
    Ok(())
}

fn config() -> ClientConfig {
    ClientConfig {
        amqp_url: "amqp://127.0.0.1:5672/%2f".into(),
        amqp_tls: Tls::default(),
        redis_url: "redis://127.0.0.1:6379/0".into(),
        redis_tls: Tls::default(),
        prefix: "sandfleet".into(),
        store_prefix: None,
        queue_limits: QueueLimits::default(),
        max_job_bytes: 8 << 20,
        audit_entries: 0,
        audit_file: None,
        new_trace_ratio: None,
        timeout: Duration::from_secs(10),
        dedup_ttl: Duration::from_secs(7 * 86_400),
        result_ttl: Duration::from_secs(86_400),
        name: "outside".into(),
    }
}

async fn follow(client: &Client, id: &JobId) -> Result<(), Box<dyn Error>> {
    let mut events = client.stream(id);
    while let Some(event) = events.next().await {
        match event? {
            OutputEvent::Started { attempt } => println!("attempt {attempt}"),
            OutputEvent::Stdout(bytes) | OutputEvent::Stderr(bytes) => println!("{}", bytes.len()),
            OutputEvent::Missing { stream, bytes } => {
                let _: OutputKind = stream;
                println!("{bytes} bytes of {} are missing", stream.as_str());
            }
            OutputEvent::Done(result) => show(*result)?,
        }
    }
    Ok(())
}

async fn state(client: &Client, id: &JobId) -> Result<(), Box<dyn Error>> {
    let Progress { state, queue_depth, workers, workers_alive, held } = client.progress(id).await?;
    let _: (Option<u32>, Vec<WorkerInfo>, usize) = (queue_depth, workers, workers_alive);
    let _: Option<String> = held;
    match state {
        JobState::Unknown => {}
        JobState::Queued(QueuedJob { attempts, .. }) => println!("{attempts}"),
        JobState::Running(RunningJob { worker_id, .. }) => println!("{worker_id}"),
        JobState::Done(result) => show(*result)?,
        JobState::ResultExpired(status) => println!("{status}"),
    }
    match client.cancel(id).await? {
        Cancellation::Cancelled | Cancellation::Requested | Cancellation::Unknown => {}
        Cancellation::Ended(status) => println!("{status}"),
    }
    Ok(())
}

/// What README shows.
async fn readme() -> Result<(), sandfleet_sdk::Error> {
    let client = Client::connect(ClientConfig::default()).await?;
    let id = client.submit(&Job::new("python", "print(1 + 1)")).await?;
    let result = client.wait(&id, Duration::from_secs(60)).await?;
    println!("{}", result.status);
    Ok(())
}

fn explain(error: sandfleet_sdk::Error) {
    match error {
        sandfleet_sdk::Error::NoResult { state: OpenState::Unknown, .. } => println!("unknown"),
        sandfleet_sdk::Error::Store(StoreError { is_passing: true, .. }) => println!("later"),
        other => println!("{other}"),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::connect(config()).await?;
    let job = job(Path::new("."))?;
    client.submit(&job).await?;
    follow(&client, &job.job_id).await?;
    state(&client, &job.job_id).await?;
    readme().await.unwrap_or_else(explain);
    Ok(())
}
