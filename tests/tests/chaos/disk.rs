//! A worker that can write no file.

use std::{fs, os::unix::fs::PermissionsExt};

use sandfleet_tests::{LeakCheck, Services, setting};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    check::conclude,
    fleet::{Fleet, installation},
    jobs::mixed,
    load::{Load, rounds},
};

/// Starts the program where nothing can be written: every file system is read-only for it that is not the
/// kernel's own. It ends itself if that didn't work.
const NOWHERE: &str = r#"#!/bin/sh
[ "$1" = --inside ] || exec unshare --mount --propagation private "$0" --inside "$@"
shift
awk '{ for (i = 7; $i != "-"; i++); if ($(i + 1) !~ /^(proc|sysfs|cgroup2?|devpts|devtmpfs)$/) print $5 }' \
    /proc/self/mountinfo | while read -r target; do mount -o remount,bind,ro "$target" 2>/dev/null; done
for directory in . / /tmp /var/tmp /run /dev/shm "${TMPDIR:-/tmp}"; do
    if (: >"$directory/sandfleet-can-write") 2>/dev/null; then
        rm -f "$directory/sandfleet-can-write"
        echo "$directory can be written to" >&2
        exit 70
    fi
done
"#;

/// There is nothing of a worker's to fill: what programs write is in memory, within their limits,
/// and what the worker keeps is in its own memory, within those of its slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_needs_no_room_on_any_disk() {
    let services = Services::fresh();
    let directory = TempDir::new().expect("room for files");
    let program = directory.path().join("nowhere");
    let script = format!("{NOWHERE}exec '{}' \"$@\"\n", setting("SANDFLEET_TEST_BIN"));
    fs::write(&program, script).expect("room for a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
    let installation = installation(&services).by(&program.display().to_string());
    let leak_check = LeakCheck::before(&installation.test_cgroup, "only").await;
    let fleet = Fleet::start(&installation).await;
    let client = services.client().await;
    let load = Load::start(client, &services.redis_url, &services.prefix, mixed);
    let began = Instant::now();
    let recovery = load.recovers(began, None).await;
    load.has_results(rounds(200, 40)).await;
    let fault = "no room on any disk";
    let row = conclude(fault, load, fleet, &services, &leak_check, recovery).await;
    assert!(row.repeated.is_empty(), "{row:#?}");
}
