//! What operators see.

use std::net::SocketAddr;

use sandfleet_common::Job;
use sandfleet_tests::{Installation, Services, eventually, http_get};
use serde_json::Value;

use crate::result_of;

/// Waits until `metric` is `value`.
pub(crate) async fn counts(address: SocketAddr, metric: &str, value: u64) {
    let line = format!("{metric} {value}");
    eventually(&line, || async {
        let (_, page) = http_get(address, "/metrics").await;
        page.lines().any(|it| it == line).then_some(())
    })
    .await;
}

/// Waits until exactly `component` is not ready, or none if that is empty.
async fn lacks(address: SocketAddr, component: &str) {
    eventually(&format!("{component:?} as what isn't ready"), || async {
        let (status, body) = http_get(address, "/readyz").await;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let components = body["components"].as_object().expect("components");
        let names: Vec<&str> = components.keys().map(String::as_str).collect();
        assert_eq!(names, ["broker", "memory", "sandbox", "store"]);
        let mut lacking = components.iter().filter(|(_, said)| said["ok"] != true);
        assert_eq!(status, if components.values().all(|it| it["ok"] == true) { 200 } else { 503 });
        let is_it = match lacking.next() {
            Some((name, said)) => {
                assert!(said["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
                name == component && lacking.next().is_none()
            }
            None => component.is_empty(),
        };
        is_it.then_some(())
    })
    .await;
}

#[tokio::test]
async fn readiness_names_the_service_that_is_away() {
    let services = Services::fresh();
    let (redis, redis_url) = services.redis_relay().await;
    let (amqp, amqp_url) = services.amqp_relay().await;
    let installation = Installation::fresh()
        .on(&services)
        .set("STORE_URL", &redis_url)
        .set("QUEUE_URL", &amqp_url);
    let (_worker, address) = installation.worker_with_admin("only").await;
    lacks(address, "").await;
    for (proxy, component) in [(&redis, "store"), (&amqp, "broker")] {
        proxy.cut();
        lacks(address, component).await;
        assert_eq!(http_get(address, "/livez").await, (200, "alive\n".to_owned()));
        proxy.mend();
        lacks(address, "").await;
    }
    let client = services.client().await;
    let job = Job::new("python", "print('fine')");
    client.submit(&job).await.expect("the broker takes it");
    assert_eq!(crate::stdout(&result_of(&client, &job.job_id).await), "fine\n");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "2");
    let client = services.client().await;
    let (_worker, address) = installation.worker_with_admin("only").await;
    let mut writes = Job::new("python", "open('a', 'w').write('12345'); print('123')");
    writes.artifacts = vec!["a".into()];
    let fails = Job::new("bash", "exit 3");
    for job in [&writes, &fails] {
        client.submit(job).await.expect("the broker takes it");
        result_of(&client, &job.job_id).await;
    }
    services.push(sandfleet_common::Priority::Batch, b"no job").await;
    for (metric, value) in [
        ("sandfleet_queue_deliveries_total", 3),
        ("sandfleet_queue_unreadable_total", 1),
        ("sandfleet_job_starts_total{language=\"python\"}", 1),
        ("sandfleet_job_starts_total{language=\"bash\"}", 1),
        (
            "sandfleet_job_results_total{language=\"python\",priority=\"interactive\",status=\"succeeded\",verdict=\"accepted\"}",
            1,
        ),
        (
            "sandfleet_job_results_total{language=\"bash\",priority=\"interactive\",status=\"failed\",verdict=\"runtime_error\"}",
            1,
        ),
        ("sandfleet_job_output_bytes_total{stream=\"stdout\"}", 4),
        ("sandfleet_job_artifact_bytes_total", 5),
        ("sandfleet_worker_slots", 2),
        ("sandfleet_worker_slots_busy", 0),
        ("sandfleet_component_up{component=\"store\"}", 1),
    ] {
        counts(address, metric, value).await;
    }
}
