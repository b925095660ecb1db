//! Whose job it is: the broker vouches for the user that published it, also when a worker publishes it again.

use std::time::Duration;

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable},
};
use sandfleet_common::{Isolation, Job, JobResult, Priority, encode, names};
use sandfleet_sdk::Client;
use sandfleet_tests::Installation;

use crate::servers::Servers;

const USER_HEADER: &str = "x-sandfleet-user";

/// A worker's installation, to which its control groups belong.
fn installation(servers: &Servers, running_per_tenant: &str) -> Installation {
    let [acme, beta] = ["acme", "beta"].map(|name| servers.user(name));
    servers
        .installation("worker")
        .set("JOBS_TENANT_USERS", &format!("{acme}=acme,{beta}=beta"))
        .set("JOBS_MAX_RUNNING_PER_TENANT", running_per_tenant)
        .set("WORKER_SLOTS", "4")
}

async fn client(servers: &Servers, name: &str) -> Client {
    Client::connect(servers.client_config(name)).await.expect("it is let in")
}

fn job(tenant: Option<&str>, code: &str) -> Job {
    let mut job = Job::new("python", code);
    job.tenant = tenant.map(str::to_owned);
    job
}

async fn result_of(client: &Client, job: &Job) -> JobResult {
    client.wait(&job.job_id, Duration::from_secs(60)).await.expect("it has a result")
}

/// Publishes a job by other means than the SDK.
async fn publish(
    servers: &Servers,
    name: &str,
    job: &Job,
    properties: BasicProperties,
) -> lapin::Result<()> {
    let url = servers.login(name).amqp_url;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let queue = names::job_queue(&servers.prefix, Isolation::Container, Priority::Interactive);
    let exchange = names::jobs_exchange(&servers.prefix);
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let body = encode(job);
    let sent = channel.basic_publish(
        exchange.as_str().into(),
        queue.as_str().into(),
        options,
        &body,
        properties,
    );
    sent.await?.await.map(drop)
}

fn forged_header(servers: &Servers) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(USER_HEADER.into(), AMQPValue::LongString(servers.user("acme").into()));
    BasicProperties::default().with_headers(headers)
}

#[tokio::test]
async fn a_tenant_is_proven_by_the_user_that_submitted_the_job_and_by_nothing_it_writes() {
    let servers = Servers::start().await;
    let installation = installation(&servers, "0");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let (acme, beta) = (client(&servers, "acme").await, client(&servers, "beta").await);
    for (what, client, tenant, proven) in [
        ("its own", &acme, Some("acme"), Some(true)),
        ("another's own", &beta, Some("beta"), Some(true)),
        ("a forged tenant", &beta, Some("acme"), Some(false)),
        ("no tenant", &acme, None, None),
    ] {
        let job = job(tenant, "print(1)");
        client.submit(&job).await.expect("the broker takes it");
        assert_eq!(result_of(client, &job).await.tenant_proven, proven, "{what}");
    }

    let by_beta = || BasicProperties::default().with_user_id(servers.user("beta").into());
    for (what, properties) in [
        ("no user-id", BasicProperties::default()),
        ("a worker's header without a user-id", forged_header(&servers)),
        ("a worker's header", forged_header(&servers).with_user_id(servers.user("beta").into())),
        ("its own user-id", by_beta()),
    ] {
        let job = job(Some("acme"), "print(2)");
        publish(&servers, "beta", &job, properties).await.expect("the broker takes it");
        assert_eq!(result_of(&beta, &job).await.tenant_proven, Some(false), "{what}");
    }
    for forged in ["acme", "worker"].map(|name| servers.user(name)) {
        let job = job(Some("acme"), "print(3)");
        let properties = forged_header(&servers).with_user_id(forged.as_str().into());
        let refused = publish(&servers, "beta", &job, properties).await.expect_err(&forged);
        assert!(refused.to_string().contains("PRECONDITION"), "{refused}");
    }
}

#[tokio::test]
async fn a_job_that_a_worker_published_again_is_still_its_tenants() {
    let servers = Servers::start().await;
    let installation = installation(&servers, "1");
    let mut worker = installation.worker("only");
    worker.ready().await;
    let (acme, beta) = (client(&servers, "acme").await, client(&servers, "beta").await);
    let code = "import time; time.sleep(1)";
    let own: Vec<Job> = (0..3).map(|_| job(Some("acme"), code)).collect();
    let forged: Vec<Job> = (0..3).map(|_| job(Some("acme"), code)).collect();
    for (client, jobs) in [(&acme, &own), (&beta, &forged)] {
        for outcome in client.submit_batch(jobs).await {
            outcome.expect("the broker takes it");
        }
    }
    let mut results = Vec::new();
    for (client, jobs, proven) in [(&acme, &own, true), (&beta, &forged, false)] {
        for job in jobs {
            let result = result_of(client, job).await;
            assert_eq!(result.tenant_proven, Some(proven), "{result:?}");
            results.push(result);
        }
    }
    // One at a time with four slots free: all but the first went to the end of their queue, more than once.
    results.sort_by_key(|result| result.finished_at);
    let longest = results.last().expect("six").timing.queue_ms;
    assert!(longest >= 4000, "{longest} ms");
}
