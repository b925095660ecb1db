//! Requeueing and dropping what no worker settled: who may, what becomes of the job, and what is noted.

use std::time::Duration;

use lapin::{
    BasicProperties,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{Isolation, Job, JobState, Status, encode, names};
use sandfleet_sdk::Client;
use sandfleet_tests::Installation;
use serde_json::Value;

use crate::servers::Servers;

const SECRET: &str = "correct horse";

fn job(tenant: Option<&str>) -> Job {
    let mut job = Job::new("python", format!("print({SECRET:?})"));
    job.tenant = tenant.map(str::to_owned);
    job
}

impl Servers {
    /// Publishes a message to an exchange of the fleet's, with headers and without a user-id.
    async fn put(&self, exchange: &str, body: &[u8], headers: &[(&str, &str)]) {
        let (_connection, channel) = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let properties = BasicProperties::default().with_delivery_mode(2).with_headers(table);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let sent =
            channel.basic_publish(self.own(exchange).into(), "".into(), options, body, properties);
        assert!(sent.await.expect("sent").await.expect("confirmed").is_ack());
    }

    /// Submits a job and moves its message to another exchange.
    async fn submit_to(&self, client: &Client, job: &Job, exchange: &str, reason: &str) {
        client.submit(job).await.expect("the broker takes it");
        let JobState::Queued(queued) = client.get(&job.job_id).await.expect("read") else {
            panic!("no worker runs");
        };
        let queue = queued.queue.expect("its queue");
        let (_connection, channel) = self.channel().await;
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await;
        let message = got.expect("the queue is there").expect("its message");
        let headers = [("x-sandfleet-reason", reason), ("x-sandfleet-queue", queue.as_str())];
        self.put(exchange, &message.data, &headers).await;
    }
}

async fn events(operator: &Installation, action: &str) -> Vec<Value> {
    let shown = operator.run(&["audit", "--json"]).await;
    let events = shown.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    events.filter(|event: &Value| event["action"] == action).collect()
}

#[tokio::test]
async fn a_requeued_message_runs_once_and_it_is_noted_who_did_it() {
    let servers = Servers::start().await;
    let [worker, operator] = ["worker", "operator"].map(|name| servers.installation(name));
    let client = Client::connect(servers.client_config("producer")).await.expect("it is let in");
    let [dead, malformed] = [job(None), job(Some("acme"))];
    let id = |job: &Job| job.job_id.to_string();
    servers.submit_to(&client, &dead, ".dead", "delivery_limit").await;
    let reason = "its properties can't be parsed: the name of a header: not UTF-8";
    servers.submit_to(&client, &malformed, ".dead.unreadable", reason).await;

    let shown = operator.run(&["queue", "show", &id(&dead), &id(&malformed)]).await;
    assert_eq!(shown.code, 0, "{shown:#?}");
    assert!(!shown.stdout.contains(SECRET), "{shown:#?}");
    assert_eq!(shown.stdout.matches("waits for its result").count(), 2, "{shown:#?}");
    let whole = operator.run(&["queue", "show", &id(&dead), "--body"]).await;
    assert!(whole.stdout.contains(SECRET), "{whole:#?}");
    for (filter, count) in [
        (["--tenant", "acme"], 1),
        (["--tenant", "other"], 0),
        (["--language", "python"], 2),
        (["--cause", "malformed"], 1),
        (["--in", "dead"], 1),
    ] {
        let listed = operator.run(&[&["queue", "list", "--json"][..], &filter].concat()).await;
        assert_eq!(listed.stdout.lines().count(), count, "{filter:?}: {listed:#?}");
    }

    let none = operator.run(&["queue", "requeue", "--all", "--cause", "twin"]).await;
    assert!(none.code == 0 && none.stderr.contains("no such message"), "{none:#?}");
    let by_cause = operator.run(&["queue", "requeue", "--all", "--cause", "malformed"]).await;
    assert_eq!((by_cause.code, by_cause.stdout.lines().count()), (0, 1), "{by_cause:#?}");
    let by_id = operator.run(&["queue", "requeue", &id(&dead)]).await;
    assert_eq!((by_id.code, by_id.stdout.lines().count()), (0, 1), "{by_id:#?}");

    // Who published a message first is noted by the operator, whom workers have to believe for that.
    let worker = worker
        .set("QUEUE_WORKER_USERS", &servers.user("operator"))
        .set("JOBS_TENANT_USERS", &format!("{}=acme", servers.user("producer")));
    let mut only = worker.worker("only");
    only.ready().await;
    for job in [&dead, &malformed] {
        let result = client.wait(&job.job_id, Duration::from_secs(60)).await.expect("a result");
        assert_eq!(result.status, Status::Succeeded, "{result:#?}");
        assert_eq!(result.attempt, 1);
    }
    drop(only);

    let noted = events(&operator, "requeued").await;
    assert_eq!(noted.len(), 2, "{noted:#?}");
    assert_eq!(noted[0]["subject"], id(&malformed));
    assert_eq!((&noted[0]["tenant"], &noted[1]["subject"]), (&"acme".into(), &id(&dead).into()));
    let detail = noted[1]["detail"].as_str().expect("a text");
    assert!(detail.starts_with("from dead (delivery_limit) to "), "{detail}");
    for event in &noted {
        assert_eq!(event["broker_user"], servers.user("operator"), "{event}");
        assert!(!event.to_string().contains(SECRET), "{event}");
    }

    // A job has one result: a copy of its message isn't run again, and can only be dropped.
    servers.put(".dead.unreadable", &encode(&dead), &[("x-sandfleet-reason", reason)]).await;
    let again = operator.run(&["queue", "requeue", &id(&dead)]).await;
    assert_eq!(again.code, 65, "{again:#?}");
    assert!(again.stdout.contains("its job has ended (succeeded)"), "{again:#?}");
    let dropped = operator.run(&["queue", "drop", &id(&dead), "--yes"]).await;
    assert!(dropped.code == 0 && dropped.stdout.ends_with("removed\n"), "{dropped:#?}");
    let gone = operator.run(&["queue", "show", &id(&dead)]).await;
    assert_eq!(gone.code, 66, "{gone:#?}");
    assert!(matches!(client.get(&dead.job_id).await, Ok(JobState::Done(_))), "its result stays");
}

#[tokio::test]
async fn a_dropped_message_leaves_no_job_that_waits_in_vain() {
    let servers = Servers::start().await;
    let operator = servers.installation("operator");
    let client = Client::connect(servers.client_config("producer")).await.expect("it is let in");
    let [waiting, twin] = [job(Some("acme")), job(None)];
    servers.submit_to(&client, &waiting, ".dead", "rejected").await;
    client.submit(&twin).await.expect("the broker takes it");
    let mut other = twin.clone();
    other.code = Some("print('another program')".into());
    let reason = format!("another job has the id {}: its payload differs", twin.job_id);
    servers.put(".dead.unreadable", &encode(&other), &[("x-sandfleet-reason", &reason)]).await;
    servers.put(".dead.unreadable", b"no job \x1b[2J", &[("x-sandfleet-reason", "no JSON")]).await;

    let mut stronger = job(None);
    stronger.isolation = Isolation::GVisor;
    let malformed = [("x-sandfleet-reason", "its properties can't be parsed: a header")];
    servers.put(".dead.unreadable", &encode(&stronger), &malformed).await;
    let damaged = job(None);
    let mut break_record = redis::cmd("SET");
    break_record.arg(names::record_key(&servers.prefix, &damaged.job_id)).arg("no hash");
    break_record.exec_async(&mut servers.admin().await).await.expect("an administrator");
    let reason = [("x-sandfleet-reason", "the job's keys are damaged: of another type")];
    servers.put(".dead.unreadable", &encode(&damaged), &reason).await;

    let refused = operator.run(&["queue", "requeue", "--all", "--in", "unreadable"]).await;
    assert_eq!(refused.code, 65, "{refused:#?}");
    assert!(refused.stdout.contains("there is no queue"), "{refused:#?}");
    assert!(refused.stdout.contains("another job has its id"), "{refused:#?}");
    assert!(refused.stdout.contains("it names no job"), "{refused:#?}");
    assert!(refused.stdout.contains("what became of its job is not known"), "{refused:#?}");

    let unasked = operator.run(&["queue", "drop", "--all"]).await;
    assert!(unasked.code == 64 && unasked.stderr.contains("--yes"), "{unasked:#?}");
    let dropped = operator.run(&["queue", "drop", "--all", "--yes"]).await;
    assert_eq!((dropped.code, dropped.stdout.lines().count()), (0, 5), "{dropped:#?}");
    let result = client.wait(&waiting.job_id, Duration::from_secs(10)).await.expect("a result");
    assert_eq!(result.status, Status::Cancelled, "{result:#?}");
    // The message was another job's that only has its id.
    assert!(matches!(client.get(&twin.job_id).await, Ok(JobState::Queued(_))));
    let noted = events(&operator, "purged").await;
    assert_eq!(noted.len(), 5, "{noted:#?}");
    assert_eq!(noted[0]["subject"], waiting.job_id.as_str());
    assert_eq!(noted[0]["detail"], "from dead (rejected)");
    let empty = operator.run(&["queue", "list"]).await;
    assert!(empty.stdout.is_empty() && empty.stderr.contains("no such message"), "{empty:#?}");
}

#[tokio::test]
async fn other_roles_may_neither_look_nor_change() {
    let servers = Servers::start().await;
    let operator = servers.installation("operator");
    servers.put(".dead.unreadable", b"no job", &[("x-sandfleet-reason", "no JSON")]).await;
    for role in ["producer", "worker"] {
        let own = servers.installation(role);
        for command in [
            &["queue", "list", "unreadable"][..],
            &["queue", "requeue", "--all"],
            &["queue", "drop", "--all", "--yes"],
        ] {
            let tried = own.run(command).await;
            assert_eq!(tried.code, 69, "{role}: {command:?}: {tried:#?}");
            assert!(tried.stderr.contains("refused for user"), "{role}: {command:?}: {tried:#?}");
        }
    }
    let left = operator.run(&["queue", "list", "--json"]).await;
    assert_eq!(left.stdout.lines().count(), 1, "{left:#?}");
}
