//! `sandfleet doctor`: what it says about this host is what happens on it.

use std::time::Duration;

use sandfleet_tests::{Finished, Installation};
use serde_json::Value;
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
    let ran = attack(&Installation::fresh(), sandbox).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let tried = rows(&ran);
    assert!(tried.len() >= 20, "{} attempts", tried.len());
    assert!(with(&tried, "outcome", "fail", "program").is_empty());
    let controls = with(&tried, "proves", "control: this probe can fail", "remark");
    assert_eq!(controls.len(), 3);
    assert!(controls.iter().all(|remark| remark.contains("BREACH")), "{controls:?}");
}

#[tokio::test]
async fn an_attack_that_is_not_contained_is_told_and_has_an_exit_code() {
    // Programs that are cut short show nothing, and that is no pass.
    let installation = Installation::fresh()
        .set("LIMITS_MAX_WALL_TIME_MS", "10")
        .set("LIMITS_DEFAULT_WALL_TIME_MS", "10");
    let ran = attack(&installation, "native").await;
    assert_eq!(ran.code, 72, "{ran:#?}");
    let tried = rows(&ran);
    assert!(with(&tried, "outcome", "fail", "program").contains(&"escape/mount.py"));
    let exhausting = with(&tried, "outcome", "untried", "program");
    assert!(exhausting.contains(&"exhaust/memfd_balloon.py"), "room is taken up last: {ran:#?}");
}

async fn attack(installation: &Installation, sandbox: &str) -> Finished {
    let mut command = installation.command(&["doctor", "--attack", "--json", "--sandbox", sandbox]);
    let output =
        timeout(MOST, command.output()).await.expect("an end").expect("the binary is there");
    Finished {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
