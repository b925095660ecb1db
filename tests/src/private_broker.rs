//! A RabbitMQ of one test's own, to be stopped and to be killed.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use lapin::{Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};
use uuid::Uuid;

/// Where Debian has the programs themselves: those in its /usr/sbin switch to another user. The suite `newer` has them elsewhere.
fn programs() -> String {
    std::env::var("SANDFLEET_TEST_RABBITMQ_BIN")
        .unwrap_or_else(|_| "/usr/lib/rabbitmq/bin".to_owned())
}

/// How long a node may take to start.
const START: Duration = Duration::from_secs(120);

/// A node on ports of its own, which ends with this.
pub struct PrivateBroker {
    port: u16,
    directory: TempDir,
    settings: Vec<(&'static str, String)>,
    node: Option<Child>,
    /// Erlang would start one by itself that is never stopped.
    _names: Child,
}

impl PrivateBroker {
    /// Starts one.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn start() -> Self {
        let directory = TempDir::new().expect("room for files");
        // All at once: each is another one.
        let free = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [port, between_nodes, names] =
            free.each_ref().map(|free| free.local_addr().expect("it is bound").port());
        drop(free);
        let path = |name: &str| directory.path().join(name).display().to_string();
        let config =
            format!("listeners.tcp.1 = 127.0.0.1:{port}\ndisk_free_limit.absolute = 50MB\n");
        fs::write(path("rabbitmq.conf"), config).expect("room for a file");
        fs::write(path("enabled_plugins"), "[].\n").expect("room for a file");
        let local = "-kernel inet_dist_use_interface {127,0,0,1}".to_owned();
        let settings = vec![
            ("HOME", path("")),
            ("RABBITMQ_NODENAME", format!("sandfleet-own-{}@localhost", Uuid::now_v7().simple())),
            // One that doesn't exist keeps /etc/rabbitmq out.
            ("RABBITMQ_CONF_ENV_FILE", path("no-env.conf")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", path("no-advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", path("config")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_DIST_PORT", between_nodes.to_string()),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", local.clone()),
            ("RABBITMQ_CTL_ERL_ARGS", local),
            ("ERL_EPMD_PORT", names.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_CRASH_DUMP", path("crash")),
        ];
        let _names = Command::new("epmd")
            .args(["-port", &names.to_string(), "-address", "127.0.0.1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("epmd is installed");
        let mut broker = Self { port, directory, settings, node: None, _names };
        broker.write_ctl();
        broker.restart().await;
        broker
    }

    /// A program that is `rabbitmqctl` for this node.
    fn write_ctl(&self) {
        let exports =
            self.settings.iter().map(|(name, value)| format!("export '{name}={value}'\n"));
        let exec = format!("exec '{}/rabbitmqctl' \"$@\"\n", programs());
        let script = format!("#!/bin/sh\n{}{exec}", exports.collect::<String>());
        fs::write(self.ctl(), script).expect("room for a file");
        fs::set_permissions(self.ctl(), fs::Permissions::from_mode(0o755)).expect("our file");
    }

    /// Where that is.
    pub fn ctl(&self) -> PathBuf {
        self.directory.path().join("rabbitmqctl")
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// Starts it where it was, with what it had on disk, and waits until it takes connections.
    ///
    /// # Panics
    /// If it doesn't start.
    pub async fn restart(&mut self) {
        let end = Instant::now() + START;
        self.kill().await;
        while !self.answers().await {
            assert!(Instant::now() < end, "a broker: not within {START:?}: {}", self.log());
            // Its name is taken until it is noticed that the last one is dead.
            if self.node.as_mut().is_none_or(|it| it.try_wait().expect("our child").is_some()) {
                self.node = Some(self.launch());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn launch(&self) -> Child {
        let log = fs::File::create(self.directory.path().join("node.log"));
        Command::new(format!("{}/rabbitmq-server", programs()))
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .env("RABBITMQ_LOGS", "-")
            .stdin(Stdio::null())
            .stdout(log.expect("room for a file"))
            .stderr(Stdio::null())
            // A shell and what it starts: they end together.
            .process_group(0)
            .spawn()
            .expect("rabbitmq-server is installed")
    }

    async fn answers(&self) -> bool {
        let url = self.url();
        let connecting = Connection::connect(&url, ConnectionProperties::default());
        matches!(timeout(Duration::from_secs(2), connecting).await, Ok(Ok(_)))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("node.log")).unwrap_or_default()
    }

    /// Kills it.
    ///
    /// # Panics
    /// Never: it is our child.
    pub async fn kill(&mut self) {
        if let Some(mut node) = self.node.take() {
            end(&node);
            node.wait().await.expect("our child");
        }
    }
}

fn end(node: &Child) {
    if let Some(group) = node.id().and_then(|id| Pid::from_raw(id as i32)) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Drop for PrivateBroker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's log: {}", self.log());
        }
        self.node.as_ref().into_iter().for_each(end);
    }
}
