//! Hostile programs and messages, through the whole path of a job: each gets its
//! expected verdict in time, and leaves nothing behind.
//!
//! The corpus is `tests/hostile`; `bash tests/run hostile` runs all of it on every backend.

mod corpus;
mod fleet;
mod ordinary;

use std::time::Duration;

use corpus::{Entry, outcome};
use fleet::{Fleet, Runtime};
use futures_util::{StreamExt, stream};
use sandfleet_common::JobResult;

/// How long the first half of a pair gets to plant its thing.
const HEAD_START: Duration = Duration::from_millis(1500);

/// The entries that `SANDFLEET_TEST_HOSTILE_ONLY` names, separated by commas; all without it.
fn wanted(mut entries: Vec<Entry>) -> Vec<Entry> {
    if let Ok(only) = std::env::var("SANDFLEET_TEST_HOSTILE_ONLY") {
        entries.retain(|entry| only.split(',').any(|name| name == entry.name));
    }
    entries
}

/// Prints a line on an entry and gives back what is wrong, if anything is.
fn report(fleet: &Fleet, entry: &Entry, result: &JobResult, seconds: f64) -> Option<String> {
    let faults = entry.faults(fleet.runtime, result, seconds);
    let verdict = outcome(result);
    let mark = if faults.is_empty() { "ok    " } else { "FAILED" };
    let collecting = result.timing.collect_ms as f64 / 1000.0;
    let warm = if result.sandbox.as_ref().is_some_and(|it| it.warm) { "warm " } else { "" };
    println!(
        "{mark} {:28} {verdict:22} {seconds:6.2} s, {collecting:5.2} s for artifacts {warm}{}",
        entry.name,
        faults.join("; ")
    );
    (!faults.is_empty()).then(|| format!("{}: {}", entry.name, faults.join("; ")))
}

async fn run_entry(fleet: &Fleet, entry: &Entry) -> Vec<String> {
    // A container of an engine takes half a second, one of gVisor's two.
    let most = match fleet.runtime {
        Runtime::Native | Runtime::Warm => entry.repeat,
        Runtime::Docker => 100,
        Runtime::GVisor => 20,
    };
    let repeat = entry.repeat.min(most);
    let mut faults = Vec::new();
    for _ in 0..repeat {
        let (result, seconds) = fleet.run(entry.job(fleet.runtime)).await;
        if repeat == 1 {
            faults.extend(report(fleet, entry, &result, seconds));
        } else {
            faults.extend(entry.faults(fleet.runtime, &result, seconds));
        }
    }
    if repeat > 1 {
        println!("{} times {}: {} faults", repeat, entry.name, faults.len());
    }
    fleet.assert_canary(&entry.name).await;
    faults
}

async fn run_group(runtime: Runtime, group: &str, at_a_time: usize) {
    let entries = wanted(corpus::group(group, runtime));
    if entries.is_empty() {
        return;
    }
    let fleet = Fleet::open(runtime).await;
    let faults: Vec<Vec<String>> = stream::iter(&entries)
        .map(|entry| run_entry(&fleet, entry))
        .buffer_unordered(at_a_time)
        .collect()
        .await;
    finish(fleet, group, entries.len(), faults.concat()).await;
}

/// Runs a pair whose second half looks for what the first one left or is doing.
async fn run_pair(fleet: &Fleet, plant: &Entry, check: &Entry) -> Vec<String> {
    let checked = async {
        if plant.concurrent {
            tokio::time::sleep(HEAD_START).await;
        }
        fleet.run(check.job(fleet.runtime)).await
    };
    let (planted, checked) = if plant.concurrent {
        tokio::join!(fleet.run(plant.job(fleet.runtime)), checked)
    } else {
        (fleet.run(plant.job(fleet.runtime)).await, checked.await)
    };
    let faults =
        [report(fleet, plant, &planted.0, planted.1), report(fleet, check, &checked.0, checked.1)];
    faults.into_iter().flatten().collect()
}

async fn run_pairs(runtime: Runtime) {
    let entries = wanted(corpus::group("crossjob", runtime));
    if entries.is_empty() {
        return;
    }
    let fleet = Fleet::open(runtime).await;
    let plants = entries.iter().filter(|entry| entry.pair.as_deref() == Some("plant"));
    // A half that has no meaning here takes the other one with it.
    let pairs = plants.filter_map(|plant| {
        let partner = plant.pair_with.as_deref();
        let check = entries.iter().find(|entry| Some(entry.name.as_str()) == partner);
        check.map(|check| (plant, check))
    });
    let (at_once, in_turn): (Vec<_>, Vec<_>) = pairs.partition(|(plant, _)| plant.concurrent);
    // First and alone, so that the second half comes into the first one's slot.
    let mut faults = Vec::new();
    for (plant, check) in in_turn {
        faults.extend(run_pair(&fleet, plant, check).await);
    }
    let others: Vec<Vec<String>> = stream::iter(at_once)
        .map(|(plant, check)| run_pair(&fleet, plant, check))
        .buffer_unordered(2)
        .collect()
        .await;
    faults.extend(others.concat());
    finish(fleet, "crossjob", entries.len(), faults).await;
}

async fn run_messages(runtime: Runtime) {
    let entries = wanted(corpus::group("protocol", runtime));
    if entries.is_empty() {
        return;
    }
    let fleet = Fleet::open(runtime).await;
    let mut faults = Vec::new();
    for entry in &entries {
        let mut bodies = vec![entry.bytes()];
        if entry.name == "duplicate_id_other_payload" {
            // What was there first is what stays.
            bodies.insert(0, text_of(entry).replace("second", "first").into_bytes());
        }
        let wrapped: Option<serde_json::Value> = serde_json::from_slice(&bodies[0]).ok();
        if let Some(body) = wrapped.as_ref().and_then(|value| value.pointer("/publish/body")) {
            // A broker's headers exist on a broker only; the body counts here.
            bodies = vec![body.to_string().into_bytes()];
        }
        let heard = fleet.submit(bodies).await;
        let outcomes: Vec<String> = heard
            .iter()
            .map(|one| one.as_ref().map_or_else(|_| "rejected".to_owned(), outcome))
            .collect();
        let ok = outcomes.len() == 1 && entry.accepts(&outcomes[0]);
        println!("{} {:28} {outcomes:?}", if ok { "ok    " } else { "FAILED" }, entry.name);
        if !ok {
            faults.push(format!("{}: {heard:?}", entry.name));
        }
        if let Some(Ok(JobResult { run: Some(run), .. })) = heard.first() {
            let told = format!("{}{}", run.stdout, run.stderr);
            for secret in ["second", "BREACH", env!("CARGO_MANIFEST_DIR")] {
                if told.contains(secret) {
                    faults.push(format!("{}: tells {secret:?}: {told}", entry.name));
                }
            }
        }
    }
    finish(fleet, "protocol", entries.len(), faults).await;
}

fn text_of(entry: &Entry) -> String {
    String::from_utf8(entry.bytes()).expect("this message is text")
}

async fn finish(fleet: Fleet, group: &str, count: usize, faults: Vec<String>) {
    fleet.assert_canary(group).await;
    fleet.close().await;
    println!("{count} entries of {group} were run");
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}

macro_rules! runtimes {
    ($($module:ident = $runtime:expr;)+) => {
        $(mod $module {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn escapes_are_contained() {
                run_group($runtime, "escape", 2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn nothing_leaks() {
                run_group($runtime, "leak", 2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn artifacts_are_what_they_seem() {
                run_group($runtime, "artifacts", 2).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn pid_1_does_its_part_whatever_comes() {
                run_group($runtime, "agent", 1).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn jobs_do_not_meet() {
                run_pairs($runtime).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn exhaustion_stays_inside() {
                run_group($runtime, "exhaust", 1).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn messages_get_what_they_deserve() {
                run_messages($runtime).await;
            }
        })+
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_programs_notice_nothing() {
    // The other runtimes have an image, and in it only what the catalogue names.
    ordinary::nothing_is_noticed(Runtime::Native).await;
}

runtimes! {
    native = Runtime::Native;
    warm = Runtime::Warm;
    docker = Runtime::Docker;
    gvisor = Runtime::GVisor;
}
