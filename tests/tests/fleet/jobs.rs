//! `sandfleet submit --jobs`: a file of jobs.

use std::fs;

use sandfleet_common::{JobId, JobResult, Status};
use sandfleet_tests::{Installation, Services};
use tempfile::TempDir;

use crate::{result_of, stdout};

#[tokio::test]
async fn a_file_of_jobs_is_submitted_line_by_line_with_flags_as_defaults() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let directory = TempDir::new().expect("room for files");
    let file = directory.path().join("jobs.jsonl").display().to_string();
    let mut lines: Vec<String> = (0..100)
        .map(|n| format!(r#"{{"version":1,"job_id":"job-{n}","code":"print({n})"}}"#))
        .collect();
    lines.insert(2, r#"{"version":1,"job_id":"odd","code":"","speed":1}"#.into());
    lines.push(r#"{"version":1,"job_id":"job-0","code":"print('again')"}"#.into());
    fs::write(&file, lines.join("\n\n")).expect("room for a file");
    let submitted = installation.run(&["submit", "--jobs", &file, "--language", "python"]).await;
    assert_eq!(submitted.code, 65, "{submitted:#?}");
    let ids: Vec<&str> = submitted.stdout.lines().collect();
    let expected: Vec<String> = (0..100).map(|n| format!("job-{n}")).collect();
    assert_eq!(ids, expected);
    let complaints: Vec<&str> = submitted.stderr.lines().collect();
    assert_eq!(complaints.len(), 2, "{complaints:#?}");
    assert!(complaints[0].starts_with("line 5: speed: unknown field"), "{}", complaints[0]);
    assert!(
        complaints[1].starts_with("line 203: job_id job-0 was there before"),
        "{complaints:#?}"
    );

    let _worker = installation.worker("only");
    let client = services.client().await;
    let last: JobId = "job-99".parse().expect("an id");
    assert_eq!(stdout(&result_of(&client, &last).await), "99\n");

    let more = [
        r#"{"version":1,"job_id":"fails","language":"python","code":"raise SystemExit(9)"}"#,
        r#"{"version":1,"job_id":"works","language":"python","code":"print(1)"}"#,
    ];
    fs::write(&file, more.join("\n")).expect("room for a file");
    let waited = installation.run(&["submit", "--jobs", &file, "--wait"]).await;
    assert_eq!((waited.code, waited.stderr.as_str()), (0, ""), "a program that fails is a result");
    let results: Vec<JobResult> =
        waited.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let seen: Vec<_> = results.iter().map(|it| (it.job_id.as_str(), it.status)).collect();
    assert_eq!(seen, [("fails", Status::Failed), ("works", Status::Succeeded)]);
}
