//! Which sandbox a worker takes, and that `sandfleet doctor` judges the same one.

use rustix::process::Signal;
use sandfleet_tests::{Finished, Installation, Services};
use serde_json::Value;

/// What doctor finds, and its exit code, with `arguments`.
async fn examined(installation: &Installation, arguments: &[&str]) -> (i32, Vec<Value>, Finished) {
    let ran = installation.run(&[&["doctor", "--json"], arguments].concat()).await;
    let findings = serde_json::from_str(&ran.stdout);
    let findings = findings.unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    (ran.code, findings, ran)
}

fn sandbox(findings: &[Value]) -> &Value {
    let is_it = |finding: &&Value| finding["area"] == "worker" && finding["name"] == "sandbox";
    findings.iter().find(is_it).expect("it is judged")
}

fn in_state<'a>(findings: &'a [Value], state: &str) -> Vec<&'a str> {
    let found = findings.iter().filter(|finding| finding["state"] == state);
    found.map(|finding| finding["area"].as_str().expect("text")).collect()
}

#[tokio::test]
async fn auto_takes_the_native_sandbox_where_it_works_and_says_why() {
    let services = Services::fresh();
    let installation = Installation::fresh()
        .on(&services)
        .set("SANDBOX_BACKEND", "auto")
        .set("SANDBOX_DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let (code, findings, ran) = examined(&installation, &[]).await;
    assert_eq!(code, 0, "{ran:#?}");
    let detail = sandbox(&findings)["detail"].as_str().expect("text");
    assert!(detail.starts_with("native: auto: "), "{detail}");
    assert_eq!(in_state(&findings, "missing"), [""; 0], "nothing that is needed is missing");
    assert!(in_state(&findings, "unused").contains(&"docker"), "{ran:#?}");
    let mut worker = installation.worker("only");
    worker.ready().await;
    assert!(worker.log().contains("backend=\"native\"") && worker.log().contains("why=\"auto: "));
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().await, 0, "{}", worker.log());
}

#[tokio::test]
async fn where_native_cannot_be_used_auto_takes_no_outdated_engine_and_both_say_why() {
    let services = Services::fresh();
    // Allowing an outdated engine is for the engine that is named.
    let installation = Installation::fresh()
        .on(&services)
        .set("SANDBOX_BACKEND", "auto")
        .set("SANDBOX_CGROUP_PARENT", "/sandfleet-none-such/group");
    let strict = Installation::fresh().set("SANDBOX_ALLOW_OUTDATED_ENGINE", "false");
    let (_, findings, _) = examined(&strict, &["--sandbox", "docker"]).await;
    let is_outdated = !in_state(&findings, "missing").is_empty();
    let (code, findings, ran) = examined(&installation, &[]).await;
    let mut worker = installation.worker("only");
    if !is_outdated {
        // Not an engine of Debian's.
        assert_eq!(code, 0, "{ran:#?}");
        worker.ready().await;
        assert!(worker.log().contains("backend=\"docker\""), "{}", worker.log());
        return;
    }
    assert_eq!(code, 71, "{ran:#?}");
    let detail = sandbox(&findings)["detail"].as_str().expect("text").to_owned();
    assert_eq!(worker.ended().await, 71, "{}", worker.log());
    worker.logs("sandfleet: neither sandbox").await;
    for said in [&detail, &worker.log()] {
        for part in ["native: the barrier \"control groups\"", "docker: ", "known vulnerabilities"]
        {
            assert!(said.contains(part), "{said} does not say {part}");
        }
    }
    // Named and allowed, it is used.
    let named = Installation::fresh().on(&services).set("SANDBOX_BACKEND", "docker");
    let (code, findings, ran) = examined(&named, &[]).await;
    assert_eq!(code, 0, "{ran:#?}");
    assert!(sandbox(&findings)["detail"].as_str().is_some_and(|said| said.starts_with("docker: ")));
}

#[tokio::test]
async fn doctor_fails_for_what_the_worker_needs_and_for_nothing_else() {
    let services = Services::fresh();
    let closed = "127.0.0.1:1";
    let installation = || Installation::fresh().on(&services);
    let (broker, store) = (format!("amqp://{closed}"), format!("redis://{closed}"));
    let no_engine = "unix:///nonexistent/docker.sock";
    for (what, installation, arguments, code, missing) in [
        ("no broker", installation().set("QUEUE_URL", &broker), &[][..], 69, vec!["services"]),
        ("no store", installation().set("STORE_URL", &store), &[], 69, vec!["services"]),
        (
            "no broker, for sandfleet run",
            installation().set("QUEUE_URL", &broker),
            &["--sandbox", "native"],
            0,
            vec![],
        ),
        (
            "no engine, which is named",
            installation().set("SANDBOX_BACKEND", "docker").set("SANDBOX_DOCKER_HOST", no_engine),
            &[],
            71,
            vec!["worker", "docker"],
        ),
        (
            "no engine, which is not needed",
            installation().set("SANDBOX_DOCKER_HOST", no_engine),
            &[],
            0,
            vec![],
        ),
    ] {
        let (found, findings, ran) = examined(&installation, arguments).await;
        assert_eq!(found, code, "{what}: {ran:#?}");
        assert_eq!(in_state(&findings, "missing"), missing, "{what}");
    }
}
