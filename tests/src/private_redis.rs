//! A Redis of one test's own, to be set up wrongly and to be killed.

use std::{net::TcpListener, process::Stdio, time::Duration};

use redis::aio::MultiplexedConnection;
use sandfleet_sdk::Tls;
use sandfleet_transport::records::{RedisConfig, RedisStore};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{eventually, soon};

/// A server on a port of its own, which ends with this.
pub struct PrivateRedis {
    port: u16,
    options: Vec<String>,
    directory: TempDir,
    process: Child,
}

impl PrivateRedis {
    /// Starts one with `options` of its command line.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn start(options: &[&str]) -> Self {
        let directory = TempDir::new().expect("room for files");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Between finding a free port and its use another process may take it.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = free.local_addr().expect("it is bound").port();
            drop(free);
            if let Some(process) = launch(port, &directory, &options).await {
                return Self { port, options, directory, process };
            }
        }
        panic!("no port could be had");
    }

    /// Kills it.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it runs");
    }

    /// Shuts it down in good order.
    ///
    /// # Panics
    /// If it doesn't end.
    pub async fn shutdown(&mut self) {
        let mut connection = connect(self.port).await.expect("it runs");
        // It doesn't answer any more.
        let _ = redis::cmd("SHUTDOWN").exec_async(&mut connection).await;
        soon("the server's end", self.process.wait()).await.expect("our child");
    }

    /// Starts it again where it was, with what it had on disk.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn restart(&mut self) {
        let launched = launch(self.port, &self.directory, &self.options).await;
        self.process = launched.expect("its port is free");
    }

    /// Its address.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// A worker's store on it.
    ///
    /// # Panics
    /// Never: the address is valid.
    pub fn store(&self) -> RedisStore {
        let (prefix, dedup_ttl) = ("own".into(), Duration::from_secs(600));
        let (url, tls) = (self.url(), Tls::default());
        RedisStore::connect(RedisConfig {
            url,
            tls,
            prefix,
            dedup_ttl,
            max_wait: dedup_ttl,
            ..RedisConfig::default()
        })
        .expect("a valid URL")
    }

    /// Runs a command.
    ///
    /// # Panics
    /// If it fails.
    pub async fn command(&self, command: &[&str]) {
        let mut connection = connect(self.port).await.expect("it runs");
        let run = redis::cmd(command[0]).arg(&command[1..]).exec_async(&mut connection).await;
        run.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }

    /// Changes a setting.
    ///
    /// # Panics
    /// If it can't be changed.
    pub async fn config(&self, name: &str, value: &str) {
        self.command(&["CONFIG", "SET", name, value]).await;
    }

    /// How many connections there have been. Each question is over one more.
    ///
    /// # Panics
    /// If it doesn't say.
    pub async fn connections(&self) -> u64 {
        let mut connection = connect(self.port).await.expect("it runs");
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query_async(&mut connection)
            .await
            .expect("it tells about itself");
        let line = |line: &str| line.strip_prefix("total_connections_received:")?.parse().ok();
        info.lines().find_map(line).expect("it counts them")
    }
}

/// Starts a server and waits until it answers; nothing if it ended instead.
async fn launch(port: u16, directory: &TempDir, options: &[String]) -> Option<Child> {
    let mut process = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
        .arg("--dir")
        .arg(directory.path())
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is installed");
    let started = eventually("a server", || {
        let ended = process.try_wait().expect("our child").is_some();
        async move {
            match connect(port).await {
                Ok(_) => Some(true),
                Err(_) => ended.then_some(false),
            }
        }
    })
    .await;
    started.then_some(process)
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}

async fn connect(port: u16) -> redis::RedisResult<MultiplexedConnection> {
    redis::Client::open(url(port))?.get_multiplexed_async_connection().await
}
