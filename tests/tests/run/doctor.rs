//! `sandfleet doctor`: what it says about this host is what happens on it.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use sandfleet_tests::{Finished, Installation};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::Programs;

/// How long an attack may take: half a minute where nothing else is going on.
const MOST: Duration = Duration::from_secs(150);

fn rows(ran: &Finished) -> Vec<Value> {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
}

/// The fields `name` of all rows whose field `of` is `value`.
fn with<'a>(rows: &'a [Value], of: &str, value: &str, name: &str) -> Vec<&'a str> {
    let rows = rows.iter().filter(|row| row[of] == value);
    rows.map(|row| row[name].as_str().unwrap_or_default()).collect()
}

#[tokio::test]
async fn an_engine_with_known_holes_is_refused_by_name_unless_it_is_allowed() {
    let strict = Installation::fresh().set("SANDBOX_ALLOW_OUTDATED_ENGINE", "false");
    let findings = rows(&strict.run(&["doctor", "--json", "--sandbox", "docker"]).await);
    let missing = with(&findings, "state", "missing", "name");
    let holes: Vec<&str> = missing.iter().filter_map(|name| name.strip_prefix("fix of ")).collect();
    let programs = Programs::new();
    let script = programs.write("it.py", "print(1)");
    let ran = strict.run(&["run", "--sandbox", "docker", &script]).await;
    if holes.is_empty() {
        // Not an engine of Debian's.
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\n"), "{ran:#?}");
        return;
    }
    assert_eq!((ran.code, ran.stdout.as_str()), (71, ""), "{ran:#?}");
    for part in holes.iter().chain(&["--sandbox native", "sandbox.allow_outdated_engine = true"]) {
        assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
    }
    let allowed = Installation::fresh();
    let ran = allowed.run(&["run", "--sandbox", "docker", &script]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\n"), "{ran:#?}");
    let warnings: Vec<&str> =
        ran.stderr.lines().filter(|line| line.contains("allow_outdated_engine")).collect();
    assert_eq!(warnings.len(), 1, "{}", ran.stderr);
    assert!(holes.iter().all(|hole| warnings[0].contains(hole)), "{}", warnings[0]);
}

#[tokio::test]
async fn an_apparmor_profile_that_can_not_be_put_up_is_refused() {
    // Either the engine's host has no AppArmor, or it has no such profile.
    let installation = Installation::fresh().set("SANDBOX_APPARMOR_PROFILE", "sandfleet-none-such");
    let programs = Programs::new();
    let script = programs.write("it.py", "print(1)");
    let ran = installation.run(&["run", "--sandbox", "docker", &script]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (71, ""), "{ran:#?}");
    for part in ["AppArmor", "sandfleet-none-such", "unset sandbox.apparmor_profile"] {
        assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
    }
}

#[tokio::test]
async fn the_security_modules_of_the_host_are_told_for_both_sandboxes() {
    let findings = rows(&Installation::fresh().run(&["doctor", "--json"]).await);
    for area in ["native", "docker"] {
        let names = with(&findings, "area", area, "name");
        assert!(names.contains(&"AppArmor") && names.contains(&"SELinux"), "{names:?}");
    }
}

#[tokio::test]
async fn the_attack_is_contained_by_the_native_sandbox() {
    the_attack_is_contained_by("native").await;
}

#[tokio::test]
async fn the_attack_is_contained_by_the_docker_sandbox() {
    the_attack_is_contained_by("docker").await;
}

async fn the_attack_is_contained_by(sandbox: &str) {
    let (installation, directory) = (Installation::fresh(), TempDir::new().expect("room"));
    let path = directory.path().join("report");
    let shown = path.display().to_string();
    let ran = attack(&installation, sandbox, &["--report", &shown]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let tried = rows(&ran);
    assert!(tried.len() >= 40, "{} attempts", tried.len());
    assert!(with(&tried, "outcome", "fail", "program").is_empty());
    let controls = with(&tried, "proves", "control: this probe can fail", "remark");
    assert_eq!(controls.len(), 3);
    assert!(controls.iter().all(|remark| remark.contains("BREACH")), "{controls:?}");
    the_report_says_what_was_tried(&path, sandbox, &tried);
    reports_are_compared(&installation, &path).await;
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn the_report_says_what_was_tried(path: &Path, sandbox: &str, tried: &[Value]) {
    let report = json(&path.join("report.json"));
    assert_eq!(report["subject"]["sandbox"]["backend"], sandbox, "{report:#}");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").expect("there");
    let said = report["subject"]["host"]["kernel"].as_str().expect("text");
    assert!(said.contains(kernel.trim()), "{said}");
    let policy = report["subject"]["sandbox"]["policy_hash"].as_str().expect("text");
    assert_eq!(policy.len(), 64, "{policy}");
    let versions = report["subject"]["versions"].as_object().expect("a map");
    assert_eq!(versions.contains_key("runc"), sandbox == "docker", "{versions:?}");
    let digest = &report["subject"]["sandbox"]["image_digest"];
    assert_eq!(digest.is_string(), sandbox == "docker", "{digest}");
    let claims = report["claims"].as_array().expect("a list");
    let attempts: usize =
        claims.iter().map(|it| it["attempts"].as_array().expect("a list").len()).sum();
    assert_eq!(attempts, tried.len(), "every attempt is in one claim");
    let page = fs::read_to_string(path.join("report.html")).expect("the page");
    for claim in claims {
        let (state, id) = (&claim["state"], claim["id"].as_str().expect("text"));
        assert!(page.contains(id), "{id} is not on the page");
        match claim["attempts"].as_array().expect("a list").is_empty() {
            true => assert!(state == "not_tried" && claim["not_tried"].is_string(), "{claim:#}"),
            false => assert!(state == "held" || state == "vacuous", "{claim:#}"),
        }
    }
    assert!(page.contains("All that was tried was contained") && page.contains(policy), "{page}");
}

/// `--diff` of a report with itself, with one of another kernel, and with one whose claim is broken.
async fn reports_are_compared(installation: &Installation, path: &Path) {
    let old = path.display().to_string();
    let changed = path.with_file_name("changed.json");
    let new = changed.display().to_string();
    let same = installation.run(&["doctor", "--diff", &old, &old]).await;
    assert_eq!(same.code, 0, "{same:#?}");
    assert!(same.stdout.ends_with("nothing differs\n"), "{same:#?}");
    let mut report = json(&path.join("report.json"));
    report["subject"]["host"]["kernel"] = "Linux 99.0 \u{1b}[2J\nWORSE".into();
    fs::write(&changed, report.to_string()).expect("room");
    let updated = installation.run(&["doctor", "--diff", &old, &new]).await;
    assert_eq!(updated.code, 73, "{updated:#?}");
    assert!(updated.stdout.contains("\nchanged  kernel: Linux "), "{updated:#?}");
    assert!(updated.stdout.contains("-> Linux 99.0 \\u{1b}[2J\\n"), "{updated:#?}");
    let claims = report["claims"].as_array_mut().expect("a list");
    let mount = claims.iter_mut().find(|it| it["id"] == "no-namespace-no-mount").expect("there");
    mount["state"] = "failed".into();
    fs::write(&changed, report.to_string()).expect("room");
    let broken = installation.run(&["doctor", "--diff", &old, &new]).await;
    assert_eq!(broken.code, 72, "{broken:#?}");
    assert!(broken.stdout.contains("\nWORSE    claim: no-namespace-no-mount: held"), "{broken:#?}");
    assert!(broken.stderr.contains("1 claim is worse"), "{broken:#?}");
    let changes = rows(&installation.run(&["doctor", "--json", "--diff", &old, &new]).await);
    assert_eq!(with(&changes, "kind", "worse", "what"), ["claim: no-namespace-no-mount"]);
    let back = installation.run(&["doctor", "--diff", &new, &old]).await;
    assert_eq!(back.code, 73, "{back:#?}");
    assert!(back.stdout.contains("\nbetter   claim: no-namespace-no-mount"), "{back:#?}");
}

#[tokio::test]
async fn what_is_no_report_or_one_of_another_form_is_refused_by_name() {
    let (installation, directory) = (Installation::fresh(), TempDir::new().expect("room"));
    let path = directory.path().join("report.json");
    let shown = path.display().to_string();
    for (text, part) in [
        ("{}", "no report of"),
        ("not JSON", "no report of"),
        ("{\"format\": 1}", "no report of"),
        ("{\"format\": 999}", "a report of form 999, and this sandfleet reads form 1"),
    ] {
        fs::write(&path, text).expect("room");
        let ran = installation.run(&["doctor", "--diff", &shown, &shown]).await;
        assert_eq!(ran.code, 64, "{ran:#?}");
        assert!(ran.stderr.contains(&shown) && ran.stderr.contains(part), "{ran:#?}");
    }
    let none = directory.path().join("none").display().to_string();
    let ran = installation.run(&["doctor", "--diff", &none, &shown]).await;
    assert!(ran.code == 64 && ran.stderr.contains(&none), "{ran:#?}");
}

#[tokio::test]
async fn a_sandbox_that_can_not_be_opened_is_reported_and_links_are_not_followed() {
    let installation =
        Installation::fresh().set("SANDBOX_DOCKER_HOST", "unix:///nowhere/docker.sock");
    let directory = TempDir::new().expect("room");
    let shown = directory.path().display().to_string();
    let arguments = ["doctor", "--attack", "--sandbox", "docker", "--report", &shown];
    let ran = installation.run(&arguments).await;
    assert_eq!(ran.code, 69, "{ran:#?}");
    let report = json(&directory.path().join("report.json"));
    let reason = report["not_opened"].as_str().expect("the reason");
    assert!(reason.contains("/nowhere/docker.sock"), "{reason}");
    for claim in report["claims"].as_array().expect("a list") {
        assert!(claim["state"] == "not_tried" && claim["not_tried"].is_string(), "{claim:#}");
    }
    let (link, target) = (directory.path().join("report.json"), directory.path().join("precious"));
    fs::remove_file(&link).expect("there");
    fs::write(&target, "old").expect("room");
    symlink(&target, &link).expect("room");
    let ran = installation.run(&arguments).await;
    assert_eq!(ran.code, 64, "{ran:#?}");
    assert!(ran.stderr.contains("report.json is a symbolic link; remove it"), "{ran:#?}");
    assert_eq!(fs::read_to_string(&target).expect("there"), "old");
}

#[tokio::test]
async fn an_attack_that_is_not_contained_is_told_and_has_an_exit_code() {
    // Programs that are cut short show nothing, and that is no pass.
    let installation = Installation::fresh()
        .set("LIMITS_MAX_WALL_TIME_MS", "10")
        .set("LIMITS_DEFAULT_WALL_TIME_MS", "10");
    let ran = attack(&installation, "native", &[]).await;
    assert_eq!(ran.code, 72, "{ran:#?}");
    let tried = rows(&ran);
    // On a fast machine one or the other is done before.
    let cut_short = with(&tried, "outcome", "fail", "program");
    assert!(cut_short.len() >= 5, "{cut_short:?}");
    let exhausting = with(&tried, "outcome", "untried", "program");
    assert!(exhausting.contains(&"exhaust/memfd_balloon.py"), "room is taken up last: {ran:#?}");
}

async fn attack(installation: &Installation, sandbox: &str, more: &[&str]) -> Finished {
    let arguments = ["doctor", "--attack", "--json", "--sandbox", sandbox];
    let mut command = installation.command(&[&arguments, more].concat());
    let output =
        timeout(MOST, command.output()).await.expect("an end").expect("the binary is there");
    Finished {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
