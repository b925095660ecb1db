//! A whole fleet of which each process has the rights of its role and no more.

use sandfleet_tests::{Credentials, Installation};

use crate::servers::Servers;

#[tokio::test]
async fn each_role_does_its_work() {
    let servers = Servers::start().await;
    let [producer, worker, operator] =
        ["producer", "worker", "operator"].map(|name| servers.installation(name));
    let made = operator.run(&["setup"]).await;
    assert_eq!(
        (made.code, made.stdout.contains(&servers.own(" for container are there"))),
        (0, true),
        "{made:#?}"
    );
    let directory = tempfile::tempdir().expect("room");
    let script = directory.path().join("it.py");
    std::fs::write(&script, "print('it ran')").expect("room");
    let script = script.display().to_string();

    let waiting = producer.run(&["submit", &script]).await;
    assert_eq!(waiting.code, 0, "{waiting:#?}");
    let cancelled = producer.run(&["cancel", waiting.stdout.trim()]).await;
    assert!(cancelled.stdout.contains("cancelled before it was started"), "{cancelled:#?}");
    let shown = producer.run(&["result", waiting.stdout.trim()]).await;
    assert_eq!(shown.code, 123, "{shown:#?}");

    let mut first = worker.worker("first");
    first.ready().await;
    let ran = producer.run(&["submit", &script, "--wait", "--tenant", "acme"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "it ran\n"), "{ran:#?}");
    let followed = producer.run(&["submit", &script, "--follow"]).await;
    assert_eq!(followed.stdout, "it ran\n", "{followed:#?}");

    let listed = operator.run(&["workers"]).await;
    assert!(listed.stdout.contains("first"), "{listed:#?}");
    let examined = operator.run(&["doctor"]).await;
    for line in ["guest is refused", "the default user is refused"] {
        assert!(examined.stdout.contains(line), "{examined:#?}");
    }
    let exported = servers.installation("exporter").run(&["exporter", "--once"]).await;
    for line in [
        "sandfleet_fleet_service_up{service=\"broker\"} 1",
        "sandfleet_fleet_service_up{service=\"store\"} 1",
        "sandfleet_fleet_broker_blocked 0",
        "sandfleet_fleet_workers{state=\"ready\"} 1",
        "sandfleet_fleet_queue_oldest_age_seconds{",
        "sandfleet_fleet_store_memory_bytes",
    ] {
        assert!(exported.stdout.contains(line), "{line}: {exported:#?}");
    }
    assert!(!exported.stderr.contains("may not publish"), "{exported:#?}");
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.ended().await, 0, "{}", first.log());
    assert!(!first.log().contains("NOPERM"), "{}", first.log());
}

/// Each is named with what to do about it.
#[tokio::test]
async fn a_user_without_its_rights_is_named_at_the_start() {
    let servers = Servers::start().await;
    let impatient = |it: Installation| it.set("WORKER_REFUSAL_TIMEOUT_MS", "1000");
    // The producer's login, for a worker.
    let producer = impatient(servers.installation("producer"));
    let mut wrong = producer.worker("wrong");
    assert_eq!(wrong.ended().await, 77, "{}", wrong.log());
    let log = wrong.log();
    assert!(log.contains("set_permissions") || log.contains("ACL SETUSER"), "{log}");

    // A fleet without queues.
    let other = servers.installation("worker").set("QUEUE_PREFIX", &servers.own("new"));
    let other = impatient(other);
    let mut early = other.worker("early");
    assert_eq!(early.ended().await, 77, "{}", early.log());
    assert!(early.log().contains("sandfleet setup"), "{}", early.log());

    // ACL files of another fleet.
    let elsewhere = Credentials::at(servers.credentials.directory());
    elsewhere.make(&["--prefix", "another"]);
    servers.apply().await;
    let worker = impatient(servers.installation("worker"));
    let mut lost = worker.worker("lost");
    assert_eq!(lost.ended().await, 77, "{}", lost.log());
    let named = lost.log().contains("ACL SETUSER") || lost.log().contains("set_permissions");
    assert!(named, "{}", lost.log());
}
