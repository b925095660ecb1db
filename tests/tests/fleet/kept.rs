//! Looking at dead letters and unreadable messages: it loses none, finds all of them each time, and doesn't use them up.

use std::{collections::BTreeSet, time::Duration};

use lapin::{
    BasicProperties, Channel,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{Isolation, Job, Priority, encode, names};
use sandfleet_tests::{Installation, Services};
use serde_json::Value;
use tokio::time::sleep;

use crate::top::{for_captures, keep};

/// More than what any queue grants in returns: 100 for dead letters.
const LISTINGS: usize = 102;

/// Puts `count` jobs there, which are called `name-0` and so on.
async fn put(
    channel: &Channel,
    exchange: &str,
    name: &str,
    count: usize,
    headers: &[(&str, &str)],
) {
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    for number in 0..count {
        let mut job = Job::new("python", "print(1)");
        job.job_id = format!("{name}-{number}").parse().expect("an id");
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_headers(table.clone());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let body = encode(&job);
        let sent = channel.basic_publish(exchange.into(), "".into(), options, &body, properties);
        let confirmed = sent.await.expect("sent").await.expect("confirmed");
        assert!(confirmed.is_ack(), "{confirmed:?}");
    }
}

/// The ids of the jobs in a queue, which is empty then.
async fn take_all(channel: &Channel, queue: &str) -> Vec<String> {
    let (mut ids, options) = (Vec::new(), BasicGetOptions { no_ack: true });
    while let Some(message) = channel.basic_get(queue.into(), options).await.expect("it is there") {
        let job: Value = serde_json::from_slice(&message.data).expect("a job");
        ids.push(job["job_id"].as_str().expect("an id").to_owned());
    }
    ids
}

async fn listed(installation: &Installation, arguments: &[&str]) -> Vec<String> {
    let arguments = [&["queue", "list", "--json", "--limit", "1000"], arguments].concat();
    let ran = installation.run(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let job = |line: &str| {
        let message: Value = serde_json::from_str(line).expect("JSON");
        message["job_id"].as_str().expect("an id").to_owned()
    };
    ran.stdout.lines().map(job).collect()
}

fn names_of(name: &str, count: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..count).map(|number| format!("{name}-{number}")).collect();
    names.sort();
    names
}

/// Lists over and over, as a whole and in part, and finds the same messages in the same order each time.
async fn list_many_times(services: &Services, installation: &Installation) {
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let died = ("x-sandfleet-reason", "delivery_limit");
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Batch);
    let of_batch = [died, ("x-sandfleet-queue", queue.as_str())];
    put(&channel, &names::dead_exchange(&services.prefix), "dead", 40, &of_batch).await;
    let set_aside = [("x-sandfleet-reason", "another job has the id x: its payload differs")];
    let unreadable = names::unreadable_exchange(&services.prefix);
    put(&channel, &unreadable, "unreadable", 40, &set_aside).await;
    let both = [names_of("dead", 40), names_of("unreadable", 40)].concat();
    let mut first = None;
    for turn in 0..LISTINGS {
        let mut found = listed(installation, &[]).await;
        assert_eq!(*first.get_or_insert_with(|| found.clone()), found, "in listing {turn}");
        found.sort();
        assert_eq!(found, both, "in listing {turn}");
        if turn % 10 == 0 {
            let few = installation.run(&["queue", "list", "--limit", "3"]).await;
            assert_eq!(few.stdout.lines().count(), 4, "{few:#?}");
            assert!(few.stderr.contains("77 more such messages"), "{few:#?}");
            let twins = listed(installation, &["unreadable", "--cause", "twin"]).await;
            assert_eq!(twins.len(), 40);
        }
    }
    let mut left = take_all(&channel, &names::dead_queue(&services.prefix)).await;
    left.extend(take_all(&channel, &names::unreadable_queue(&services.prefix)).await);
    left.sort();
    assert_eq!(left, both);
}

#[tokio::test]
async fn a_hundred_listings_lose_none() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    list_many_times(&services, &installation).await;
}

#[tokio::test]
async fn nor_do_they_where_an_older_version_made_the_queue_of_unreadable_messages() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let queue = names::unreadable_queue(&services.prefix);
    let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    deleted.await.expect("it is there");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), durable, arguments).await.expect("made");
    let bound = channel.queue_bind(
        queue.as_str().into(),
        names::unreadable_exchange(&services.prefix).into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("bound");
    list_many_times(&services, &installation).await;
}

#[tokio::test]
async fn what_is_killed_while_it_lists_loses_none() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let unreadable = names::unreadable_exchange(&services.prefix);
    put(&channel, &unreadable, "it", 1000, &[("x-sandfleet-reason", "no JSON")]).await;
    for turn in 1..=10 {
        let mut command = installation.command(&["queue", "list"]);
        let mut process = command.spawn().expect("the binary is there");
        sleep(Duration::from_millis(40 * turn)).await;
        process.kill().await.expect("our child");
    }
    let queue = names::unreadable_queue(&services.prefix);
    let mut left = BTreeSet::new();
    sandfleet_tests::eventually("all messages", || {
        let (channel, queue) = (channel.clone(), queue.clone());
        async move { Some(take_all(&channel, &queue).await) }
    })
    .await
    .into_iter()
    .for_each(|id| assert!(left.insert(id), "each is there once"));
    // What the broker still took back from the last one.
    let end = tokio::time::Instant::now() + sandfleet_tests::DEADLINE;
    while left.len() < 1000 && tokio::time::Instant::now() < end {
        sleep(Duration::from_millis(50)).await;
        for id in take_all(&channel, &queue).await {
            assert!(left.insert(id), "each is there once");
        }
    }
    assert_eq!(left.len(), 1000);
}

#[tokio::test]
async fn the_overview_and_the_jobs_of_a_queue() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let client = services.client().await;
    let mut job = Job::new("python", "print(1)");
    job.priority = Priority::Batch;
    let other = Job::new("bash", "echo");
    for job in [&job, &other] {
        client.submit(job).await.expect("the broker takes it");
    }
    let shown = installation.run(&["queue", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let queues = shown["queues"].as_array().expect("an array");
    let of = |name: &str| {
        let it = queues.iter().find(|it| it["queue"] == format!("{}{name}", services.prefix));
        it.unwrap_or_else(|| panic!("{name}: {shown}"))
    };
    let batch = of(".jobs.container.batch");
    assert_eq!((&batch["messages"], &batch["workers"]), (&1.into(), &0.into()), "{batch}");
    assert!(batch["oldest_seconds"].as_i64().is_some_and(|age| age < 60), "{batch}");
    assert_eq!(of(".dead")["messages"], 0);
    let text = installation.run(&["queue"]).await;
    assert!(text.stdout.contains(".jobs.container.interactive  1 "), "{text:#?}");
    assert!(text.stdout.contains("more queues of tenants"), "{text:#?}");
    for name in ["container.batch", &format!("{}.jobs.container.batch", services.prefix)] {
        let jobs = installation.run(&["queue", "list", name]).await;
        assert!(jobs.stdout.contains(job.job_id.as_str()), "{jobs:#?}");
        assert!(!jobs.stdout.contains(other.job_id.as_str()), "{jobs:#?}");
    }
    let none = installation.run(&["queue", "list", "container.batch", "--language", "bash"]).await;
    assert!(none.stderr.contains("no job that the store knows waits"), "{none:#?}");
    let wrong = installation.run(&["queue", "list", "container.batch", "--cause", "twin"]).await;
    assert_eq!(wrong.code, 64, "{wrong:#?}");
}

#[tokio::test]
async fn a_list_for_people_shows_nothing_that_a_terminal_obeys() {
    let services = for_captures();
    let installation = Installation::fresh().on(&services);
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let dead = names::dead_exchange(&services.prefix);
    let unreadable = names::unreadable_exchange(&services.prefix);
    let batch = names::job_queue(&services.prefix, Isolation::Container, Priority::Batch);
    let now = jiff::Timestamp::now().as_millisecond();
    let job = |id: &str, tenant: Option<&str>| {
        let mut job = Job::new("python", "print('secret')");
        (job.job_id, job.tenant) = (id.parse().expect("an id"), tenant.map(str::to_owned));
        encode(&job)
    };
    for (exchange, reason, minutes, body) in [
        (&dead, "delivery_limit", 3, job("order-1831", Some("acme"))),
        (
            &unreadable,
            "another job has the id order-7: its payload differs",
            50,
            job("order-7", Some("shop")),
        ),
        (
            &unreadable,
            "its properties can't be parsed: the name of a header: not UTF-8",
            900,
            job("order-9", None),
        ),
        (&unreadable, "no JSON at column 1", 4000, b"hello \x1b[2J".to_vec()),
        (
            &unreadable,
            "no \x1b[31m",
            5000,
            br#"{"tenant":"\u001b[2J","language":"\u202ecod"}"#.to_vec(),
        ),
    ] {
        let mut headers = FieldTable::default();
        for (name, text) in [("x-sandfleet-reason", reason), ("x-sandfleet-queue", &batch)] {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        }
        let at = AMQPValue::LongLongInt(now - minutes * 60_000);
        headers.insert("x-sandfleet-at".into(), at);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_headers(headers)
            .with_message_id("mid\u{1b}[2J".into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent =
            channel.basic_publish(exchange.as_str().into(), "".into(), options, &body, properties);
        assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    }
    let listed = installation.run(&["queue", "list"]).await;
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 6), "{listed:#?}");
    for part in ["delivery_limit  3 min", "twin", "malformed", "no_job", "3 d"] {
        assert!(listed.stdout.contains(part), "{part}: {}", listed.stdout);
    }
    keep("queue-list", &format!("$ sandfleet queue list\n{}", listed.stdout));
    let overview = installation.run(&["queue"]).await;
    assert!(overview.stdout.contains("  4         3 d "), "{overview:#?}");
    keep("queue", &format!("$ sandfleet queue\n{}", overview.stdout));
    let key = listed.stdout.lines().find(|line| line.contains("u{202e}")).expect("it is listed");
    let key = key.split(' ').next().expect("a key");
    for arguments in [
        &["queue", "list", "--json"][..],
        &["queue", "show", key, "order-9", "--body"],
        &["queue", "show", "mid\u{1b}[2J"],
        &["queue", "requeue", key],
        &["queue", "drop", "--all", "--cause", "no_job", "--yes"],
        &["audit"],
    ] {
        let ran = installation.run(arguments).await;
        let shown = ran.stdout + &ran.stderr;
        assert!(!shown.is_empty(), "{arguments:?}");
        let is_safe = |c: char| sandfleet_common::is_printable(c) || c == '\n';
        assert!(shown.chars().all(is_safe), "{arguments:?}: {shown:?}");
        assert!(arguments.contains(&"--body") || !shown.contains("secret"), "{shown}");
    }
}
