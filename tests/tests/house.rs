//! Promises about the code itself: what depends on what, and that the pages agree with it.

use std::{fs, path::Path, process::Command};

use jiff::Timestamp;
use sandfleet_common::{
    Artifact, Encoding, InputFile, Isolation, Job, JobResult, LimitHit, LimitName, Limits,
    LimitsRequest, RunOutput, SandboxReport, SecurityEvent, Status, Timing, Usage, Verdict,
};
use sandfleet_tests::{Edit, Mutation};
use serde_json::Value;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the checkout")
}

#[test]
fn the_protocol_crate_has_no_runtime_and_no_client() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-p", "sandfleet-common", "-e", "normal"])
        .args(["--prefix", "none"])
        .current_dir(top())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("serde_json"), "not the tree that was asked for: {tree}");
    for heavy in ["tokio", "lapin", "redis", "bollard", "hyper"] {
        let found = tree.lines().find(|line| line.split(' ').next() == Some(heavy));
        assert_eq!(found, None, "sandfleet-common depends on {heavy}");
    }
}

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
    job.stdin = Some(String::new());
    for name in LimitName::ALL {
        job.limits.set(*name, 1);
    }
    job.artifacts.push("*".into());
    job.network_policy.allowed_domains.push("x".into());
    job.queued_at = Some(Timestamp::UNIX_EPOCH);
    (job.ttl_ms, job.result_ttl_ms) = (Some(1), Some(1));
    (job.tenant, job.idempotency_key, job.stream) = (Some("x".into()), Some("x".into()), true);
    job.metadata.insert("version".into(), Value::Null);
    job
}

fn full_result() -> JobResult {
    JobResult {
        job_id: "x".parse().expect("valid"),
        status: Status::Failed,
        verdict: Some(Verdict::Accepted),
        message: Default::default(),
        exit_code: Some(0),
        signal: Some(String::new()),
        run: Some(RunOutput::default()),
        artifacts: vec![Artifact {
            name: String::new(),
            size_bytes: 0,
            sha256: String::new(),
            content_type: String::new(),
            content: String::new(),
            encoding: Encoding::Utf8,
        }],
        artifacts_refused: vec![Default::default()],
        limits_hit: vec![LimitHit { limit: LimitName::Files, value: 1 }],
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
    assert_eq!(LimitsRequest::default().get(LimitName::Files), None);
}

/// What stands between backticks on a page.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

fn entries_of_the_corpus() -> Vec<String> {
    let path = top().join("tests/hostile/manifest.json");
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("the manifest")).expect("JSON");
    let entries = manifest["entries"].as_array().expect("a list");
    let text = |entry: &Value, field: &str| entry[field].as_str().expect("text").to_owned();
    entries
        .iter()
        .map(|entry| format!("{}/{}", text(entry, "group"), text(entry, "name")))
        .collect()
}

#[test]
fn what_the_threat_model_names_exists() {
    let page = fs::read_to_string(top().join("docs/threat-model.md")).expect("the page is there");
    let corpus = entries_of_the_corpus();
    let groups: Vec<&str> = corpus.iter().filter_map(|entry| entry.split('/').next()).collect();
    let (mut tests, mut entries) = (0, 0);
    for name in quoted(&page) {
        if let Some((file, test)) = name.split_once("::") {
            let source = fs::read_to_string(top().join(file));
            let source = source.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(source.contains(&format!("fn {test}(")), "there is no {name}");
            tests += 1;
        } else if name.split_once('/').is_some_and(|(group, _)| groups.contains(&group)) {
            assert!(corpus.iter().any(|entry| entry == name), "the corpus has no {name}");
            entries += 1;
        }
    }
    assert!(tests > 30 && entries > 60, "{tests} tests and {entries} entries were looked for");
}

#[test]
fn every_mutation_fits_the_source_and_names_who_notices_it() {
    let corpus = entries_of_the_corpus();
    let names: Vec<&str> = corpus.iter().filter_map(|entry| entry.split('/').nth(1)).collect();
    let mut faults = Vec::new();
    for mutation in Mutation::all(top()).expect("the lists are there") {
        let barrier = &mutation.barrier;
        let unfit = mutation.edits.iter().filter_map(|edit| edit.apply(top()).err());
        faults.extend(unfit.map(|error| format!("{barrier}: {error:#}")));
        let unknown = mutation.programs.iter().filter(|name| !names.contains(&name.as_str()));
        faults.extend(unknown.map(|name| format!("{barrier}: the corpus has no {name}")));
        if mutation.edits.is_empty() || (mutation.programs.is_empty() && mutation.test.is_none()) {
            faults.push(format!("{barrier}: no edit, or no program and no test"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_apparmor_profile_is_one() {
    let profile = top().join("deploy/apparmor/sandfleet-sandbox");
    let text = fs::read_to_string(&profile).expect("the profile");
    assert!(text.contains("\nprofile sandfleet-sandbox "), "its name is what the settings say");
    // Only its own parser knows the language, and hosts without AppArmor hardly have that.
    let parsed = Command::new("apparmor_parser")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(["--skip-kernel-load", "--skip-cache"])
        .arg(&profile)
        .output();
    match parsed {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => println!("its rules were not looked at: apparmor_parser: {error}"),
    }
}

#[test]
fn what_the_census_takes_away_fits_the_source() {
    let edits = Edit::of_the_census(top()).expect("the list is there");
    let unfit: Vec<_> = edits.iter().filter_map(|edit| edit.apply(top()).err()).collect();
    assert!(!edits.is_empty() && unfit.is_empty(), "{unfit:#?}");
}
