//! New passwords while jobs run: the old ones stay valid until they are retired, and no job is lost.

use std::time::Duration;

use sandfleet_common::{Job, Status};
use sandfleet_sdk::{Client, ClientConfig};
use sandfleet_tests::Login;

use crate::servers::Servers;

#[tokio::test]
async fn passwords_are_rotated_while_jobs_run_and_none_is_lost() {
    let servers = Servers::start().await;
    let config = |login: Login| ClientConfig {
        amqp_url: login.amqp_url,
        redis_url: login.redis_url,
        prefix: servers.prefix.clone(),
        ..ClientConfig::default()
    };
    let client = Client::connect(config(servers.login("producer"))).await.expect("it is let in");
    let jobs: Vec<Job> = (0..40)
        .map(|n| Job::new("python", format!("import time; time.sleep(0.2); print({n})")))
        .collect();
    let old_worker = servers.installation("worker");
    let mut first = old_worker.worker("first");
    first.ready().await;
    for outcome in client.submit_batch(&jobs[..20]).await {
        outcome.expect("the broker takes it");
    }

    let old = ["producer", "worker"].map(|name| servers.login(name));
    servers.credentials.make(&["--rotate", "worker"]);
    servers.credentials.make(&["--rotate", "producer"]);
    servers.apply().await;
    let new = ["producer", "worker"].map(|name| servers.login(name));
    for (old, new) in old.iter().zip(&new) {
        assert_ne!((&old.amqp_url, &old.redis_url), (&new.amqp_url, &new.redis_url));
    }
    // Both are let in: processes of the old login go on, and may connect again.
    let again = Client::connect(config(old[0].clone())).await.expect("the old one is valid");
    let newer = Client::connect(config(new[0].clone())).await.expect("the new one is, too");
    for (client, jobs) in [(&again, &jobs[20..30]), (&newer, &jobs[30..])] {
        for outcome in client.submit_batch(jobs).await {
            outcome.expect("the broker takes it");
        }
    }
    let new_worker = servers.installation("worker");
    let mut second = new_worker.worker("second");
    second.ready().await;
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.ended().await, 0, "{}", first.log());

    for name in ["worker", "producer"] {
        let said = servers.credentials.make(&["--retire", name]);
        let user = servers.user(name);
        assert!(said.contains(&format!("rabbitmqctl delete_user {user}")), "{said}");
        servers.rabbitmqctl(&["delete_user", &user]);
    }
    servers.apply().await;
    let refused = Client::connect(config(old[0].clone())).await.expect_err("it is retired");
    assert!(refused.to_string().contains("refused the login"), "{refused}");
    let mut by_old = ClientConfig { redis_url: old[0].redis_url.clone(), ..config(new[0].clone()) };
    by_old.timeout = Duration::from_secs(5);
    let refused = Client::connect(by_old).await.expect_err("it is retired");
    assert!(refused.to_string().contains("refused the login"), "{refused}");

    let ids: Vec<_> = jobs.iter().map(|job| job.job_id.clone()).collect();
    for outcome in newer.wait_batch(&ids, Duration::from_secs(120)).await {
        assert_eq!(outcome.expect("it has a result").status, Status::Succeeded);
    }
}
