//! Who may run programs natively.

use std::{fs, os::unix::fs::PermissionsExt};

use sandfleet_tests::{Finished, Installation, LeakCheck};

use crate::Programs;

/// A user without any privilege on this host.
const NOBODY: u32 = 65534;

/// Runs `arguments` as [`NOBODY`]. The binary may lie where only we can go, so it is handed over
/// open.
async fn run_as_nobody(installation: &Installation, arguments: &[&str]) -> Finished {
    let script = format!(
        "exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups /proc/self/fd/9 \"$@\" 9<\"$0\""
    );
    let binary = std::env::var("SANDFLEET_TEST_BIN").expect("run `bash tests/run`");
    let mut all = vec!["-c", &script, &binary];
    all.extend(arguments);
    Finished::of(installation.command_through("/bin/sh", &all)).await
}

fn readable_by_all(programs: &Programs, text: &str) -> String {
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(programs.0.path(), all).expect("our own");
    programs.write("it.py", text)
}

#[tokio::test]
async fn who_is_not_root_runs_programs_below_a_group_of_their_own() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    installation.test_cgroup.give_to(NOBODY);
    let leak_check = LeakCheck::before(&installation.test_cgroup, "none").await;
    let script = readable_by_all(&programs, "print(open('/proc/self/status').read())");
    let ran = run_as_nobody(&installation, &["run", "--json", &script]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let status = ran.result().run.expect("it ran").stdout;
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t1000\t1000"] {
        assert!(status.contains(line), "{line} in {status}");
    }
    leak_check.are_gone().await;

    let greedy = readable_by_all(&programs, "x = b'x' * (200 << 20)");
    let limit = ["--limit", "memory_bytes=67108864"];
    let ran = run_as_nobody(&installation, &[&["run", &greedy][..], &limit].concat()).await;
    assert_eq!(ran.code, 125, "{ran:#?}");
}

#[tokio::test]
async fn who_is_not_root_and_has_no_group_is_told_the_ways_out() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = readable_by_all(&programs, "print('never')");
    let ran = run_as_nobody(&installation, &["run", &script]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (71, ""), "{ran:#?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    for part in ["\"control groups\"", "run as root", "sandbox.cgroup_parent", "--sandbox docker"] {
        assert!(ran.stderr.contains(part), "{part} in {}", ran.stderr);
    }
}
