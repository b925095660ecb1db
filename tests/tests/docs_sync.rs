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
    // Only its own parser knows the language; it needs no kernel that has AppArmor.
    let parsed = Command::new("apparmor_parser")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(["--skip-kernel-load", "--skip-cache"])
        .arg(&profile)
        .output();
    let output = parsed.unwrap_or_else(|error| {
        panic!("apparmor_parser: {error}; install the package apparmor, as `bash tests/run` does")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every file of the checkout that isn't made by a build, as paths from its top.
fn files_below(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory of the checkout").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type().expect("its kind").is_dir() {
            true => files_below(&path, found),
            false => {
                let path = path.strip_prefix(top()).expect("it is below the top");
                found.push(path.to_str().expect("a plain name").to_owned());
            }
        }
    }
}

#[test]
fn what_the_census_takes_away_fits_the_source() {
    let edits = Edit::of_the_census(top()).expect("the list is there");
    let unfit: Vec<_> = edits.iter().filter_map(|edit| edit.apply(top()).err()).collect();
    assert!(!edits.is_empty() && unfit.is_empty(), "{unfit:#?}");
}

/// Names in the first column of the tables of a page that is made from the code; a test beside the code sees
/// to it that the page says what the code says.
fn rows(page: &str) -> Vec<String> {
    let text = fs::read_to_string(top().join(page)).expect("the page is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<String> = rows.map(str::to_owned).collect();
    assert!(rows.len() > 10, "{page} has its table: {rows:?}");
    rows
}

/// What a page can name that has to exist.
struct Existing {
    files: Vec<String>,
    metrics: Vec<String>,
    settings: Vec<String>,
    /// Of a result, with what they are in: they look like settings.
    fields: Vec<String>,
}

impl Existing {
    fn all() -> Self {
        let mut files = Vec::new();
        files_below(top(), &mut files);
        let result = serde_json::to_value(full_result()).expect("serialises");
        let nested = result.as_object().into_iter().flatten().filter_map(|(name, value)| {
            Some(value.as_object()?.keys().map(move |inner| format!("{name}.{inner}")))
        });
        let fields = nested.flatten().collect();
        let (metrics, settings) = (rows("docs/metrics.md"), rows("docs/configuration.md"));
        Self { files, metrics, settings, fields }
    }

    /// Which words of `page`, a page's text, name a metric, a setting or a file that there isn't.
    fn lacks<'a>(&self, directory: &str, page: &'a str) -> Vec<&'a str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
        let words = page.split(|c| !is_part(c));
        let words = words.map(|word| word.trim_start_matches("../").trim_matches(['.', '-', '/']));
        // Of a link only the part before its anchor.
        let links = page.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        let is_lost = |link: &&str| !top().join(directory).join(link).exists();
        let mut lacking: Vec<&str> = words.filter(|word| self.is_unknown(word)).collect();
        lacking.extend(links.filter(is_lost));
        lacking
    }

    fn is_unknown(&self, word: &str) -> bool {
        if word.starts_with("sandfleet_") {
            return word != "sandfleet_worker" && !self.is_metric(word);
        }
        if let Some(variable) = word.strip_prefix("SANDFLEET_") {
            // The file's place, and how all begin.
            let is_it = |setting: &String| setting.replace('.', "_").to_uppercase() == variable;
            return !["CONFIG", "TEST_", ""].contains(&variable)
                && !self.settings.iter().any(is_it);
        }
        // No program of a job is in Rust, Lua or Markdown; what the bench writes is no file before.
        let is_source = [".rs", ".lua", ".md"].iter().any(|end| word.ends_with(end));
        let top = word.split_once('/').map(|(top, _)| format!("{top}/"));
        let is_path = top.is_some_and(|top| self.files.iter().any(|file| file.starts_with(&top)));
        match is_source || is_path {
            true => word != "bench.md" && !self.is_file(word),
            false => self.looks_like_a_setting(word) && !self.is_setting_or_field(word),
        }
    }

    fn is_metric(&self, word: &str) -> bool {
        let parts = ["_bucket", "_count", "_sum"].map(|part| word.strip_suffix(part));
        let mut names = parts.into_iter().flatten().chain([word]);
        names.any(|name| self.metrics.iter().any(|metric| metric == name))
    }

    /// Whether it is the end of a file's path, or the beginning.
    fn is_file(&self, word: &str) -> bool {
        let (end, beginning) = (format!("/{word}"), format!("{word}/"));
        let is_it =
            |file: &String| file == word || file.ends_with(&end) || file.starts_with(&beginning);
        self.files.iter().any(is_it)
    }

    fn looks_like_a_setting(&self, word: &str) -> bool {
        let Some((area, name)) = word.rsplit_once('.') else { return false };
        // An area of areas, such as limits.max, is no setting.
        let is_area = self.settings.iter().any(|it| it.starts_with(&format!("{word}.")));
        let area = format!("{area}.");
        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        !is_area
            && is_name
            && name != "jsonl"
            && self.settings.iter().any(|it| it.starts_with(&area))
    }

    fn is_setting_or_field(&self, word: &str) -> bool {
        self.settings.iter().chain(&self.fields).any(|known| known == word)
    }
}

/// Tests that a page names, as `file::test`, that there aren't.
fn lost_tests(page: &str) -> Vec<&str> {
    let is_lost = |name: &&str| {
        let Some((file, test)) = name.split_once("::") else { return false };
        let lacks = |source: String| !source.contains(&format!("fn {test}("));
        file.ends_with(".rs") && fs::read_to_string(top().join(file)).map_or(true, lacks)
    };
    quoted(page).filter(is_lost).collect()
}

#[test]
fn what_the_pages_name_exists() {
    let existing = Existing::all();
    let is_page =
        |file: &&String| file.starts_with("docs/") && file.ends_with(".md") || *file == "README.md";
    let pages: Vec<&String> = existing.files.iter().filter(is_page).collect();
    assert!(pages.len() > 10, "{pages:?}");
    let mut lacking = Vec::new();
    for page in pages {
        let text = fs::read_to_string(top().join(page)).expect("it is listed");
        let directory = page.rsplit_once('/').map_or("", |(directory, _)| directory);
        let lost = existing.lacks(directory, &text).into_iter().chain(lost_tests(&text));
        lacking.extend(lost.map(|word| format!("{page}: {word}")));
    }
    assert!(lacking.is_empty(), "{lacking:#?}");
}

/// As docs/architecture.md says.
#[test]
fn the_queue_and_the_store_know_no_other_stage() {
    let mut files = Vec::new();
    files_below(&top().join("worker/src"), &mut files);
    for stage in ["queue", "store"] {
        let own = format!("worker/src/{stage}/");
        let own: Vec<_> = files.iter().filter(|file| file.starts_with(&own)).collect();
        assert!(own.len() > 3, "{own:?}");
        for file in own {
            let source = fs::read_to_string(top().join(file)).expect("it is listed");
            for used in source.split("crate::").skip(1) {
                assert!(used.starts_with(stage), "{file} uses {}", &used[..used.len().min(40)]);
            }
        }
    }
}

#[test]
fn a_page_that_names_what_does_not_exist_is_found() {
    let existing = Existing::all();
    for fine in [
        "`sandfleet_job_stage_duration_seconds`, `sandfleet_job_stage_duration_seconds_sum`.",
        "`store.result_ttl_ms` and `sandbox.landlock_abi`, SANDFLEET_WORKER_SLOTS",
        "`worker/src/main.rs`, `main.rs`, deploy/images/build, [it](../README.md#x), `sys.modules`",
        "main.py, in.csv, worker.",
    ] {
        assert!(
            existing.lacks("docs", fine).is_empty(),
            "{fine}: {:?}",
            existing.lacks("docs", fine)
        );
    }
    for lost in [
        "sandfleet_stage_seconds",
        "sandfleet_job_stage_duration_seconds_total",
        "store.result_ttl",
        "SANDFLEET_WORKER_SLOT",
        "worker/src/nothing.rs",
        "nothing.rs",
        "deploy/images/nothing",
    ] {
        assert_eq!(existing.lacks("docs", &format!("see `{lost}`.")), [lost]);
    }
    assert_eq!(existing.lacks("docs", "[it](nothing.md)"), ["nothing.md", "nothing.md"]);
    let lost = "tests/tests/docs_sync.rs::nothing";
    assert_eq!(
        lost_tests(&format!("`{lost}`, `tests/tests/docs_sync.rs::the_apparmor_profile_is_one`")),
        [lost]
    );
}
