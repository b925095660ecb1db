//! A second message under the id of a job, with another payload: whatever it says, and wherever the
//! job is, the job's result is its own. These are the rows of the twin table in docs/protocol.md.

use lapin::{BasicProperties, options::BasicPublishOptions};
use sandfleet_common::{
    Isolation, Job, JobResult, Priority, Status, encode, names, payload_digest,
};
use sandfleet_sdk::{Client, Error, QueueLimits, Tls};
use sandfleet_tests::{DEADLINE, FleetWorker, Installation, Services, eventually};
use sandfleet_transport::{Broker, Topology};
use serde_json::json;

use crate::{result_of, running, sleeper, stdout};

/// The longest job of these fleets, in bytes.
const MAX_BYTES: usize = 64 << 10;

struct Fleet {
    services: Services,
    client: Client,
    installation: Installation,
    workers: Vec<FleetWorker>,
}

impl Fleet {
    async fn start() -> Self {
        let services = Services::fresh();
        let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "2");
        let installation = installation.set("JOBS_MAX_BYTES", &MAX_BYTES.to_string());
        let client = services.client().await;
        Self { services, client, installation, workers: Vec::new() }
    }

    /// Two, so that a twin comes to another worker as likely as not.
    fn start_workers(&mut self) {
        self.workers = ["left", "right"].map(|id| self.installation.worker(id)).into();
    }

    async fn set_aside(&self) {
        let (_, reason) = eventually("a message that was set aside", || async {
            self.services.unreadable().await
        })
        .await;
        assert!(reason.contains("another job has the id"), "{reason}");
        assert_eq!(self.services.unreadable().await, None, "there was one");
    }
}

/// Sends a twin of a job that waits, of one that runs, and of one that has ended.
async fn every_state(send: impl AsyncFn(&Services, &Job)) {
    let mut fleet = Fleet::start().await;
    // It waits in the slower queue, and is the second message that a worker gets.
    let mut waits = Job::new("python", "print('real')");
    waits.priority = Priority::Batch;
    fleet.client.submit(&waits).await.expect("the broker takes it");
    send(&fleet.services, &waits).await;
    fleet.start_workers();
    let result = result_of(&fleet.client, &waits.job_id).await;
    assert_eq!(stdout(&result), "real\n");
    fleet.set_aside().await;

    let runs = sleeper(2.0);
    fleet.client.submit(&runs).await.expect("the broker takes it");
    running(&fleet.client, &runs.job_id).await;
    send(&fleet.services, &runs).await;
    // While it runs: its end is not waited for.
    fleet.set_aside().await;
    assert!(fleet.client.get(&runs.job_id).await.expect("read").is_running());
    let ran = result_of(&fleet.client, &runs.job_id).await;
    assert_eq!((stdout(&ran), ran.attempt), ("slept\n", 1));

    send(&fleet.services, &runs).await;
    fleet.set_aside().await;
    unchanged(&fleet, &runs, &ran).await;
    unchanged(&fleet, &waits, &result).await;
}

async fn unchanged(fleet: &Fleet, job: &Job, result: &JobResult) {
    assert_eq!(result_of(&fleet.client, &job.job_id).await, *result);
}

async fn push(services: &Services, message: &[u8]) {
    services.push(Priority::Interactive, message).await;
}

fn invalid(job: &Job) -> Vec<u8> {
    json!({ "version": 1, "job_id": job.job_id, "language": ["python"] }).to_string().into_bytes()
}

/// Makes another text of a job's JSON.
type Spell = fn(&str) -> String;

/// The payload of `job` as no valid message spells it: each has the digest of the valid one, and a fault.
const MISSPELT: [(&str, Spell); 5] = [
    ("a float for an integer", |job| job.replace("\"version\":1,", "\"version\":1.0,")),
    ("an exponent", |job| job.replace("\"version\":1,", "\"version\":1e0,")),
    ("a member twice", |job| job.replace("\"limits\":{},", "\"limits\":{},\"limits\":{},")),
    ("no time", |job| job.replace("\"version\":1,", "\"version\":1,\"queued_at\":\"soon\",")),
    ("too much white space", |job| format!("{}{job}", " ".repeat(MAX_BYTES))),
];

fn misspelt(job: &Job, spell: Spell) -> Vec<u8> {
    let job = Job { queued_at: None, ..job.clone() };
    let text = String::from_utf8(encode(&job)).expect("JSON is text");
    let misspelt = spell(&text);
    assert_ne!(misspelt, text);
    assert_eq!(payload_digest(misspelt.as_bytes()), payload_digest(text.as_bytes()));
    misspelt.into_bytes()
}

async fn a_misspelling_changes_nothing(number: usize) {
    let (_, spell) = MISSPELT[number];
    every_state(async |services: &Services, job: &Job| {
        push(services, &misspelt(job, spell)).await;
    })
    .await;
}

fn other_code(job: &Job) -> Job {
    let mut twin = Job::new("python", "print('twin')");
    twin.job_id = job.job_id.clone();
    twin
}

#[tokio::test]
async fn an_invalid_twin_changes_nothing() {
    every_state(async |services: &Services, job: &Job| push(services, &invalid(job)).await).await;
}

#[tokio::test]
async fn a_float_for_an_integer_of_the_same_payload_changes_nothing() {
    a_misspelling_changes_nothing(0).await;
    a_misspelling_changes_nothing(1).await;
}

#[tokio::test]
async fn a_doubled_member_of_the_same_payload_changes_nothing() {
    a_misspelling_changes_nothing(2).await;
}

#[tokio::test]
async fn a_bad_time_beside_the_same_payload_changes_nothing() {
    a_misspelling_changes_nothing(3).await;
}

#[tokio::test]
async fn the_same_payload_with_too_much_white_space_changes_nothing() {
    a_misspelling_changes_nothing(4).await;
}

#[tokio::test]
async fn a_dead_letter_that_misspells_the_payload_changes_nothing() {
    every_state(async |services: &Services, job: &Job| {
        services.bury(&misspelt(job, MISSPELT[0].1)).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_record_a_misspelling_that_comes_first_is_rejected_and_keeps_the_id() {
    let mut fleet = Fleet::start().await;
    fleet.start_workers();
    for (name, spell) in MISSPELT {
        let job = Job::new("python", "print('late')");
        push(&fleet.services, &misspelt(&job, spell)).await;
        let result = result_of(&fleet.client, &job.job_id).await;
        assert_eq!(result.status, Status::Rejected, "{name}");
        // The same bytes once more are a copy.
        push(&fleet.services, &misspelt(&job, spell)).await;
        push(&fleet.services, &encode(&job)).await;
        fleet.set_aside().await;
        unchanged(&fleet, &job, &result).await;
        let error = fleet.client.submit(&job).await.expect_err("the id is taken");
        assert!(matches!(error, Error::Conflict { .. }), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_twin_with_other_code_in_a_quicker_queue_changes_nothing() {
    every_state(async |services: &Services, job: &Job| {
        push(services, &encode(&other_code(job))).await;
    })
    .await;
}

#[tokio::test]
async fn a_twin_whose_time_is_over_changes_nothing() {
    every_state(async |services: &Services, job: &Job| {
        let twin = Job { ttl_ms: Some(1), ..job.clone() };
        push(services, &encode(&twin)).await;
    })
    .await;
}

#[tokio::test]
async fn a_twin_that_expires_in_the_broker_changes_nothing() {
    every_state(async |services: &Services, job: &Job| {
        let (connection, channel) = services.channel().await.expect("the broker runs");
        // In a queue that none of these workers serves: only what waits expires.
        let topology = Topology {
            prefix: services.prefix.clone(),
            isolations: vec![Isolation::GVisor],
            limits: QueueLimits::default(),
        };
        let broker = Broker::new(&services.admin.amqp_url, "twin", DEADLINE, &Tls::default());
        let broker = broker.expect("a valid URL");
        topology.declare(&broker, &connection).await.expect("declared");
        let queue = names::job_queue(&services.prefix, Isolation::GVisor, Priority::Batch);
        let body = encode(&other_code(job));
        let sent = channel.basic_publish(
            "".into(),
            queue.as_str().into(),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default().with_expiration("1".into()),
        );
        sent.await.expect("sent");
        // What was sent is there when the channel's end is confirmed.
        channel.close(200, "sent".into()).await.expect("closed");
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_of_a_twin_changes_nothing() {
    every_state(async |services: &Services, job: &Job| {
        services.bury(&encode(&other_code(job))).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_record_the_first_message_decides_what_the_id_stands_for() {
    let mut fleet = Fleet::start().await;
    fleet.start_workers();
    // Both came by other means than the SDK.
    let valid = Job::new("python", "print('real')");
    push(&fleet.services, &encode(&valid)).await;
    let result = result_of(&fleet.client, &valid.job_id).await;
    push(&fleet.services, &invalid(&valid)).await;
    fleet.set_aside().await;
    unchanged(&fleet, &valid, &result).await;
    assert_eq!(stdout(&result), "real\n");

    let late = Job::new("python", "print('late')");
    push(&fleet.services, &invalid(&late)).await;
    let result = result_of(&fleet.client, &late.job_id).await;
    assert_eq!(result.status, Status::Rejected);
    push(&fleet.services, &encode(&late)).await;
    fleet.set_aside().await;
    unchanged(&fleet, &late, &result).await;
    let error = fleet.client.submit(&late).await.expect_err("the id is taken");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
}

#[tokio::test]
async fn a_copy_of_the_message_is_no_twin() {
    let mut fleet = Fleet::start().await;
    fleet.start_workers();
    let job = sleeper(1.0);
    fleet.client.submit(&job).await.expect("the broker takes it");
    running(&fleet.client, &job.job_id).await;
    // In another order, and at another time.
    let mut copy = serde_json::to_value(&job).expect("JSON");
    copy["queued_at"] = json!("2020-01-01T00:00:00Z");
    push(&fleet.services, &serde_json::to_vec_pretty(&copy).expect("JSON")).await;
    // The broker gives one up while its job runs: it has to wait, and then it is done with.
    fleet.services.bury(&encode(&job)).await;
    let result = result_of(&fleet.client, &job.job_id).await;
    assert_eq!((stdout(&result), result.attempt), ("slept\n", 1));
    eventually("the end of the copies", || async { fleet.services.is_empty().await.then_some(()) })
        .await;
    assert_eq!(fleet.services.unreadable().await, None);
    unchanged(&fleet, &job, &result).await;
}

#[tokio::test]
async fn a_job_of_an_older_fleet_is_run_and_defined_by_its_first_claim() {
    let mut fleet = Fleet::start().await;
    let mut redis = fleet.services.redis().await;
    let (waits, ran) = (Job::new("python", "print('old')"), Job::new("python", "print('again')"));
    // As older producers and workers wrote them: a digest of their own, or none; no payload.
    for (job, attempts) in [(&waits, None), (&ran, Some("1"))] {
        let key = names::record_key(&fleet.services.prefix, &job.job_id);
        let now = jiff::Timestamp::now().as_millisecond();
        let mut record = redis::cmd("HSET");
        record.arg(&key).arg("queued_at").arg(now).arg("digest").arg("of another form");
        if let Some(attempts) = attempts {
            record.arg("attempts").arg(attempts);
        }
        record.query_async::<()>(&mut redis).await.expect("written");
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(&key).arg(600_000).query_async::<()>(&mut redis).await.expect("written");
        push(&fleet.services, &encode(job)).await;
        // A producer that is newer submits it once more: it is published again.
        fleet.client.submit(job).await.expect("the broker takes it");
    }
    fleet.start_workers();
    for (job, printed, attempt) in [(&waits, "old\n", 1), (&ran, "again\n", 2)] {
        let result = result_of(&fleet.client, &job.job_id).await;
        assert_eq!((stdout(&result), result.attempt), (printed, attempt));
        push(&fleet.services, &encode(&other_code(job))).await;
        fleet.set_aside().await;
        unchanged(&fleet, job, &result).await;
    }
}
