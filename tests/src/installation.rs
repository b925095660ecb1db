//! The program under test, started as its users start it.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, kill_process};
use sandfleet_common::JobResult;
use sandfleet_worker::services::readiness;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::{self, Duration, Instant},
};

use crate::{DEADLINE, Login, Services, TestCgroup, eventually, services::setting, soon};

/// The binary with settings and a control group of its own.
#[derive(Debug)]
pub struct Installation {
    /// Where its control groups are.
    pub test_cgroup: TestCgroup,
    program: String,
    settings: BTreeMap<String, String>,
    logins: Option<Logins>,
}

/// How each role logs in.
#[derive(Debug)]
struct Logins {
    producer: Login,
    worker: Login,
    operator: Login,
}

impl Logins {
    /// The settings of a command, which has the role that its first argument says.
    fn of<A: AsRef<OsStr>>(&self, arguments: &[A]) -> [(&'static str, &str); 2] {
        let login = match arguments.first().and_then(|it| it.as_ref().to_str()) {
            Some("worker") => &self.worker,
            Some("submit" | "bench") => &self.producer,
            _ => &self.operator,
        };
        [("SANDFLEET_QUEUE_URL", &login.amqp_url), ("SANDFLEET_STORE_URL", &login.redis_url)]
    }
}

/// A process that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; a signal's number plus 1000 if one ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Installation {
    /// One whose commands know the Docker engine of the tests and nothing else.
    pub fn fresh() -> Self {
        let test_cgroup = TestCgroup::fresh();
        let path = test_cgroup.path();
        Self {
            test_cgroup,
            program: setting("SANDFLEET_TEST_BIN"),
            settings: BTreeMap::new(),
            logins: None,
        }
        .set("SANDBOX_CGROUP_PARENT", &path)
        .set("SANDBOX_DOCKER_HOST", &setting("SANDFLEET_TEST_DOCKER_HOST"))
        .set("SANDBOX_IMAGE", &image())
        // With the host's programs, whatever images this machine has; tests of images name a directory.
        .set("IMAGES_DIRECTORY", "/nonexistent/images")
        // Debian 12 has no newer one.
        .set("SANDBOX_ALLOW_OUTDATED_ENGINE", "true")
        .set("ADMIN_ADDRESS", "off")
    }

    /// With one setting more: `name` is the variable's without `SANDFLEET_`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(format!("SANDFLEET_{name}"), value.to_owned());
        self
    }

    /// With workers that log that they take jobs, and else only what is wrong.
    #[must_use]
    pub fn quiet(self) -> Self {
        self.set("LOG_LEVEL", &format!("warn,{}=info", readiness::LOG_TARGET))
    }

    /// With `program` in the place of the binary, which it has to start.
    #[must_use]
    pub fn by(self, program: &str) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    /// As part of the fleet that shares `services`: each command with the login of its role.
    #[must_use]
    pub fn on(mut self, services: &Services) -> Self {
        services.declare();
        self.logins = Some(Logins {
            producer: services.producer.clone(),
            worker: Login {
                amqp_url: services.amqp_url.clone(),
                redis_url: services.redis_url.clone(),
            },
            operator: services.operator.clone(),
        });
        self.set("QUEUE_PREFIX", &services.prefix)
            .set("STORE_PREFIX", &services.prefix)
            .set("SANDBOX_BACKEND", "native")
    }

    /// A command with `arguments`; what it starts ends with it. Its three streams are pipes but
    /// for stdin, which is empty.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        self.command_through(&self.program, arguments)
    }

    /// As [`command`](Self::command), but it is `program` that is started.
    pub fn command_through<A: AsRef<OsStr>>(&self, program: &str, arguments: &[A]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(self.logins.iter().flat_map(|logins| logins.of(arguments)))
            .envs(&self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Finished {
        Finished::of(self.command(arguments)).await
    }

    /// Starts a worker.
    ///
    /// # Panics
    /// If there is no such binary.
    pub fn worker(&self, id: &str) -> FleetWorker {
        self.worker_by(id, |_| ())
    }

    /// Starts a worker with more arguments.
    ///
    /// # Panics
    /// If there is no such binary.
    pub fn worker_with(&self, id: &str, arguments: &[&str]) -> FleetWorker {
        self.worker_by(id, |command| {
            command.args(arguments);
        })
    }

    /// As [`worker`](Self::worker), with changes to how it is started.
    ///
    /// # Panics
    /// If there is no such binary.
    pub fn worker_by(&self, id: &str, change: impl FnOnce(&mut Command)) -> FleetWorker {
        self.start(id, "off", change)
    }

    /// Starts a worker with an admin port, waits until it takes jobs, and gives that port's
    /// address too.
    ///
    /// # Panics
    /// If there is no port to be had.
    pub async fn worker_with_admin(&self, id: &str) -> (FleetWorker, SocketAddr) {
        // Between finding a free port and its use another process may take it.
        for _ in 0..5 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = free.local_addr().expect("it is bound");
            drop(free);
            let mut worker = self.start(id, &address.to_string(), |_| ());
            if worker.is_ready().await {
                return (worker, address);
            }
        }
        panic!("no port could be had");
    }

    fn start(&self, id: &str, admin: &str, change: impl FnOnce(&mut Command)) -> FleetWorker {
        let mut command = self.command(&["worker"]);
        command.env("SANDFLEET_WORKER_ID", id).env("SANDFLEET_ADMIN_ADDRESS", admin);
        // A terminal's Ctrl-C goes to a group of processes; this one's must not be the tests'.
        command.stdout(Stdio::null()).process_group(0);
        change(&mut command);
        let mut process = command.spawn().expect("the binary is there");
        let log = Arc::new(Mutex::new(String::new()));
        tokio::spawn(keep(process.stderr.take().expect("a pipe"), Arc::clone(&log)));
        FleetWorker { id: id.to_owned(), process, log }
    }
}

impl Finished {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn of(mut command: Command) -> Self {
        let process = command.spawn().expect("the binary is there");
        let ended = soon("the end of a command", process.wait_with_output()).await;
        let output = ended.expect("our child");
        Self {
            code: code_of(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The result that was printed, which has to be all that was printed.
    ///
    /// # Panics
    /// If it isn't.
    pub fn result(&self) -> JobResult {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

fn code_of(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 1000 + signal)).expect("it ended")
}

/// A worker process. Dropping it kills it.
#[derive(Debug)]
pub struct FleetWorker {
    /// Its name in results.
    pub id: String,
    process: Child,
    log: Arc<Mutex<String>>,
}

impl FleetWorker {
    /// Waits until it takes jobs.
    ///
    /// # Panics
    /// If it never does.
    pub async fn ready(&mut self) {
        assert!(self.is_ready().await, "the worker does not work: {}", self.log());
    }

    async fn is_ready(&mut self) -> bool {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if self.log().contains(readiness::READY) {
                return true;
            }
            if self.process.try_wait().expect("our child").is_some() {
                return false;
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// Its process number.
    ///
    /// # Panics
    /// If it has ended.
    pub fn pid(&self) -> Pid {
        let id = self.process.id().expect("it runs");
        Pid::from_raw(id as i32).expect("not zero")
    }

    /// Waits for its end; gives its exit code, or 1000 and the signal that ended it.
    ///
    /// # Panics
    /// If it goes on.
    pub async fn ended(&mut self) -> i32 {
        code_of(soon("the worker's end", self.process.wait()).await.expect("our child"))
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        lock(&self.log).clone()
    }

    /// Waits until it has logged `part`.
    ///
    /// # Panics
    /// If it never does.
    pub async fn logs(&self, part: &str) {
        let what = format!("{part:?} in the log of {}", self.id);
        eventually(&what, || async { self.log().contains(part).then_some(()) }).await;
    }
}

fn lock(log: &Mutex<String>) -> MutexGuard<'_, String> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Also shows it: what a failed test prints is where its reason is looked for.
async fn keep(stream: impl AsyncRead + Unpin, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        let mut log = lock(&log);
        log.push_str(&line);
        log.push('\n');
    }
}

/// The image that the tests' Docker engine has.
fn image() -> String {
    std::env::var("SANDFLEET_TEST_IMAGE").unwrap_or_else(|_| "sandfleet/sandbox:latest".into())
}
