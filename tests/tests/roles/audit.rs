//! The audit: who did what is noted, by whom and from where, and whatever is wrong with that is in no job's way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::{Duration, Instant},
};

use sandfleet_common::names;
use sandfleet_tests::{Finished, Installation};
use tempfile::TempDir;

use crate::servers::Servers;

type Event = BTreeMap<String, String>;

const SECRET: &str = "correct horse";

/// A script that holds, reads and prints what must not be noted.
fn script(directory: &TempDir) -> String {
    let script = directory.path().join("secret.py");
    fs::write(&script, format!("print({SECRET:?}, input())")).expect("room");
    script.display().to_string()
}

async fn submitted(producer: &Installation, more: &[&str]) -> Finished {
    let directory = tempfile::tempdir().expect("room");
    let mut arguments = vec!["submit".to_owned(), script(&directory)];
    arguments.extend(more.iter().map(|it| (*it).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ran = producer.run(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran
}

async fn events(operator: &Installation) -> Vec<Event> {
    let shown = operator.run(&["audit", "--json"]).await;
    assert_eq!(shown.code, 0, "{shown:#?}");
    let events = shown.stdout.lines().map(|line| serde_json::from_str(line).expect("texts"));
    events.collect()
}

fn of<'a>(events: &'a [Event], action: &str) -> Vec<&'a Event> {
    events.iter().filter(|event| event["action"] == action).collect()
}

#[tokio::test]
async fn what_each_role_does_is_noted_with_who_and_from_where_and_without_code_input_or_output() {
    let servers = Servers::start().await;
    let [producer, worker, operator] =
        ["producer", "worker", "operator"].map(|name| servers.installation(name));
    let directory = tempfile::tempdir().expect("room");
    let file = directory.path().join("audit.jsonl");
    let producer = producer.set("AUDIT_FILE", &file.display().to_string());
    let input = directory.path().join("input");
    fs::write(&input, SECRET).expect("room");

    operator.run(&["setup"]).await;
    let waiting = submitted(&producer, &["--tenant", "acme"]).await;
    let id = waiting.stdout.trim();
    producer.run(&["cancel", id]).await;
    operator.run(&["hold", "--tenant", "acme"]).await;
    operator.run(&["release", "--tenant", "acme"]).await;
    operator.run(&["release", "--tenant", "acme"]).await;
    let mut first = worker.worker("first");
    first.ready().await;
    let input = input.display().to_string();
    let ran = submitted(&producer, &["--wait", "--stdin", &input]).await;
    assert!(ran.stdout.contains(SECRET), "{ran:#?}");
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.ended().await, 0, "{}", first.log());

    let events = events(&operator).await;
    for (role, action, subject, count) in [
        ("operator", "queues_made", servers.prefix.as_str(), 1),
        ("producer", "submitted", id, 2),
        ("producer", "cancelled", id, 1),
        ("operator", "switch_thrown", "hold tenant:acme", 1),
        // The second release took nothing back.
        ("operator", "switch_released", "hold tenant:acme", 1),
        ("worker", "policy_changed", "native", 1),
        ("worker", "worker_started", "first", 1),
        ("worker", "worker_drained", "first", 1),
    ] {
        let found = of(&events, action);
        assert_eq!(found.len(), count, "{action}: {events:#?}");
        let event = found[0];
        assert_eq!(event["subject"], subject, "{event:?}");
        assert_eq!(event["store_user"], format!("{}-{role}", servers.users), "{event:?}");
        assert_eq!(event["broker_user"], servers.user(role), "{event:?}");
        for part in ["at", "os_user", "host", "process"] {
            assert!(!event[part].is_empty(), "{event:?}");
        }
    }
    assert_eq!(of(&events, "submitted")[0]["tenant"], "acme");
    let shown = operator.run(&["audit"]).await;
    assert!(
        shown.stdout.contains(&format!("submitted {id} tenant acme: python by ")),
        "{shown:#?}"
    );
    assert!(!shown.stdout.contains(SECRET) && shown.stderr.is_empty(), "{shown:#?}");
    let none = operator.run(&["audit", "--since", "1ms"]).await;
    assert_eq!((none.code, none.stdout.as_str()), (0, ""), "{none:#?}");

    let lines = fs::read_to_string(&file).expect("it was written");
    let lines: Vec<Event> =
        lines.lines().map(|line| serde_json::from_str(line).expect("texts")).collect();
    let written: Vec<&str> = lines.iter().map(|event| event["action"].as_str()).collect();
    assert_eq!(written, ["submitted", "cancelled", "submitted"]);
    let parts = |event: &Event| event.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(parts(&lines[0]), parts(of(&events, "submitted")[0]));

    // Another worker with the same policy changes none.
    let mut second = worker.worker("second");
    second.ready().await;
    second.signal(rustix::process::Signal::TERM);
    assert_eq!(second.ended().await, 0, "{}", second.log());
    let events = self::events(&operator).await;
    assert_eq!((of(&events, "policy_changed").len(), of(&events, "worker_started").len()), (1, 2));
}

#[tokio::test]
async fn a_full_audit_drops_its_oldest_events_and_one_that_was_cut_is_told_of() {
    let servers = Servers::start().await;
    let operator = servers.installation("operator").set("AUDIT_ENTRIES", "20");
    for turn in 0..60 {
        let (verb, tenant) = (["hold", "release"][turn % 2], format!("t{}", turn / 2));
        operator.run(&[verb, "--tenant", &tenant]).await;
    }
    let kept = events(&operator).await;
    assert!((20..60).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last().expect("some")["subject"], "hold tenant:t29");
    let shown = operator.run(&["audit"]).await;
    assert_eq!(shown.stderr, "");

    let key = names::audit_key(&servers.prefix, &format!("{}-operator", servers.users));
    let mut admin = servers.admin().await;
    let mut cut = redis::cmd("XTRIM");
    cut.arg(&key).arg("MAXLEN").arg(1).exec_async(&mut admin).await.expect("an administrator");
    let shown = operator.run(&["audit"]).await;
    assert!(shown.stderr.contains("events of ") && shown.stderr.contains("are gone"), "{shown:#?}");
}

/// The stream is no stream, or the user may not write it: users that were made by an older version, for one.
#[tokio::test]
async fn a_stream_that_takes_nothing_is_in_no_jobs_way_and_is_told_of() {
    let servers = Servers::start().await;
    let (producer, operator) = (servers.installation("producer"), servers.installation("operator"));
    let worker = servers.installation("worker");
    let mut admin = servers.admin().await;
    for role in ["producer", "worker", "operator"] {
        let key = names::audit_key(&servers.prefix, &format!("{}-{role}", servers.users));
        let mut spoil = redis::cmd("SET");
        spoil.arg(key).arg("no stream").exec_async(&mut admin).await.expect("an administrator");
    }
    let mut older = redis::cmd("ACL");
    older.arg("SETUSER").arg(format!("{}-worker", servers.users)).arg("clearselectors");
    older.exec_async(&mut admin).await.expect("an administrator");
    let mut first = worker.worker("first");
    first.ready().await;
    let directory = tempfile::tempdir().expect("room");
    let input = directory.path().join("input");
    fs::write(&input, "x").expect("room");
    let input = input.display().to_string();
    let ran = submitted(&producer, &["--wait", "--stdin", &input]).await;
    assert!(
        ran.stderr.contains("could not be noted") && ran.stderr.contains("WRONGTYPE"),
        "{ran:#?}"
    );
    let held = operator.run(&["hold", "--tenant", "acme"]).await;
    assert_eq!(held.code, 0, "{held:#?}");
    assert!(held.stderr.contains("could not be noted"), "{held:#?}");
    for said in ["could not be noted", "what tenants use is not counted"] {
        assert!(first.log().contains(said), "{}", first.log());
    }

    let user = format!("{}-producer", servers.users);
    let mut take = redis::cmd("ACL");
    take.arg("SETUSER").arg(&user).arg("clearselectors");
    take.arg(format!("(+publish &{})", names::cancel_channel(&servers.prefix)));
    take.exec_async(&mut admin).await.expect("an administrator");
    let ran = submitted(&producer, &["--wait", "--stdin", &input]).await;
    assert!(ran.stderr.contains("deploy/credentials/make"), "{ran:#?}");
    let silent = submitted(&producer.set("AUDIT_ENTRIES", "0"), &[]).await;
    assert_eq!(silent.stderr, "");
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.ended().await, 0, "{}", first.log());
}

/// A file that is never read from, a full disk, and a directory that isn't there.
#[tokio::test]
async fn a_file_that_takes_nothing_is_in_no_jobs_way_and_is_told_of() {
    let servers = Servers::start().await;
    let directory = tempfile::tempdir().expect("room");
    let slow = directory.path().join("fifo");
    let made = Command::new("mkfifo").arg(&slow).status().expect("coreutils");
    assert!(made.success());
    let away = directory.path().join("away/audit.jsonl");
    for (file, said) in [
        (slow.display().to_string(), "is too slow"),
        ("/dev/full".into(), "No space left"),
        (away.display().to_string(), "No such file"),
    ] {
        let producer = servers.installation("producer").set("AUDIT_FILE", &file);
        let begun = Instant::now();
        let ran = submitted(&producer, &[]).await;
        assert!(ran.stderr.contains(said), "{file}: {ran:#?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{file}: {:?}", begun.elapsed());
    }
    let noted = events(&servers.installation("operator")).await;
    assert_eq!(of(&noted, "submitted").len(), 3, "the store has them all");
}
