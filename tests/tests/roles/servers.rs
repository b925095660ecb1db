//! The users of one fleet, made on the tests' broker and store by the script that makes them in production.

use std::fs;

use redis::aio::MultiplexedConnection;
use sandfleet_sdk::ClientConfig;
use sandfleet_tests::{Credentials, Installation, Login, Services, setting};
use tempfile::TempDir;
use uuid::Uuid;

/// The operator comes last, who may delete what the others ask for.
pub(crate) const ROLES: [&str; 4] = ["producer", "worker", "exporter", "operator"];

/// A fleet whose users have no rights but those of their roles, and the queues of plain containers.
pub(crate) struct Servers {
    pub(crate) credentials: Credentials,
    /// How the names of its queues and keys begin.
    pub(crate) prefix: String,
    /// How the names of its users begin.
    pub(crate) users: String,
    services: Services,
    _directory: TempDir,
}

impl Servers {
    pub(crate) async fn start() -> Self {
        let services = Services::fresh();
        services.declare();
        let directory = TempDir::new().expect("room for files");
        let credentials = Credentials::at(directory.path().join("users"));
        let users = format!("u{}", Uuid::now_v7().simple());
        let prefix = services.prefix.clone();
        let host = |url: &str| {
            let rest = url.rsplit_once('@').expect("a login").1;
            rest.split_once('/').expect("a path").0.to_owned()
        };
        credentials.make(&[
            "--prefix",
            &prefix,
            "--users",
            &users,
            "--producer",
            "acme",
            "--producer",
            "beta",
            "--broker",
            &host(&services.admin.amqp_url),
            "--store",
            &host(&services.admin.redis_url),
        ]);
        let servers = Self { credentials, prefix, users, services, _directory: directory };
        servers.apply().await;
        servers
    }

    /// Tells the servers what the script has written.
    pub(crate) async fn apply(&self) {
        let read = |name: &str| {
            let file = self.credentials.directory().join(name);
            fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        };
        let definitions = self.credentials.directory().join("rabbitmq.json");
        self.rabbitmqctl(&["import_definitions", &definitions.display().to_string()]);
        // What ACL LOAD does with the file; the servers of the tests were started with such a one.
        let mut admin = self.admin().await;
        for line in read("redis.acl").lines() {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(words[0], "user", "{line}");
            if words[1] == "default" {
                continue;
            }
            let mut set = redis::cmd("ACL");
            set.arg("SETUSER").arg(words[1]).arg("reset");
            for rule in selectors(&words[2..]) {
                set.arg(rule);
            }
            set.exec_async(&mut admin).await.unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    /// The user of the broker called `name` in the directory, with its first password.
    pub(crate) fn user(&self, name: &str) -> String {
        format!("{}-{name}.1", self.users)
    }

    /// A name of the fleet's with its prefix.
    pub(crate) fn own(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    pub(crate) fn rabbitmqctl(&self, arguments: &[&str]) {
        self.services.rabbitmqctl(arguments);
    }

    pub(crate) fn login(&self, name: &str) -> Login {
        self.credentials.login(name)
    }

    /// How a client logs in as `name`.
    pub(crate) fn client_config(&self, name: &str) -> ClientConfig {
        let Login { amqp_url, redis_url } = self.login(name);
        ClientConfig { amqp_url, redis_url, prefix: self.prefix.clone(), ..ClientConfig::default() }
    }

    /// The store, by a user that may do everything.
    pub(crate) async fn admin(&self) -> MultiplexedConnection {
        self.services.redis().await
    }

    /// A connection to the broker that may do everything, and a channel of it.
    pub(crate) async fn channel(&self) -> (lapin::Connection, lapin::Channel) {
        self.services.channel().await.expect("the broker runs")
    }

    /// Commands with the login of `name`.
    pub(crate) fn installation(&self, name: &str) -> Installation {
        let Login { amqp_url, redis_url } = self.login(name);
        Installation::fresh()
            .set("QUEUE_URL", &amqp_url)
            .set("QUEUE_PREFIX", &self.prefix)
            .set("STORE_URL", &redis_url)
            .set("STORE_PREFIX", &self.prefix)
            .set("SANDBOX_BACKEND", "native")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let list = self.services.rabbitmqctl(&["-q", "list_users"]);
        let of_this = |line: &&str| line.starts_with(&self.users);
        for line in list.lines().filter(of_this) {
            let user = line.split('\t').next().expect("a name");
            self.services.rabbitmqctl(&["delete_user", user]);
        }
        let removed = redis::Client::open(setting("SANDFLEET_TEST_REDIS_URL")).and_then(|client| {
            let mut connection = client.get_connection()?;
            let users: Vec<String> = redis::cmd("ACL").arg("USERS").query(&mut connection)?;
            let mut remove = redis::cmd("ACL");
            remove.arg("DELUSER");
            users
                .iter()
                .filter(|user| user.starts_with(&self.users))
                .for_each(|it| _ = remove.arg(it));
            remove.exec(&mut connection)
        });
        if let Err(error) = removed {
            eprintln!("the users {} are left behind: {error}", self.users);
        }
    }
}

/// Rules, of which one in parentheses is one rule.
fn selectors(words: &[&str]) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    let mut open = false;
    for word in words {
        match rules.last_mut() {
            Some(last) if open => *last += &format!(" {word}"),
            _ => rules.push((*word).to_owned()),
        }
        open = (open || word.starts_with('(')) && !word.ends_with(')');
    }
    rules
}

pub(crate) async fn connection(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a valid URL");
    client.get_multiplexed_async_connection().await.expect("the store lets it in")
}
