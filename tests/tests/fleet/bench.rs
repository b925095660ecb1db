//! `sandfleet bench`, on a fleet of one worker.

use sandfleet_tests::{Installation, Services};
use serde_json::Value;

/// What it says of a fleet with one slot.
async fn figures(arguments: &[&str]) -> Value {
    let services = Services::fresh();
    let installation = Installation::fresh().on(&services).set("WORKER_SLOTS", "1");
    let mut worker = installation.worker("bench");
    worker.ready().await;
    let ran = installation.run(&[&["bench", "--json"], arguments].concat()).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    serde_json::from_str(&ran.stdout).expect("one JSON object")
}

fn number(figures: &Value, pointer: &str) -> f64 {
    figures.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{figures:#}"))
}

#[tokio::test]
async fn a_load_that_the_fleet_can_carry_is_carried_at_its_rate() {
    let figures = figures(&["--jobs", "20", "--rate", "5"]).await;
    assert_eq!(number(&figures, "/statuses/succeeded"), 20.0, "{figures:#}");
    assert_eq!(figures["errors"], serde_json::json!({}));
    // The last of 20 has its turn after 3.8 s: whatever the fleet does, no more come than that.
    let throughput = number(&figures, "/throughput");
    assert!(throughput > 1.0 && throughput < 5.3, "{figures:#}");
    assert!(number(&figures, "/latency_ms/p50") <= number(&figures, "/latency_ms/max"));
}

/// One slot does two of these a second and is asked for twenty: a generator that waits for an
/// answer before it asks again would see half a second each.
#[tokio::test]
async fn a_load_beyond_the_fleet_shows_in_the_latency_and_not_in_fewer_questions() {
    let script = tempfile::NamedTempFile::with_suffix(".sh").expect("a file");
    std::fs::write(script.path(), "sleep 0.5").expect("it is written");
    let script = script.path().to_str().expect("text");
    let figures = figures(&[script, "--jobs", "10", "--rate", "20", "--concurrency", "1"]).await;
    assert_eq!(number(&figures, "/statuses/succeeded"), 10.0, "{figures:#}");
    // Ten times half a second, less the half second in which the turns were.
    assert!(number(&figures, "/latency_ms/max") > 4000.0, "{figures:#}");
    // With one open at a time no job waits for another once it is submitted.
    assert!(
        number(&figures, "/service_ms/p50") < number(&figures, "/latency_ms/p50"),
        "{figures:#}"
    );
}
