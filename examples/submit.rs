//! Submits a program to a fleet on this machine and waits for its result.
//!
//! Run it with `cargo run -p sandfleet-sdk --example submit`, beside RabbitMQ, Redis and a worker.

use std::time::Duration;

use sandfleet_sdk::{Client, ClientConfig, Job};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = ClientConfig::default();
    if let Ok(url) = std::env::var("SANDFLEET_QUEUE_URL") {
        config.amqp_url = url;
    }
    if let Ok(url) = std::env::var("SANDFLEET_STORE_URL") {
        config.redis_url = url;
    }
    let client = Client::connect(config).await?;

    let mut job = Job::new("python", "import sys; print(sum(map(int, sys.stdin)))");
    job.stdin = Some("1\n2\n3\n".into());
    job.limits.wall_time_ms = Some(2_000);

    let id = client.submit(&job).await?;
    let result = client.wait(&id, Duration::from_secs(60)).await?;
    println!("{id}: {} ({})", result.status, result.message);
    if let Some(run) = result.run {
        print!("{}", run.stdout);
    }
    Ok(())
}
