//! An operator's switches, in a whole fleet: what they hold waits, what they end is cancelled, and nothing is lost.

use std::time::{Duration, Instant};

use sandfleet_common::{Job, JobResult, JobState, Status};
use sandfleet_sdk::Client;
use sandfleet_tests::{FleetWorker, Installation, eventually};

use crate::servers::Servers;

struct Fleet {
    operator: Installation,
    worker: Installation,
    client: Client,
    servers: Servers,
}

impl Fleet {
    async fn start() -> Self {
        let servers = Servers::start().await;
        let client =
            Client::connect(servers.client_config("producer")).await.expect("it is let in");
        let worker = servers.installation("worker").set("WORKER_SLOTS", "4");
        Self { operator: servers.installation("operator"), worker, client, servers }
    }

    async fn worker(&self, id: &str) -> FleetWorker {
        let mut worker = self.worker.worker(id);
        worker.ready().await;
        worker
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let ran = self.operator.run(arguments).await;
        eprintln!("$ sandfleet {}\n{}{}", arguments.join(" "), ran.stdout, ran.stderr);
        ran.stdout + &ran.stderr
    }

    async fn submit(&self, tenant: &str, seconds: u32) -> Job {
        let mut job = Job::new("python", format!("import time; time.sleep({seconds})"));
        job.tenant = Some(tenant.to_owned());
        self.client.submit(&job).await.expect("the broker takes it");
        job
    }

    async fn result(&self, job: &Job) -> JobResult {
        self.client.wait(&job.job_id, Duration::from_secs(60)).await.expect("it has a result")
    }

    async fn runs(&self, job: &Job) {
        eventually("its start", || async {
            self.client.get(&job.job_id).await.expect("read").is_running().then_some(())
        })
        .await;
    }

    /// Waits until a message of a job that is held was put off.
    async fn held_once(&self, address: std::net::SocketAddr) {
        eventually("a held job", || async {
            let page = sandfleet_tests::http_get(address, "/metrics").await;
            let line = page
                .1
                .lines()
                .find_map(|it| it.strip_prefix("sandfleet_queue_held_total "))?
                .parse::<u64>();
            (line.ok()? > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_held_waits_through_a_restart_and_is_run_when_it_is_released() {
    let fleet = Fleet::start().await;
    assert!(fleet.run(&["hold", "--tenant", "acme"]).await.contains("hold tenant:acme"));
    let (first, address) = fleet.worker.worker_with_admin("first").await;
    let held: Vec<Job> = [fleet.submit("acme", 0).await, fleet.submit("acme", 0).await].into();
    let free = fleet.submit("shop", 0).await;
    assert_eq!(fleet.result(&free).await.status, Status::Succeeded);
    fleet.held_once(address).await;
    drop(first);
    let _second = fleet.worker("second").await;
    let free = fleet.submit("shop", 0).await;
    assert_eq!(fleet.result(&free).await.status, Status::Succeeded);
    for job in &held {
        let shown = fleet.run(&["result", job.job_id.as_str()]).await;
        assert!(shown.contains("an operator holds it back (hold tenant:acme since "), "{shown}");
        let state = fleet.client.get(&job.job_id).await.expect("read");
        let JobState::Queued(queued) = state else { panic!("{state:?}") };
        assert_eq!(queued.attempts, 0);
    }
    assert!(fleet.run(&["workers"]).await.contains("switch: hold tenant:acme since "));
    assert!(fleet.run(&["release", "--tenant", "acme"]).await.contains("released tenant:acme"));
    for job in &held {
        assert_eq!(fleet.result(job).await.status, Status::Succeeded);
    }
    assert!(fleet.run(&["release", "--tenant", "acme"]).await.contains("is not held"));
    drop(fleet.servers);
}

#[tokio::test]
async fn a_kill_ends_what_runs_of_a_tenant_at_once_and_nothing_else() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker("only").await;
    let (hit, spared) = (fleet.submit("acme", 600).await, fleet.submit("shop", 5).await);
    fleet.runs(&hit).await;
    fleet.runs(&spared).await;
    let thrown = Instant::now();
    fleet.run(&["kill", "--tenant", "acme"]).await;
    let result = fleet.result(&hit).await;
    let took = thrown.elapsed();
    assert_eq!(result.status, Status::Cancelled);
    assert!(result.message.contains("(kill tenant:acme) while it ran"), "{}", result.message);
    // The next renewal would come after five seconds.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(fleet.result(&spared).await.status, Status::Succeeded);
    let later = fleet.submit("acme", 0).await;
    assert_eq!(fleet.result(&later).await.status, Status::Succeeded, "a kill holds nothing back");
    assert!(worker.log().contains("an operator has thrown a switch"), "{}", worker.log());
    drop(fleet.servers);
}

#[tokio::test]
async fn a_drained_fleet_takes_nothing_until_it_is_released() {
    let fleet = Fleet::start().await;
    let worker = fleet.worker("only").await;
    let running = fleet.submit("acme", 2).await;
    fleet.runs(&running).await;
    fleet.run(&["drain"]).await;
    assert_eq!(fleet.result(&running).await.status, Status::Succeeded, "what runs goes on");
    eventually("the switch in the log", || async {
        worker.log().contains("hold all since ").then_some(())
    })
    .await;
    let waiting = fleet.submit("shop", 0).await;
    let shown = fleet.run(&["result", waiting.job_id.as_str()]).await;
    assert!(shown.contains("an operator holds it back (hold all since "), "{shown}");
    assert!(fleet.client.get(&waiting.job_id).await.expect("read").is_queued());
    fleet.run(&["release", "--all"]).await;
    assert_eq!(fleet.result(&waiting).await.status, Status::Succeeded);
    drop(fleet.servers);
}
