//! A broker and a store whose only users are those of the roles, and the tests' own.

use std::{fs, process::Command, time::Duration};

use redis::aio::MultiplexedConnection;
use sandfleet_sdk::{QueueLimits, Tls};
use sandfleet_tests::{Credentials, Installation, Login, PrivateBroker, PrivateRedis};
use sandfleet_transport::{Broker, Publisher, Topology};
use tempfile::TempDir;

/// The fleet's prefix.
pub(crate) const PREFIX: &str = "own";
pub(crate) const ROLES: [&str; 3] = ["producer", "worker", "operator"];
const PASSWORD: &str = "of-the-tests";

pub(crate) struct Servers {
    pub(crate) credentials: Credentials,
    broker: PrivateBroker,
    store: PrivateRedis,
    directory: TempDir,
}

impl Servers {
    /// Both, with the queues of plain containers.
    pub(crate) async fn start() -> Self {
        let broker = PrivateBroker::start().await;
        let directory = TempDir::new().expect("room for files");
        let credentials = Credentials::at(directory.path().join("users"));
        credentials.make(&["--prefix", PREFIX, "--producer", "acme", "--producer", "beta"]);
        let acl = directory.path().join("redis.acl");
        write_acl(&credentials, &acl);
        let store = PrivateRedis::start(&["--aclfile", &acl.display().to_string()]).await;
        let mut servers = Self { credentials, broker, store, directory };
        servers.credentials.make(&[
            "--broker",
            &servers.amqp_host(),
            "--store",
            &servers.redis_host(),
        ]);
        servers.apply().await;
        servers.rabbitmqctl(&["delete_user", "guest"]);
        servers.declare().await;
        servers
    }

    /// Tells the servers what the script has written, as it says.
    pub(crate) async fn apply(&mut self) {
        let definitions = self.credentials.directory().join("rabbitmq.json");
        self.rabbitmqctl(&["import_definitions", &definitions.display().to_string()]);
        write_acl(&self.credentials, &self.directory.path().join("redis.acl"));
        let mut admin = self.admin().await;
        redis::cmd("ACL").arg("LOAD").exec_async(&mut admin).await.expect("the file is sound");
    }

    pub(crate) fn rabbitmqctl(&self, arguments: &[&str]) {
        let ran = Command::new(self.broker.ctl()).args(arguments).output().expect("it runs");
        assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    pub(crate) fn login(&self, name: &str) -> Login {
        self.credentials.login(name)
    }

    /// The store, by a user that may do everything.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        let url = format!("redis://tests:{PASSWORD}@{}/", self.redis_host());
        connection(&url).await
    }

    /// Commands with the login of `name`, without the tests' settings for other servers.
    pub(crate) fn installation(&self, name: &str) -> Installation {
        let Login { amqp_url, redis_url } = self.login(name);
        Installation::fresh()
            .set("QUEUE_URL", &amqp_url)
            .set("QUEUE_PREFIX", PREFIX)
            .set("STORE_URL", &redis_url)
            .set("STORE_PREFIX", PREFIX)
            .set("SANDBOX_BACKEND", "native")
    }

    async fn declare(&self) {
        let url = self.login("operator").amqp_url;
        let broker = Broker::new(&url, "tests", Duration::from_secs(30), &Tls::default());
        let isolations = vec![sandfleet_common::Isolation::Container];
        let topology =
            Topology { prefix: PREFIX.into(), isolations, limits: QueueLimits::default() };
        let publisher = Publisher::new(broker.expect("a URL"), topology);
        publisher.connect().await.expect("an operator may make queues");
    }

    fn amqp_host(&self) -> String {
        let url = self.broker.url();
        url.rsplit_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a host").0.into()
    }

    fn redis_host(&self) -> String {
        self.store.url().trim_start_matches("redis://").trim_end_matches('/').to_owned()
    }
}

fn write_acl(credentials: &Credentials, to: &std::path::Path) {
    let made = credentials.directory().join("redis.acl");
    let users = fs::read_to_string(made).expect("the script wrote it");
    fs::write(to, format!("{users}user tests on >{PASSWORD} ~* &* +@all\n")).expect("room");
}

pub(crate) async fn connection(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a valid URL");
    client.get_multiplexed_async_connection().await.expect("the store lets it in")
}
