//! Jobs that run while a connection breaks, and messages that are too much for one.

use std::fs;

use lapin::{BasicProperties, options::BasicPublishOptions};
use sandfleet_common::{Isolation, JobId, Priority, Status, names};
use sandfleet_tests::{FleetWorker, Installation, Services, eventually};
use sandfleet_transport::Server;
use sandfleet_worker::services::readiness::READY;

use crate::{admin::counts, result_of, running, sleeper, stdout};

const MIB: usize = 1 << 20;

/// What the kernel says of a worker's memory, in bytes.
fn memory(worker: &FleetWorker, what: &str) -> usize {
    let path = format!("/proc/{}/status", worker.pid().as_raw_nonzero().get());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(what)).expect("a line");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse::<usize>().expect("a number") * 1024
}

#[tokio::test]
async fn a_job_that_ran_while_the_broker_was_away_does_not_run_again() {
    let services = Services::fresh();
    let (wire, url) = services.amqp_relay().await;
    let installation =
        Installation::fresh().on(&services).set("WORKER_SLOTS", "2").set("QUEUE_URL", &url);
    let client = services.client().await;
    let (worker, address) = installation.worker_with_admin("cut-off").await;
    let job = sleeper(2.0);
    client.submit(&job).await.expect("the broker takes it");
    running(&client, &job.job_id).await;
    wire.cut();
    // Its result is stored although the broker is away.
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((stdout(&result), result.attempt), ("slept\n", 1), "{}", worker.log());
    wire.mend();
    // The broker sends the job again, and it is acknowledged without another run.
    counts(address, "sandfleet_job_duplicates_total", 1).await;
    counts(address, "sandfleet_job_starts_total{language=\"python\"}", 1).await;
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let left = channel.queue_purge(queue.as_str().into(), Default::default()).await;
    assert_eq!(left.expect("the queue is there"), 0);
    assert_eq!(result_of(&client, &job.job_id).await, result);
}

#[tokio::test]
async fn a_broker_whose_dead_lettering_a_producer_can_stop_is_named_once_by_worker_and_doctor() {
    let services = Services::fresh();
    let version = services.rabbitmqctl(&["version"]).trim().to_owned();
    let server = Server { product: "RabbitMQ".into(), version: version.as_str().into() };
    let risk = server.dead_lettering_risk();
    let (wire, url) = services.amqp_relay().await;
    let installation = Installation::fresh().on(&services).set("QUEUE_URL", &url);
    let worker = installation.worker("one");
    worker.logs(READY).await;
    wire.cut();
    worker.logs("not ready").await;
    wire.mend();
    let connections = || async { worker.log().matches(READY).nth(1).map(|_| ()) };
    eventually("a second connection", connections).await;
    let warned = worker.log().matches("the header x-death of a producer").count();
    assert_eq!(warned, usize::from(risk.is_some()), "{}", worker.log());
    let doctor = installation.run(&["doctor", "--json"]).await;
    let rows: Vec<serde_json::Value> = serde_json::from_str(&doctor.stdout).expect("JSON");
    let row = rows.iter().find(|row| row["name"] == "broker version").expect("a row");
    let detail = row["detail"].as_str().expect("text");
    assert!(detail.starts_with(&format!("RabbitMQ {version}")), "{row}");
    match risk {
        Some(risk) => {
            assert_eq!((&row["state"], detail), (&"warning".into(), risk.as_str()));
            assert!(row["fix"].as_str().expect("text").contains("install RabbitMQ 4.0"), "{row}");
        }
        None => assert_eq!(row["state"], "ok", "{row}"),
    }
}

#[tokio::test]
async fn a_worker_rejects_a_huge_message_and_gives_its_memory_back() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let client = services.client().await;
    let mut worker = installation.worker("small");
    worker.ready().await;
    let (connection, channel) = services.channel().await.expect("the broker runs");
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let id = JobId::generate();
    let start = format!(r#"{{"version":1,"job_id":"{id}","language":"python","code":""#);
    let mut body = start.into_bytes();
    body.resize(100 * MIB, b'#');
    body.extend_from_slice(br#""}"#);
    channel
        .basic_publish(
            "".into(),
            queue.as_str().into(),
            BasicPublishOptions::default(),
            &body,
            BasicProperties::default(),
        )
        .await
        .expect("the broker takes it")
        .await
        .expect("sent");
    drop(body);
    let result = result_of(&client, &id).await;
    assert_eq!(result.status, Status::Rejected);
    assert!(result.message.contains("bytes long; the limit is 8388608"), "{}", result.message);
    let after = eventually("its memory", || async {
        let now = memory(&worker, "VmRSS:");
        (now < 60 * MIB).then_some(now)
    })
    .await;
    println!("{} MiB after a message of 100 MiB", after / MIB);
    connection.close(200, "done".into()).await.expect("it was open");
}

#[tokio::test]
async fn a_long_dead_letter_is_answered_in_memory_that_its_length_bounds() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let client = services.client().await;
    let mut worker = installation.worker("small");
    worker.ready().await;
    let id = JobId::generate();
    let start =
        format!(r#"{{"version":1,"job_id":"{id}","language":"python","code":"","args":["""#);
    // Strings of no length take eight times as much when they are read one by one.
    let body = [start.as_str(), &r#","""#.repeat(16 * MIB / 3), "]}"].concat();
    services.bury(body.as_bytes()).await;
    let result = result_of(&client, &id).await;
    assert_eq!(result.status, Status::Error);
    let most = memory(&worker, "VmHWM:");
    println!("{} MiB at most for a letter of {} MiB", most / MIB, body.len() / MIB);
    assert!(most < 130 * MIB, "{} MiB", most / MIB);
}
