//! The trace of a job: from its producer's headers to the spans of every stage, at a real receiver of OTLP.

use std::time::Instant;

use lapin::types::{AMQPValue, FieldTable};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use rustix::process::Signal;
use sandfleet_common::{
    EndedJob, Isolation, Job, Priority, TRACEPARENT, TRACESTATE, TraceContext, TraceId, encode,
    names,
};
use sandfleet_tests::{
    Answers, Installation, Services, TestCa, TraceCollector, attribute, eventually, hex, http_get,
};

use crate::{admin::counts, result_of, running, sleeper, stdout};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What no span may say.
const SECRETS: [&str; 4] = ["s3cr3t-code", "s3cr3t-input", "s3cr3t-environment", "s3cr3t-header"];

fn of_producer() -> TraceContext {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    TraceContext::read(&parent, Some("vendor=kept")).expect("sound").0
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [one] = found[..] else { panic!("{} spans {name}: {spans:#?}", found.len()) };
    one
}

fn traced(services: &Services, collector: &TraceCollector) -> Installation {
    Installation::fresh()
        .on(services)
        .set("WORKER_SLOTS", "1")
        .set("TRACING_ENDPOINT", &collector.endpoint())
}

#[tokio::test]
async fn the_spans_of_a_job_are_children_of_its_producers() {
    let collector = TraceCollector::start().await;
    let services = Services::fresh();
    let installation = traced(&services, &collector)
        .set("TRACING_HEADERS", "authorization=Bearer s3cr3t-header,x-team=a");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let client = services.client().await;
    let code = "import sys; print(sys.stdin.read(), 's3cr3t-code'); sys.exit(3)";
    let mut job = Job::new("python", code);
    job.stdin = Some("s3cr3t-input".into());
    job.tenant = Some("acme".into());
    job.env = [("TOKEN".into(), "s3cr3t-environment".into())].into();
    client.submit_traced(&job, &of_producer()).await.expect("the broker takes it");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!(result.trace_id.map(|id| id.to_string()).as_deref(), Some(TRACE));
    let spans = collector.trace(TRACE, "process", 1).await;
    let process = named(&spans, "process");
    assert_eq!(hex(&process.parent_span_id), PARENT);
    assert_eq!(process.kind, i32::from(SpanKind::Consumer));
    for (key, value) in [
        ("sandfleet.job_id", job.job_id.as_str()),
        ("sandfleet.language", "python"),
        ("sandfleet.tenant", "acme"),
        ("sandfleet.status", "failed"),
        ("sandfleet.verdict", "runtime_error"),
        ("sandfleet.attempt", "1"),
        ("sandfleet.settlement", "ack"),
    ] {
        assert_eq!(attribute(process, key).as_deref(), Some(value), "{key}");
    }
    // The program failed, and not the fleet.
    assert_eq!(process.status, None);
    let stages = ["claim", "setup", "run", "collect", "commit", "settle"];
    for stage in stages {
        let span = named(&spans, stage);
        assert_eq!(span.parent_span_id, process.span_id, "{stage}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{stage}");
        assert!(span.start_time_unix_nano >= process.start_time_unix_nano, "{stage}");
        assert!(span.end_time_unix_nano <= process.end_time_unix_nano, "{stage}");
    }
    assert!(stages.windows(2).all(|pair| {
        let [before, after] = [pair[0], pair[1]].map(|stage| named(&spans, stage));
        before.start_time_unix_nano <= after.start_time_unix_nano
    }));
    assert_eq!(attribute(named(&spans, "run"), "sandfleet.exit_code").as_deref(), Some("3"));
    let queue = named(&spans, "queue");
    assert_eq!(hex(&queue.parent_span_id), PARENT);
    assert_eq!(queue.end_time_unix_nano, {
        let claim = named(&spans, "claim");
        queue.end_time_unix_nano.max(claim.start_time_unix_nano)
    });
    assert_eq!(spans.len(), stages.len() + 2, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace_state == "vendor=kept"));

    let head = collector.heads().concat().to_ascii_lowercase();
    for part in [
        "post /v1/traces http/1.1",
        "content-type: application/x-protobuf",
        "authorization: bearer s3cr3t-header",
        "x-team: a",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(collector.has_seen("service.name") && collector.has_seen("only"));
    for secret in SECRETS {
        assert!(!collector.has_seen(secret), "{secret} is in a span");
        assert!(!worker.log().contains(secret), "{secret} is in the log");
    }
    worker.logs(&format!("trace_id=\"{TRACE}\"")).await;
    let explained = installation.run(&["result", "--explain", job.job_id.as_str()]).await;
    assert!(explained.stdout.contains(&format!("its trace is {TRACE}")), "{explained:#?}");
    let listed = eventually("an entry of the history", || async {
        let jobs = installation.run(&["jobs", "--json"]).await.stdout;
        serde_json::from_str::<EndedJob>(jobs.lines().next()?).ok()
    })
    .await;
    assert_eq!(listed.trace_id, result.trace_id);
    let shown = installation.run(&["worker", "--check-config"]).await.stdout;
    assert!(shown.contains("headers = \"***\"") && !shown.contains("s3cr3t"), "{shown}");
}

#[tokio::test]
async fn a_job_that_is_tried_again_stays_in_its_trace() {
    let collector = TraceCollector::start().await;
    let services = Services::fresh();
    let installation =
        traced(&services, &collector).set("WORKER_GRACE_MS", "0").set("WORKER_LEASE_MS", "1000");
    let client = services.client().await;
    // One names a trace, and the other none.
    for trace in [Some(of_producer()), None] {
        let mut first = installation.worker("first");
        let job = sleeper(1.5);
        match &trace {
            Some(trace) => client.submit_traced(&job, trace).await,
            None => client.submit(&job).await,
        }
        .expect("the broker takes it");
        running(&client, &job.job_id).await;
        first.signal(Signal::TERM);
        assert_eq!(first.ended().await, 0, "{}", first.log());
        let _second = installation.worker("second");
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((result.attempt, stdout(&result)), (2, "slept\n"));
        let expected = trace.as_ref().map_or(TraceId::of_job(&job.job_id), |trace| trace.trace_id);
        assert_eq!(result.trace_id, Some(expected));
        let spans = collector.trace(&expected.to_string(), "process", 2).await;
        let attempts: Vec<_> = spans.iter().filter(|span| span.name == "process").collect();
        let of_attempt = |number: &str| {
            let is_it =
                |span: &&&Span| attribute(span, "sandfleet.attempt").as_deref() == Some(number);
            attempts.iter().find(is_it).unwrap_or_else(|| panic!("{number}: {attempts:#?}"))
        };
        let (one, two) = (of_attempt("1"), of_attempt("2"));
        assert_eq!(attribute(one, "sandfleet.settlement").as_deref(), Some("requeue"));
        assert_eq!(attribute(one, "sandfleet.retry_cause").as_deref(), Some("worker_stopped"));
        assert!(one.status.is_some() && two.status.is_none());
        assert_ne!(one.span_id, two.span_id);
        let parent = trace.map(|_| PARENT.to_owned()).unwrap_or_default();
        assert_eq!([one, two].map(|span| hex(&span.parent_span_id)), [parent.clone(), parent]);
    }
}

#[tokio::test]
async fn a_forged_trace_is_harmless() {
    let collector = TraceCollector::start().await;
    let services = Services::fresh();
    let installation = traced(&services, &collector);
    let (worker, address) = installation.worker_with_admin("only").await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let client = services.client().await;
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let text = |text: &str| AMQPValue::LongString(text.into());
    let sound = of_producer().traceparent();
    let huge = text(&"x".repeat(20_000));
    let forged = [
        (TRACEPARENT, huge.clone(), "traceparent: 20000 bytes long"),
        (TRACEPARENT, AMQPValue::LongLongInt(7), "traceparent: no text"),
        (TRACEPARENT, AMQPValue::FieldTable(FieldTable::default()), "traceparent: no text"),
        (TRACEPARENT, text(&sound.to_uppercase()), "traceparent: "),
        (TRACEPARENT, text("\u{1b}[2J\r\n"), "traceparent: "),
        (TRACESTATE, huge, "tracestate: 20000 bytes long"),
    ];
    for (number, (header, value, why)) in forged.into_iter().enumerate() {
        let job = Job::new("bash", "echo served");
        let mut headers = FieldTable::default();
        headers.insert(TRACEPARENT.into(), text(&sound));
        headers.insert(header.into(), value);
        let properties = lapin::BasicProperties::default().with_headers(headers);
        channel
            .basic_publish(
                "".into(),
                queue.as_str().into(),
                Default::default(),
                &encode(&job),
                properties,
            )
            .await
            .expect("the broker runs");
        let result = result_of(&client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), ("served\n", 1));
        let expected = match header {
            TRACESTATE => of_producer().trace_id,
            _ => TraceId::of_job(&job.job_id),
        };
        assert_eq!(result.trace_id, Some(expected));
        let spans = collector.trace(&expected.to_string(), "process", 1).await;
        assert!(spans.iter().all(|span| span.trace_state.is_empty()));
        worker.logs(why).await;
        counts(address, "sandfleet_trace_headers_ignored_total", number as u64 + 1).await;
    }
    let log = worker.log();
    let lines = log.lines().filter(|line| line.contains("a job ended"));
    assert!(lines.clone().count() == 6 && lines.clone().all(|line| line.len() < 1000), "{log}");
    // A trace that isn't sampled has no spans, and is still in the log.
    let unsampled: TraceContext =
        sound.replace(TRACE, &"a".repeat(32)).replace("-01", "-00").parse().expect("sound");
    let job = Job::new("bash", "echo served");
    client.submit_traced(&job, &unsampled).await.expect("the broker takes it");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!(result.trace_id, Some(unsampled.trace_id));
    let last = Job::new("bash", "echo served");
    client.submit(&last).await.expect("the broker takes it");
    result_of(&client, &last.job_id).await;
    collector.trace(&TraceId::of_job(&last.job_id).to_string(), "process", 1).await;
    assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != "a".repeat(32)));
}

#[tokio::test]
async fn commands_take_part_in_the_trace_of_who_starts_them() {
    let ca = TestCa::fresh();
    let collector = TraceCollector::over_tls(ca.server(true)).await;
    let (certificate, key) = ca.client_files();
    let services = Services::fresh();
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let endpoint = collector.endpoint().replace("http://", "https://");
    let installation = Installation::fresh()
        .on(&services)
        .set("WORKER_SLOTS", "1")
        .set("TRACING_ENDPOINT", &endpoint)
        .set("TRACING_CA_FILE", &path(&ca.ca_file()))
        .set("TRACING_CERTIFICATE_FILE", &path(&certificate))
        .set("TRACING_KEY_FILE", &path(&key));
    let mut worker = installation.worker("only");
    worker.ready().await;
    let script = tempfile::tempdir().expect("room for files");
    let script = (script.path().join("main.sh"), script);
    std::fs::write(&script.0, "echo served").expect("room for a file");
    let script = path(&script.0);

    let parent = of_producer().traceparent();
    let submitted =
        installation.run(&["submit", &script, "--wait", "--traceparent", &parent]).await;
    assert_eq!((submitted.code, submitted.stdout.as_str()), (0, "served\n"), "{submitted:#?}");
    let spans = collector.trace(TRACE, "process", 1).await;
    let submit = named(&spans, "submit");
    assert_eq!(
        (hex(&submit.parent_span_id).as_str(), submit.kind),
        (PARENT, SpanKind::Producer.into())
    );
    assert_eq!(named(&spans, "process").parent_span_id, submit.span_id);
    assert_eq!(named(&spans, "queue").parent_span_id, submit.span_id);

    let other = "b".repeat(32);
    let in_environment = |arguments: &[&str], value: &str| {
        let mut command = installation.command(arguments);
        command.env("TRACEPARENT", value);
        sandfleet_tests::Finished::of(command)
    };
    let ran = in_environment(&["run", &script], &parent.replace(TRACE, &other)).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "served\n"), "{ran:#?}");
    let spans = collector.trace(&other, "process", 1).await;
    assert_eq!(hex(&named(&spans, "process").parent_span_id), PARENT);
    named(&spans, "run");

    let ran = in_environment(&["submit", &script, "--wait"], "not a trace").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "served\n"), "{ran:#?}");
    assert!(
        ran.stderr.contains("ignored of TRACEPARENT and TRACESTATE: traceparent: "),
        "{ran:#?}"
    );
    let refused = installation.run(&["submit", &script, "--traceparent", "not a trace"]).await;
    assert_eq!(refused.code, 64, "{refused:#?}");
}

/// Waits until spans are counted that ended like this.
async fn spans(address: std::net::SocketAddr, end: &str) {
    let series = format!("sandfleet_trace_spans_total{{result=\"{end}\"}} ");
    eventually(&format!("spans that are {end}"), || async {
        let (_, page) = http_get(address, "/metrics").await;
        let count = |line: &str| line.strip_prefix(&series)?.parse::<f64>().ok();
        page.lines().find_map(count).filter(|count| *count >= 8.0)
    })
    .await;
}

#[tokio::test]
async fn no_job_waits_for_a_collector() {
    let collector = TraceCollector::start().await;
    let services = Services::fresh();
    let client = services.client().await;
    let installation = traced(&services, &collector);
    let (mut worker, address) = installation.worker_with_admin("only").await;
    let warning = "the collector of tracing.endpoint takes no spans";
    let mut took = Vec::new();
    for answers in [Answers::With(200), Answers::With(500), Answers::Never] {
        collector.answer(answers);
        let begun = Instant::now();
        for _ in 0..20 {
            let job = Job::new("bash", "echo served");
            client.submit(&job).await.expect("the broker takes it");
            let result = result_of(&client, &job.job_id).await;
            assert_eq!((stdout(&result), result.attempt), ("served\n", 1));
        }
        took.push(begun.elapsed());
        match answers {
            Answers::With(200) => spans(address, "exported").await,
            Answers::With(_) => spans(address, "rejected").await,
            Answers::Never => {}
        }
    }
    // A machine that is busy is slower at times, and not by the seconds that a collector is waited for.
    let [fine, broken, silent] = took[..] else { panic!("{took:?}") };
    assert!(broken.max(silent) < fine * 3 + std::time::Duration::from_secs(2), "{took:?}");
    let log = worker.log();
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    let begun = Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
    assert!(
        begun.elapsed().as_secs_f64() < 5.0,
        "it waited for the collector: {:?}",
        begun.elapsed()
    );
}
