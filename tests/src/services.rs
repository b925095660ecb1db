//! The real broker and the real store, with names of its own for each test.

use std::{process::Command, sync::OnceLock, thread, time::Duration};

use anyhow::{Context, Result};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeleteOptions},
};
use redis::aio::MultiplexedConnection;
use sandfleet_common::{Isolation, Priority, names};
use sandfleet_sdk::{Client, ClientConfig, QueueLimits, Tls};
use sandfleet_transport::{
    Broker, LATER, Publisher, Topology,
    records::{RedisConfig, RedisStore},
};
use sandfleet_worker::queue::{AmqpConfig, AmqpQueue, Gate};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use crate::{
    ChaosProxy, Credentials, Login,
    proxied_url::{through_proxy, through_tls},
};

/// RabbitMQ and Redis, and a prefix that only this test uses. What bears it is deleted at the
/// end, also when the test fails.
pub struct Services {
    /// How all the names begin.
    pub prefix: String,
    /// The broker, as a worker.
    pub amqp_url: String,
    /// The store, as a worker.
    pub redis_url: String,
    /// How a producer logs in.
    pub producer: Login,
    /// How an operator does.
    pub operator: Login,
    /// How the tests do, which may do everything.
    pub admin: Login,
    rabbitmqctl: String,
    pub(crate) publisher: Publisher,
    declared: OnceLock<()>,
}

impl Services {
    /// The services that `tests/run` has started.
    ///
    /// # Panics
    /// If it hasn't.
    pub fn fresh() -> Self {
        let credentials = Credentials::at(setting("SANDFLEET_TEST_CREDENTIALS"));
        let worker = credentials.login("worker");
        let mut services = Self::at(
            &setting("SANDFLEET_TEST_AMQP_URL"),
            &setting("SANDFLEET_TEST_REDIS_URL"),
            &setting("SANDFLEET_TEST_RABBITMQCTL"),
        );
        (services.amqp_url, services.redis_url) = (worker.amqp_url, worker.redis_url);
        services.producer = credentials.login("producer");
        services.operator = credentials.login("operator");
        services
    }

    /// Those at two addresses, which are every role's; `rabbitmqctl` is the program for the first.
    ///
    /// # Panics
    /// If an address is none.
    pub fn at(amqp_url: &str, redis_url: &str, rabbitmqctl: &str) -> Self {
        let prefix = format!("t-{}", Uuid::now_v7());
        let broker = Broker::new(amqp_url, &prefix, Duration::from_secs(10), &Tls::default())
            .expect("a valid URL");
        let login = Login { amqp_url: amqp_url.to_owned(), redis_url: redis_url.to_owned() };
        Self {
            publisher: Publisher::new(broker, topology(&prefix, vec![Isolation::Container])),
            prefix,
            amqp_url: amqp_url.to_owned(),
            redis_url: redis_url.to_owned(),
            producer: login.clone(),
            operator: login.clone(),
            admin: login,
            rabbitmqctl: rabbitmqctl.to_owned(),
            declared: OnceLock::new(),
        }
    }

    /// With another store, which lets everybody in.
    pub fn set_store(&mut self, url: &str) {
        let [producer, operator, admin] = [&mut self.producer, &mut self.operator, &mut self.admin];
        let own = [producer, operator, admin].map(|login| &mut login.redis_url);
        own.into_iter().chain([&mut self.redis_url]).for_each(|it| url.clone_into(it));
    }

    /// Makes the queues of plain containers, once, as an operator does: the other roles may not.
    ///
    /// # Panics
    /// If the broker refuses it.
    pub fn declare(&self) {
        self.declared.get_or_init(|| self.declare_for(vec![Isolation::Container]));
    }

    /// Makes the queues of these isolations.
    ///
    /// # Panics
    /// If the broker refuses it.
    pub fn declare_for(&self, isolations: Vec<Isolation>) {
        let declaration = async {
            let (url, timeout) = (&self.operator.amqp_url, Duration::from_secs(30));
            let broker = Broker::new(url, &self.prefix, timeout, &Tls::default())?;
            Publisher::new(broker, topology(&self.prefix, isolations)).connect().await
        };
        // Within a test's runtime nothing can be awaited here, so another thread does it.
        let declared = thread::scope(|scope| {
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
            scope.spawn(move || runtime().expect("a runtime").block_on(declaration)).join()
        });
        declared.expect("the thread ends").expect("an operator may make queues");
    }

    /// A proxy to the broker, and a worker's URL that leads through it.
    pub async fn amqp_relay(&self) -> (ChaosProxy, String) {
        self.declare();
        through_proxy(&self.amqp_url, "5672").await
    }

    /// A proxy to the store, and a worker's URL that leads through it.
    pub async fn redis_relay(&self) -> (ChaosProxy, String) {
        through_proxy(&self.redis_url, "6379").await
    }

    /// A proxy to the broker, and a producer's URL that leads through it.
    pub async fn producer_amqp_relay(&self) -> (ChaosProxy, String) {
        self.declare();
        through_proxy(&self.producer.amqp_url, "5672").await
    }

    /// A proxy to the store, and a producer's URL that leads through it.
    pub async fn producer_redis_relay(&self) -> (ChaosProxy, String) {
        through_proxy(&self.producer.redis_url, "6379").await
    }

    /// Proxies to the broker and the store, and the services as an operator reaches them through these.
    pub async fn operator_relays(&self) -> [(ChaosProxy, String); 2] {
        self.declare();
        [
            through_proxy(&self.operator.amqp_url, "5672").await,
            through_proxy(&self.operator.redis_url, "6379").await,
        ]
    }

    /// The broker behind TLS, and the URL that leads there.
    pub async fn amqp_behind_tls(&self, tls: TlsAcceptor) -> (ChaosProxy, String) {
        through_tls(&self.amqp_url, "5672", tls).await
    }

    /// The store behind TLS, and the URL that leads there.
    pub async fn redis_behind_tls(&self, tls: TlsAcceptor) -> (ChaosProxy, String) {
        through_tls(&self.redis_url, "6379", tls).await
    }

    /// A worker's queue for plain containers of both priorities.
    ///
    /// # Panics
    /// If the URL is none.
    pub fn queue(&self, url: &str, slots: usize) -> AmqpQueue {
        self.declare();
        self.queue_as_it_is(url, slots)
    }

    /// As [`queue`](Self::queue), whatever is on the broker.
    ///
    /// # Panics
    /// If the URL is none.
    pub fn queue_as_it_is(&self, url: &str, slots: usize) -> AmqpQueue {
        let config = AmqpConfig {
            url: url.to_owned(),
            tls: Tls::default(),
            prefix: self.prefix.clone(),
            name: format!("{} worker", self.prefix),
            slots,
            limits: QueueLimits::default(),
            isolations: vec![Isolation::Container],
            priorities: Priority::ALL.to_vec(),
            worker_users: Default::default(),
        };
        AmqpQueue::connect(config, Gate::default()).expect("a valid configuration")
    }

    /// A worker's store.
    ///
    /// # Panics
    /// If the URL is none.
    pub fn store(&self, url: &str) -> RedisStore {
        self.store_for(url, Duration::from_secs(600))
    }

    /// As [`store`](Self::store), where a job may wait for `dedup_ttl`, and is remembered so long.
    ///
    /// # Panics
    /// If the URL is none.
    pub fn store_for(&self, url: &str, dedup_ttl: Duration) -> RedisStore {
        RedisStore::connect(RedisConfig {
            url: url.to_owned(),
            tls: Tls::default(),
            prefix: self.prefix.clone(),
            dedup_ttl,
            max_wait: dedup_ttl,
            ..RedisConfig::default()
        })
        .expect("a valid configuration")
    }

    /// A producer's configuration.
    ///
    /// # Panics
    /// If the broker refuses to make the queues.
    pub fn client_config(&self) -> ClientConfig {
        self.declare();
        ClientConfig {
            amqp_url: self.producer.amqp_url.clone(),
            redis_url: self.producer.redis_url.clone(),
            prefix: self.prefix.clone(),
            ..ClientConfig::default()
        }
    }

    /// The configuration of a client that may do everything, also make queues that aren't there.
    pub fn admin_config(&self) -> ClientConfig {
        ClientConfig {
            amqp_url: self.admin.amqp_url.clone(),
            redis_url: self.admin.redis_url.clone(),
            prefix: self.prefix.clone(),
            ..ClientConfig::default()
        }
    }

    /// A producer.
    ///
    /// # Panics
    /// If it can't connect.
    pub async fn client(&self) -> Client {
        Client::connect(self.client_config()).await.expect("the services run")
    }

    /// A connection and a channel of it.
    ///
    /// # Errors
    /// If the broker isn't there.
    pub async fn channel(&self) -> Result<(Connection, Channel)> {
        let connection =
            Connection::connect(&self.admin.amqp_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// A connection to the store.
    ///
    /// # Panics
    /// If the store isn't there.
    pub async fn redis(&self) -> MultiplexedConnection {
        redis::Client::open(self.admin.redis_url.as_str())
            .expect("a valid URL")
            .get_multiplexed_async_connection()
            .await
            .expect("the store runs")
    }

    /// Runs `rabbitmqctl` and gives what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> String {
        let program = &self.rabbitmqctl;
        let output = Command::new(program).args(arguments).output().expect("rabbitmqctl runs");
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn delete_all(&self) -> Result<()> {
        let (_connection, channel) = self.channel().await?;
        let mut queues = Vec::new();
        for isolation in Isolation::ALL {
            for priority in Priority::ALL {
                let shard = |n| names::shard_queue(&self.prefix, *isolation, *priority, n);
                queues.push(names::job_queue(&self.prefix, *isolation, *priority));
                queues.extend((0..names::TENANT_SHARDS).map(shard));
            }
        }
        queues.extend([names::dead_queue(&self.prefix), names::unreadable_queue(&self.prefix)]);
        let later = || (0..LATER.len()).map(|step| names::later_queue(&self.prefix, step));
        queues.extend(later());
        let deletions = queues.iter().map(|queue| {
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        });
        futures_util::future::try_join_all(deletions).await?;
        let exchanges = [
            names::jobs_exchange,
            names::dead_exchange,
            names::requeue_exchange,
            names::unreadable_exchange,
        ];
        for exchange in later().chain(exchanges.map(|name| name(&self.prefix))) {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(exchange.as_str().into(), options).await?;
        }

        let client = redis::Client::open(self.admin.redis_url.as_str())?;
        let mut redis = client.get_multiplexed_async_connection().await?;
        // A page at a time: a flood leaves hundreds of thousands, and no answer may take long.
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}:*", self.prefix)).arg("COUNT").arg(1000);
            let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(&mut redis).await?;
            if !keys.is_empty() {
                redis::cmd("DEL").arg(keys).query_async::<()>(&mut redis).await?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // Within a test's runtime nothing can be awaited here, so another thread does it.
        let deleted = thread::scope(|scope| {
            let deletion = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    tokio::time::timeout(Duration::from_secs(20), self.delete_all())
                        .await
                        .context("the services don't answer")?
                })
            };
            scope.spawn(deletion).join()
        });
        match deleted {
            Ok(Ok(())) => {}
            // A second panic would hide the first.
            _ if thread::panicking() => eprintln!("{} is left behind: {deleted:?}", self.prefix),
            _ => panic!("{} is left behind: {deleted:?}", self.prefix),
        }
    }
}

fn topology(prefix: &str, isolations: Vec<Isolation>) -> Topology {
    Topology { prefix: prefix.to_owned(), isolations, limits: QueueLimits::default() }
}

/// What `tests/run` has set.
///
/// # Panics
/// If it hasn't.
pub fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `bash tests/run`, which sets it"))
}
