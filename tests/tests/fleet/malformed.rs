//! Messages whose properties the AMQP library can't parse.

use std::time::Duration;

use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions},
};
use sandfleet_common::{Isolation, Job, JobResult, Priority, encode, names};
use sandfleet_sdk::Client;
use sandfleet_tests::{FleetWorker, Installation, RawPublisher, Services, eventually};
use tokio::time::Instant;

use crate::{admin::counts, result_of, stdout};

/// The flag of the headers among the properties.
const HEADERS: u16 = 1 << 13;
const MESSAGE_ID: u16 = 1 << 7;
const APP_ID: u16 = 1 << 3;

/// A message: its routing key, its properties, and what the reason has to say.
struct Poison {
    key: &'static [u8],
    flags: u16,
    properties: Vec<u8>,
    reason: &'static str,
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// A table of headers with one whose value is `depth` levels deep.
fn nested(tag: u8, depth: usize) -> Vec<u8> {
    let name: &[u8] = if tag == b'F' { b"\x01n" } else { b"" };
    // From the inside out, so it is put together in reverse.
    let mut reversed = b"V".to_vec();
    for _ in 0..depth {
        reversed.extend(name.iter().rev());
        let length = (reversed.len() as u32).to_be_bytes();
        reversed.extend(length.iter().rev());
        reversed.push(tag);
    }
    reversed.extend(b"\x01h".iter().rev());
    reversed.reverse();
    long(&reversed)
}

fn poisons() -> Vec<Poison> {
    let headers = |properties, reason| Poison { key: b"k", flags: HEADERS, properties, reason };
    let long_value = [b"\x01h".as_slice(), b"S", &long(&[b'x'; 130_000])].concat();
    let deep = "nested more than 16 levels deep";
    let too_long = "bytes long; the limit is 32768";
    vec![
        headers(nested(b'A', 3000), deep),
        headers(nested(b'F', 3000), deep),
        headers(nested(b'A', 20_000), too_long),
        headers(nested(b'F', 15_000), too_long),
        headers(long(&long_value), too_long),
        headers(long(b"\x02\xc3\x28V"), "the name of a header: not UTF-8"),
        Poison {
            key: b"k",
            flags: MESSAGE_ID,
            properties: b"\x02\xc3\x28".to_vec(),
            reason: "message_id: not UTF-8",
        },
        Poison {
            key: b"k",
            flags: APP_ID,
            properties: b"\x01\xff".to_vec(),
            reason: "app_id: not UTF-8",
        },
        Poison {
            key: b"\xff\xfe",
            flags: 0,
            properties: Vec::new(),
            reason: "the routing key: not UTF-8",
        },
    ]
}

async fn runs(client: &Client, text: &str) -> (Job, JobResult, Duration) {
    let began = Instant::now();
    let job = Job::new("python", format!("print('{text}')"));
    client.submit(&job).await.expect("the broker takes it");
    let result = result_of(client, &job.job_id).await;
    assert_eq!(stdout(&result), format!("{text}\n"));
    (job, result, began.elapsed())
}

fn is_untouched(worker: &FleetWorker) {
    let log = worker.log();
    for trace in ["not ready", "panicked", "overflow"] {
        assert!(!log.contains(trace), "{log}");
    }
}

/// Publishes each poison to `exchange`, and sees what becomes of it.
async fn each_costs_itself_only(exchange: impl AsyncFn(&Services) -> String) {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "2");
    let (worker, address) = installation.worker_with_admin("only").await;
    let client = services.client().await;
    let (job, result, _) = runs(&client, "before").await;
    let exchange = exchange(&services).await;
    let mut publisher = RawPublisher::connect(&services.admin.amqp_url).await;
    let poisons = poisons();
    for Poison { key, flags, properties, reason } in &poisons {
        let (body, began) = (encode(&job), Instant::now());
        publisher.publish(&exchange, key, (*flags, properties), &body).await;
        let (kept, why) = eventually(reason, || async { services.unreadable().await }).await;
        assert!(why.starts_with("its properties can't be parsed: "), "{why}");
        assert!(why.contains(reason), "{why:?} doesn't say {reason:?}");
        assert_eq!(kept, body);
        println!("set aside after {:?}: {why}", began.elapsed());
    }
    let (_, _, took) = runs(&client, "after").await;
    println!("a job after {} malformed messages: {took:?}", poisons.len());
    assert!(took < Duration::from_secs(5), "{took:?}: {}", worker.log());
    is_untouched(&worker);
    counts(address, "sandfleet_queue_unreadable_total", poisons.len() as u64).await;
    assert_eq!(worker.log().matches("a message can't be answered").count(), poisons.len());
    // The job that they all had in them ran once, and has its result.
    counts(address, "sandfleet_job_starts_total{language=\"python\"}", 2).await;
    assert_eq!(result_of(&client, &job.job_id).await, result);
    // A result is there before its message is acknowledged.
    eventually("empty queues", || async { services.is_empty().await.then_some(()) }).await;
}

#[tokio::test]
async fn a_malformed_message_among_the_jobs_costs_no_connection() {
    each_costs_itself_only(async |services: &Services| {
        // So that the routing key can be anything. It goes with the queue that it leads to.
        let exchange = format!("{}.any-key", services.prefix);
        let (_connection, channel) = services.channel().await.expect("the broker runs");
        let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        let name = exchange.as_str();
        let declared = channel.exchange_declare(
            name.into(),
            ExchangeKind::Fanout,
            options,
            Default::default(),
        );
        declared.await.expect("declared");
        let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
        let bound = channel.queue_bind(
            queue.as_str().into(),
            name.into(),
            "".into(),
            QueueBindOptions::default(),
            Default::default(),
        );
        bound.await.expect("bound");
        exchange
    })
    .await;
}

#[tokio::test]
async fn a_malformed_message_among_the_dead_letters_costs_no_connection() {
    each_costs_itself_only(async |services: &Services| names::dead_exchange(&services.prefix))
        .await;
}

#[tokio::test]
async fn who_marks_its_own_message_as_malformed_has_it_set_aside() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services);
    let (_worker, address) = installation.worker_with_admin("only").await;
    // The queues are there once a job has run.
    runs(&services.client().await, "before").await;
    let mut publisher = RawPublisher::connect(&services.admin.amqp_url).await;
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let headers = [b"\x15x-sandfleet-malformedS".as_slice(), &long(b"because\x1b[2J")].concat();
    let job = Job::new("python", "print('never')");
    publisher.publish("", queue.as_bytes(), (HEADERS, &long(&headers)), &encode(&job)).await;
    let (_, why) = eventually("the message", || async { services.unreadable().await }).await;
    assert!(why.contains("because") && !why.contains('\x1b'), "{why:?}");
    counts(address, "sandfleet_queue_deliveries_total", 2).await;
}
