//! What tenants use is counted once a job, and a budget's end refuses by name.

use std::time::Duration;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use sandfleet_common::{Job, JobResult, Status, names};
use sandfleet_sdk::Client;
use sandfleet_tests::{Services, claim, eventually, result};
use sandfleet_transport::records::{Claim, Claimed, Committed, Quota, TenantUsage};

use crate::servers::Servers;

const LONG: Duration = Duration::from_secs(600);

fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

fn of_acme(owner: &str, lease: Duration) -> Claim {
    let quota = Quota { account: "acme".into(), ..Quota::default() };
    Claim { quota, lease, ..claim(owner) }
}

#[tokio::test]
async fn a_job_counts_once_however_often_it_is_started_and_its_result_committed() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let job = Job::new("python", "1").job_id;
    let lost = of_acme("lost", Duration::from_millis(50));
    assert!(matches!(store.claim(&job, &lost).await, Ok(Claimed::Run { attempt: 1, .. })));
    let second = of_acme("second", LONG);
    eventually("another attempt", || async {
        matches!(store.claim(&job, &second).await, Ok(Claimed::Run { attempt: 2, .. }))
            .then_some(())
    })
    .await;
    let mut made = result(&job, "done");
    made.usage = Some(sandfleet_common::Usage { cpu_time_ms: 40, ..Default::default() });
    let bytes = sandfleet_common::encode(&made).len() as u64;
    for expected in [Committed::Stored, Committed::Stored] {
        assert_eq!(store.commit(&made, "second", LONG).await.expect("stored"), expected);
    }
    let late = store.commit(&result(&job, "late"), "lost", LONG).await.expect("an answer");
    assert_eq!(late, Committed::AlreadyThere);
    // A worker counts and reads none.
    let store = services.store(&services.operator.redis_url);
    let used = store.usage(today()).await.expect("read");
    assert_eq!(used["acme"], TenantUsage { cpu_ms: 40, jobs: 1, bytes });
    assert_eq!(used.len(), 1, "{used:?}");
    assert!(store.usage(today().yesterday().expect("a day")).await.expect("read").is_empty());
}

#[tokio::test]
async fn a_count_that_is_damaged_costs_no_result() {
    let services = Services::fresh();
    let store = services.store(&services.redis_url);
    let day = Timestamp::now().as_second() / 86_400;
    let mut admin = services.redis().await;
    let mut spoil = redis::cmd("SET");
    spoil.arg(names::usage_key(&services.prefix, &day.to_string())).arg("no hash");
    spoil.exec_async(&mut admin).await.expect("an administrator");
    let job = Job::new("python", "1").job_id;
    let mut limited = of_acme("a", LONG);
    limited.quota.budget.insert(sandfleet_transport::records::Resource::Jobs, 1);
    assert!(matches!(store.claim(&job, &limited).await, Ok(Claimed::Run { .. })));
    let stored = store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
    assert_eq!(stored, Committed::Stored);
}

async fn run(client: &Client, tenant: Option<&str>) -> JobResult {
    let mut job = Job::new("python", "sum(range(10**5))");
    job.tenant = tenant.map(str::to_owned);
    client.submit(&job).await.expect("the broker takes it");
    client.wait(&job.job_id, Duration::from_secs(60)).await.expect("it has a result")
}

#[tokio::test]
async fn the_end_of_a_budget_refuses_by_name_and_says_when_it_renews() {
    let servers = Servers::start().await;
    let worker = servers
        .installation("worker")
        .set("JOBS_BUDGETS", "acme.jobs=2,*.cpu_seconds=1000,(unproven).jobs=1")
        .set("JOBS_TENANT_USERS", &format!("{}=acme,{0}=shop", servers.user("acme")));
    let mut only = worker.worker("only");
    only.ready().await;
    let [acme, beta] = ["acme", "beta"].map(|name| servers.client_config(name));
    let acme = Client::connect(acme).await.expect("it is let in");
    let beta = Client::connect(beta).await.expect("it is let in");
    for _ in 0..2 {
        assert_eq!(run(&acme, Some("acme")).await.status, Status::Succeeded);
    }
    let refused = run(&acme, Some("acme")).await;
    assert_eq!((refused.status, refused.attempt), (Status::Rejected, 0), "{refused:?}");
    let tomorrow = today().tomorrow().expect("a day");
    let said = format!(
        "tenant acme has used up its budget of 2 jobs a day: 2 used; it renews at {tomorrow}T00:00:00Z"
    );
    assert!(refused.message.contains(&said), "{}", refused.message);
    assert_eq!(run(&acme, Some("shop")).await.status, Status::Succeeded);
    assert_eq!(run(&acme, None).await.status, Status::Succeeded);
    // Unproven names cost nothing to make up, so they share an account; acme's is not touched.
    assert_eq!(run(&beta, Some("acme")).await.status, Status::Succeeded);
    let refused = run(&beta, Some("another")).await;
    assert!(refused.message.contains("tenant (unproven) has used up"), "{}", refused.message);

    let operator = servers.installation("operator").set("JOBS_BUDGETS", "acme.jobs=2");
    let shown = operator.run(&["usage", "--json"]).await;
    let rows: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let counted: Vec<_> = rows.as_array().expect("an array").iter().collect();
    let counted: Vec<_> =
        counted.iter().map(|row| (row["tenant"].as_str(), row["jobs"].as_u64())).collect();
    let expected = [("(none)", 1), ("(unproven)", 1), ("acme", 2), ("shop", 1)];
    assert_eq!(counted, expected.map(|(name, jobs)| (Some(name), Some(jobs))), "{shown:#?}");
    assert_eq!(rows[2]["budget"]["jobs"], 2, "{shown:#?}");
    assert!(rows[2]["bytes"].as_u64() > Some(0), "{shown:#?}");
    let line = operator.run(&["usage", "--tenant", "acme"]).await;
    assert!(line.stdout.contains("jobs=2") && !line.stdout.contains("shop"), "{line:#?}");
    let none = operator.run(&["usage", "--day", "2020-01-01", "--json"]).await;
    assert_eq!(none.stdout, "[]\n");
    assert!(!only.log().contains("NOPERM"), "{}", only.log());
}
