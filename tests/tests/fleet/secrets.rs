//! TLS, certificates and passwords.

use std::path::Path;

use sandfleet_common::Job;
use sandfleet_sdk::{Client, ClientConfig, Error, Tls};
use sandfleet_tests::{Installation, Services, TestCa, eventually};

use crate::{result_of, stdout};

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn a_fleet_works_behind_tls_with_an_authority_and_certificates_of_its_own() {
    let (services, authority) = (Services::fresh(), TestCa::fresh());
    let (_broker, amqp_url) = services.amqp_behind_tls(authority.server(true)).await;
    let (_store, redis_url) = services.redis_behind_tls(authority.server(true)).await;
    assert!(amqp_url.starts_with("amqps://") && redis_url.starts_with("rediss://"));
    let (certificate, key) = authority.client_files();
    let ca = authority.ca_file();
    let mut installation = Installation::fresh()
        .on(&services)
        .set("QUEUE_URL", &amqp_url)
        .set("STORE_URL", &redis_url);
    for area in ["QUEUE", "STORE"] {
        installation = installation
            .set(&format!("{area}_CA_FILE"), &shown(&ca))
            .set(&format!("{area}_CERTIFICATE_FILE"), &shown(&certificate))
            .set(&format!("{area}_KEY_FILE"), &shown(&key));
    }
    let _worker = installation.worker("encrypted");
    let tls =
        Tls { ca_file: Some(ca.clone()), certificate_file: Some(certificate), key_file: Some(key) };
    // The proxy leads anybody to the broker: here a producer, who may submit.
    let login =
        |url: &str| url.split("//").nth(1).and_then(|it| it.split('@').next()).map(str::to_owned);
    let [worker, producer] =
        [&services.amqp_url, &services.producer.amqp_url].map(|url| login(url).expect("a login"));
    let config = ClientConfig {
        amqp_url: amqp_url.replace(&worker, &producer),
        amqp_tls: tls.clone(),
        redis_url,
        redis_tls: tls.clone(),
        ..services.client_config()
    };
    let client = Client::connect(config.clone()).await.expect("both trust each other");
    let job = Job::new("python", "print('encrypted')");
    client.submit(&job).await.expect("the broker takes it");
    let result = result_of(&client, &job.job_id).await;
    assert_eq!((stdout(&result), result.worker_id.as_str()), ("encrypted\n", "encrypted"));

    // Each part counts: without a certificate of ours they refuse, and without theirs we do.
    let anonymous = Tls { ca_file: Some(ca), ..Tls::default() };
    let foreign = TestCa::fresh();
    let stranger = Tls { ca_file: Some(foreign.ca_file()), ..Tls::default() };
    for (amqp_tls, redis_tls, refused) in [
        (anonymous.clone(), tls.clone(), "broker"),
        (stranger.clone(), tls.clone(), "broker"),
        (Tls::default(), tls.clone(), "broker"),
        (tls.clone(), anonymous, "store"),
        (tls.clone(), stranger, "store"),
        (tls, Tls::default(), "store"),
    ] {
        let config = ClientConfig { amqp_tls, redis_tls, ..config.clone() };
        let error = Client::connect(config).await.expect_err("no trust");
        match (refused, &error) {
            ("broker", Error::Broker { .. }) | ("store", Error::Store { .. }) => {}
            _ => panic!("{refused}: {error}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn no_log_at_any_level_holds_a_password_or_a_program() {
    let services = Services::fresh();
    let (user, password) = (services.prefix.clone(), "hunter2-pass%2Fword");
    let plain = "hunter2-pass/word";
    services.rabbitmqctl(&["add_user", &user, plain]);
    services.rabbitmqctl(&["set_permissions", &user, ".*", ".*", ".*"]);
    let acl = |verb: &str| {
        let mut command = redis::cmd("ACL");
        command.arg(verb).arg(&user);
        command
    };
    let mut redis = services.redis().await;
    let mut allow = acl("SETUSER");
    allow.arg(&["on", &format!(">{plain}"), "~*", "&*", "+@all"]);
    allow.query_async::<()>(&mut redis).await.expect("an administrator");

    let with_login = |url: &str| {
        let (scheme, rest) = url.split_once("://").expect("a URL");
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        (format!("{scheme}://{user}:{password}@{host}"), format!("{scheme}://{user}@{host}"))
    };
    let (amqp_url, _) = with_login(&services.amqp_url);
    let (_, redis_without) = with_login(&services.redis_url);
    let file = tempfile::NamedTempFile::new().expect("room for a file");
    std::fs::write(file.path(), format!("{plain}\n")).expect("room for a file");
    let installation = Installation::fresh()
        .on(&services)
        .set("QUEUE_URL", &amqp_url)
        .set("STORE_URL", &redis_without)
        .set("STORE_PASSWORD_FILE", &shown(file.path()))
        .set("LOG_LEVEL", "trace");
    let mut worker = installation.worker("talkative");
    let client = services.client().await;
    let job = Job::new("python", "print('private'[::-1])");
    client.submit(&job).await.expect("the broker takes it");
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "etavirp\n");
    worker.signal(rustix::process::Signal::TERM);
    assert_eq!(worker.ended().await, 0);
    services.rabbitmqctl(&["delete_user", &user]);
    acl("DELUSER").query_async::<()>(&mut redis).await.expect("an administrator");
    let log = worker.log();
    assert!(log.contains(" DEBUG ") && log.contains(&format!("{user}:***@")), "it says a lot");
    for secret in ["hunter2", "private", "etavirp"] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    // What a broker's library writes down as numbers is a password too.
    let numbers: Vec<String> = plain.bytes().map(|byte| byte.to_string()).collect();
    assert!(!log.contains(&numbers.join(", ")));
}

#[tokio::test]
async fn a_wrong_password_is_named_as_what_it_is_and_not_shown() {
    let services = Services::fresh();
    let rest = services.amqp_url.rsplit_once('@').expect("a login").1.to_owned();
    let installation = Installation::fresh()
        .on(&services)
        .set("QUEUE_URL", &format!("amqp://sandfleet-worker.1:wr0ng@{rest}"));
    let worker = installation.worker("refused");
    eventually("a refusal", || async {
        worker.log().contains("it refused the login").then_some(())
    })
    .await;
    assert!(!worker.log().contains("wr0ng"), "{}", worker.log());
}
