//! Many jobs at once.

use std::process::Stdio;

use sandfleet_common::{JobResult, Status, is_printable};
use sandfleet_tests::{Installation, soon};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::Programs;

fn batch_job(id: &str, code: &str) -> String {
    serde_json::json!({ "version": 1, "job_id": id, "language": "python", "code": code })
        .to_string()
}

#[tokio::test]
async fn a_batch_gives_each_job_one_result_as_it_is_ready() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let mut lines = vec![batch_job("slow", "import time; time.sleep(3); print('slow')")];
    lines.extend((0..20).map(|n| batch_job(&format!("job-{n}"), &format!("print({n} * {n})"))));
    let jobs = programs.write("jobs.jsonl", &format!("{}\n\n", lines.join("\n")));
    let ran = installation.run(&["run", "--batch", &jobs, "--concurrency", "2"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let results: Vec<JobResult> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(results.len(), 21);
    for n in 0..20 {
        let id = format!("job-{n}");
        let its: Vec<_> = results.iter().filter(|result| result.job_id.as_str() == id).collect();
        assert_eq!(its.len(), 1, "{id}");
        assert_eq!(its[0].run.as_ref().expect("it ran").stdout, format!("{}\n", n * n));
    }
    assert_ne!(results[0].job_id.as_str(), "slow", "results come as they are ready");
}

#[tokio::test]
async fn a_bad_line_of_a_batch_is_named_and_the_others_run() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let lines = [
        batch_job("first", "print(1)"),
        "not json".into(),
        "[1]".into(),
        batch_job("first", "print('again')"),
        batch_job("a/b", "print('bad id')"),
        r#"{"version":1,"job_id":"odd","language":"python","code":"","speed":1}"#.into(),
        r#"{"version":1,"language":"python","code":"print('no id')"}"#.into(),
        batch_job("last", "print(2)"),
    ];
    let jobs = programs.write("jobs.jsonl", &lines.join("\n"));
    let ran = installation.run(&["run", "--batch", &jobs]).await;
    assert_eq!(ran.code, 65, "{ran:#?}");
    let complaints: Vec<&str> = ran.stderr.lines().collect();
    let numbers: Vec<&str> =
        complaints.iter().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    assert_eq!(numbers, ["line 2", "line 3", "line 4", "line 5", "sandfleet"], "{complaints:#?}");
    assert_eq!(complaints[4], "sandfleet: 1 job was rejected; each result's message says why");
    let parts = [
        "\"not json\" begins no JSON object; write one job a line",
        "\"[1]\" begins no JSON object",
        "job_id first was there before; give each line an id of its own",
        "job_id \"a/b\": job id is not",
    ];
    for (said, part) in complaints.iter().zip(parts) {
        assert!(said.contains(part), "{said}");
    }
    let results: Vec<JobResult> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(results.len(), 4, "{results:#?}");
    let of = |id: &str| results.iter().find(|result| result.job_id.as_str() == id).expect(id);
    assert_eq!(of("first").run.as_ref().expect("it ran").stdout, "1\n");
    assert_eq!(of("last").run.as_ref().expect("it ran").stdout, "2\n");
    assert_eq!(of("odd").status, Status::Rejected);
    assert!(of("odd").message.contains("speed"), "{}", of("odd").message);
}

#[tokio::test]
async fn a_line_that_is_no_valid_job_is_rejected_and_the_exit_code_says_so() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    for line in [
        r#"{"language":"python","code":"print(1)"}"#,
        r#"{"version":2,"language":"python","code":"print(1)"}"#,
        r#"{"version":1,"language":"cobol","code":"print(1)"}"#,
    ] {
        let jobs = programs.write("jobs.jsonl", &format!("{}\n{line}", batch_job("a", "print(1)")));
        let ran = installation.run(&["run", "--batch", &jobs]).await;
        assert_eq!((ran.code, ran.stdout.lines().count()), (65, 2), "{line}: {ran:#?}");
        assert_eq!(ran.stderr, "sandfleet: 1 job was rejected; each result's message says why\n");
    }
}

#[tokio::test]
async fn flags_are_defaults_that_a_line_wins_over() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let code = "import os, sys, resource; print(sys.argv[1:], os.environ['A'], os.environ['B'], \
                resource.getrlimit(resource.RLIMIT_NOFILE)[0], open('f').read(), sys.stdin.read())";
    let line = serde_json::json!({
        "version": 1, "job_id": "own", "code": code, "args": ["own"], "env": { "A": "own" },
        "limits": { "processes": 9 }, "files": [{ "name": "f", "content": "own" }],
    });
    let bare = serde_json::json!({ "version": 1, "job_id": "bare", "code": code });
    let jobs = programs.write("jobs.jsonl", &format!("{line}\n{bare}\n"));
    let (file, stdin) = (programs.write("f", "flag"), programs.write("in", "stdin"));
    let flags = [
        "run",
        "--batch",
        &jobs,
        "--json",
        "--language",
        "python",
        "--env",
        "A=flag",
        "--env",
        "B=flag",
        "--limit",
        "open_files=77",
        "--file",
        &file,
        "--stdin",
        &stdin,
        "--",
        "flag",
    ];
    let ran = installation.run(&flags).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:#?}");
    let results: Vec<JobResult> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for (id, printed, processes) in [
        ("own", "['own'] own flag 77 own stdin\n", 9),
        ("bare", "['flag'] flag flag 77 flag stdin\n", 64),
    ] {
        let result = results.iter().find(|result| result.job_id.as_str() == id).expect(id);
        assert_eq!(result.run.as_ref().expect("it ran").stdout, printed);
        assert_eq!(result.sandbox.as_ref().expect("it ran").limits.processes, processes);
    }
}

#[tokio::test]
async fn failing_programs_do_not_fail_a_batch() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let jobs = programs.write("jobs.jsonl", &batch_job("fails", "raise SystemExit(9)"));
    assert_eq!(installation.run(&["run", "--batch", &jobs]).await.code, 0);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_named_and_takes_no_memory() {
    let installation = Installation::fresh().set("JOBS_MAX_BYTES", "65536");
    let mut command = installation.command(&["run", "--batch", "-", "--concurrency", "1"]);
    let mut process = command.stdin(Stdio::piped()).spawn().expect("the binary is there");
    let mut input = process.stdin.take().expect("a pipe");
    let mut results = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    input.write_all((batch_job("first", "print(1)") + "\n").as_bytes()).await.expect("it reads");
    let first = soon("the first result", results.next_line()).await.expect("readable");
    assert!(first.expect("a line").contains("\"first\""));
    // 300 MB in one line.
    let piece = vec![b'x'; 1 << 20];
    input.write_all(b"{\"job_id\":\"").await.expect("it reads");
    for _ in 0..286 {
        soon("a reader", input.write_all(&piece)).await.expect("it reads");
    }
    input.write_all(b"\"}\n").await.expect("it reads");
    input.write_all((batch_job("last", "print(2)") + "\n").as_bytes()).await.expect("it reads");
    let last = soon("the last result", results.next_line()).await.expect("readable");
    assert!(last.expect("a line").contains("\"last\""));
    // What it needed at most, all that came before in it.
    let status = format!("/proc/{}/status", process.id().expect("it runs"));
    let status = std::fs::read_to_string(status).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kib < 128 << 10, "it took {kib} KiB");
    drop(input);
    let output = soon("its end", process.wait_with_output()).await.expect("our child");
    assert_eq!(output.status.code(), Some(65));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "line 2: 299892749 bytes long; the limit is jobs.max_bytes = 65536\n");
}

#[tokio::test]
async fn a_bad_line_can_not_steer_a_terminal() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let lines = [
        "{\"job_id\":\"\u{9b}2J\u{202e}\"}",
        "{\"\u{9b}\":1,\"\u{9b}\":1,\"job_id\":7}",
        r#"{"version":1,"job_id":"odd","language":"python","code":"","\u001b]0;\u009b\u202e":1}"#,
    ];
    let jobs = programs.write("jobs.jsonl", &lines.join("\n"));
    let ran = installation.run(&["run", "--batch", &jobs]).await;
    assert_eq!(ran.code, 65, "{ran:#?}");
    for (text, count) in [(&ran.stderr, 3), (&ran.stdout, 1)] {
        assert_eq!(text.lines().count(), count, "{text:?}");
        assert!(text.lines().all(|line| line.chars().all(is_printable)), "{text:?}");
    }
}
