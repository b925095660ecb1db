//! Queues without room, and messages that are too large.

use sandfleet_common::{Isolation, Job, Priority, names};
use sandfleet_sdk::{Client, ClientConfig, Error, QueueLimits};
use sandfleet_tests::{Services, eventually};

#[tokio::test]
async fn a_full_queue_names_itself_its_limit_and_the_way_out() {
    let services = Services::fresh();
    let queue_limits = QueueLimits { jobs: 3, bytes: 1 << 20 };
    let config = ClientConfig { queue_limits, ..services.admin_config() };
    let client = Client::connect(config).await.expect("the services run");
    let error =
        eventually("a refusal", || async { client.submit(&Job::new("python", "1")).await.err() })
            .await;
    let full = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    assert!(matches!(&error, Error::QueueFull { queue, .. } if *queue == full), "{error}");
    for part in ["max_jobs 3", "max_bytes 1048576", "submit the same job again later"] {
        assert!(error.to_string().contains(part), "{error} doesn't say {part:?}");
    }
    let mut batch = Job::new("python", "1");
    batch.priority = Priority::Batch;
    client.submit(&batch).await.expect("the other queue has room");
    // Whoever wants other limits is told what is there.
    let other = Client::connect(services.admin_config()).await.expect_err("other limits");
    let shown = other.to_string();
    assert!(matches!(other, Error::Mismatch { .. }), "{shown}");
    assert!(shown.contains("x-max-length") && shown.contains("exists with other"), "{shown}");
}
