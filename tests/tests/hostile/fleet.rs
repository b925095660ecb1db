//! A fleet of one process for hostile programs, and a look at what they leave.

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sandfleet_common::{Job, JobId, JobResult};
use sandfleet_tests::{children_of, eventually, file_of};
use sandfleet_worker::{
    app,
    config::{Backend, Settings},
    embedded::Embedded,
    hooks::{Hooks, JobFacts, Observer},
    sandbox::Sandbox,
};

/// In the environment of every hostile program: its descendants can be found by it.
const MARKER: &str = "HOSTILE_ENTRY";

/// What hostile programs run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Native,
    /// The same, with programs of Python's started from warm interpreters.
    Warm,
    /// The engine's default runtime, runc.
    Docker,
    /// The engine's runtime `runsc`.
    GVisor,
}

impl Runtime {
    /// Its name in the manifest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::Native | Runtime::Warm => "native",
            Runtime::Docker => "docker",
            Runtime::GVisor => "gvisor",
        }
    }

    fn backend(self) -> Backend {
        match self {
            Runtime::Native | Runtime::Warm => Backend::Native,
            Runtime::Docker | Runtime::GVisor => Backend::Docker,
        }
    }
}

pub(crate) struct Fleet {
    pub(crate) runtime: Runtime,
    settings: Settings,
    sandbox: Arc<dyn Sandbox>,
}

/// What became of a message.
#[derive(Default)]
struct Answers(Mutex<Vec<Result<JobResult, String>>>);

impl Answers {
    fn push(&self, heard: Result<JobResult, String>) {
        self.0.lock().expect("nobody panics with it").push(heard);
    }
}

impl Hooks for Answers {
    fn stored(&self, result: &JobResult, _: &JobFacts) {
        self.push(Ok(result.clone()));
    }

    fn unreadable(&self, reason: &str) {
        self.push(Err(reason.to_owned()));
    }
}

impl Fleet {
    pub(crate) async fn open(runtime: Runtime) -> Self {
        let backend = runtime.backend();
        let variable = |name: &str, value: String| (name.into(), value.into());
        let image = std::env::var("SANDFLEET_TEST_IMAGE");
        let mut variables = vec![variable(
            "SANDFLEET_SANDBOX_IMAGE",
            image.unwrap_or_else(|_| "sandfleet/sandbox:latest".into()),
        )];
        if backend == Backend::Docker {
            variables.push(variable("SANDFLEET_SANDBOX_DOCKER_HOST", docker_host()));
            // Debian 12 has no newer one.
            variables.push(variable("SANDFLEET_SANDBOX_ALLOW_OUTDATED_ENGINE", "true".into()));
        }
        // Some tests of Python's are long on a busy machine.
        for limit in ["WALL_TIME_MS", "CPU_TIME_MS"] {
            let name = format!("SANDFLEET_LIMITS_MAX_{limit}");
            variables.push(variable(&name, "600000".into()));
        }
        variables.push(variable("SANDFLEET_SANDBOX_WARM", (runtime == Runtime::Warm).to_string()));
        if runtime == Runtime::GVisor {
            variables.push(variable("SANDFLEET_SANDBOX_RUNTIME", "runsc".into()));
        }
        let settings =
            Settings::load(Some(Path::new("/dev/null")), variables).expect("valid settings");
        let sandbox =
            app::open_sandbox(backend, &settings, Observer::default()).await.expect("a sandbox");
        let fleet = Self { runtime, settings, sandbox };
        if runtime == Runtime::Warm {
            let begun = Instant::now();
            while !fleet.run(Job::new("python", "print()")).await.0.sandbox.expect("it ran").warm {
                assert!(begun.elapsed() < Duration::from_secs(60), "no interpreter gets warm");
            }
        }
        fleet
    }

    pub(crate) fn is_native(&self) -> bool {
        matches!(self.runtime, Runtime::Native | Runtime::Warm)
    }

    /// Runs a job along the whole path of one; also says how many seconds it took.
    pub(crate) async fn run(&self, mut job: Job) -> (JobResult, f64) {
        let id = job.job_id.to_string();
        job.env.insert(MARKER.into(), id.clone());
        let heard: Arc<dyn Hooks> = Arc::new(Answers::default());
        let fleet = Embedded::new(Arc::clone(&self.sandbox), &self.settings, heard);
        let begun = Instant::now();
        let result = fleet.run(&job).await;
        let seconds = begun.elapsed().as_secs_f64();
        self.assert_nothing_is_left(&job.job_id).await;
        (result.expect("nobody stopped it"), seconds)
    }

    /// Hands messages in, one after the other; gives back all results and the reasons of all dead
    /// letters.
    pub(crate) async fn submit(&self, bodies: Vec<Vec<u8>>) -> Vec<Result<JobResult, String>> {
        let heard = Arc::new(Answers::default());
        let hooks: Arc<dyn Hooks> = heard.clone();
        let fleet = Embedded::new(Arc::clone(&self.sandbox), &self.settings, hooks);
        for body in bodies {
            fleet.submit(body);
        }
        fleet.close();
        tokio::time::timeout(Duration::from_secs(60), fleet.serve(1)).await.expect("an end");
        let heard = heard.0.lock().expect("nobody panics with it");
        heard.clone()
    }

    /// An honest job gets an honest result.
    pub(crate) async fn assert_canary(&self, after: &str) {
        let (result, _) = self.run(Job::new("bash", "echo canary")).await;
        let output = result.run.map_or_else(String::new, |run| run.stdout);
        assert_eq!(output, "canary\n", "after {after}: {}", result.message);
    }

    async fn assert_nothing_is_left(&self, job: &JobId) {
        let marker = format!("{MARKER}={job}");
        eventually(&format!("the end of all processes of {job}"), || async {
            let left = processes().any(|process| {
                fs::read(process.join("environ")).is_ok_and(|found| {
                    found.split(|byte| *byte == 0).any(|v| v == marker.as_bytes())
                })
            });
            (!left).then_some(())
        })
        .await;
    }

    /// Closes the fleet, after a look at the control groups: between jobs only launchers are there, each
    /// with the container at most that waits for the next program. No container may be there then.
    pub(crate) async fn close(self) {
        if self.is_native() {
            eventually("the end of all but launchers and containers that wait", || async {
                let launchers = launchers();
                let are_alone = launchers.iter().all(|launcher| is_alone(launcher));
                (!launchers.is_empty() && are_alone).then_some(())
            })
            .await;
        }
        self.sandbox.close().await;
        if !self.is_native() {
            let label = format!("sandfleet.worker={}", self.settings.worker.id);
            assert_eq!(containers(&label), "[]");
        }
    }
}

/// The launchers of this process's slots.
fn launchers() -> Vec<PathBuf> {
    let own = std::process::id().to_string();
    let parent_of = |process: &Path| parent(process).map(|pid| Path::new("/proc").join(pid));
    let launchers = processes().filter(|process| {
        // A warm one's parent is its zygote.
        let parents = [parent(process), parent_of(process).and_then(|it| parent(&it))];
        // And a container's first process has another number in it.
        let numbers = status(process, "NSpid:").unwrap_or_default();
        let is_outside = numbers.split_whitespace().count() == 1;
        parents.contains(&Some(own.clone())) && is_outside && !groups(process).is_empty()
    });
    launchers.collect()
}

/// Whether no process is in the launcher's groups but itself and the first process of a container. A warm
/// container's program waits with it: like the launcher a copy of the interpreter, and alone.
fn is_alone(launcher: &Path) -> bool {
    let pid = launcher.file_name().and_then(|name| name.to_str()).expect("a number");
    groups(launcher).iter().all(|group| {
        let inside = fs::read_to_string(Path::new(group).join("cgroup.procs"));
        let inside = inside.unwrap_or_default();
        let others: Vec<String> =
            inside.lines().filter(|it| *it != pid).map(str::to_owned).collect();
        let is_first = |it: &&String| parent(&Path::new("/proc").join(it)).as_deref() == Some(pid);
        let Some(first) = others.iter().find(is_first) else { return others.is_empty() };
        let programs: Vec<String> = children_of(first).iter().map(ToString::to_string).collect();
        let is_copy = |it: &String| file_of(it) == file_of(pid) && children_of(it).is_empty();
        others.len() == 1 + programs.len() && programs.len() <= 1 && programs.iter().all(is_copy)
    })
}

fn docker_host() -> String {
    std::env::var("SANDFLEET_TEST_DOCKER_HOST")
        .expect("SANDFLEET_TEST_DOCKER_HOST is set by `bash tests/run`")
}

/// Directories of /proc that are processes.
fn processes() -> impl Iterator<Item = PathBuf> {
    fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path()).filter(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|n| n.parse::<u32>().is_ok())
    })
}

fn parent(process: &Path) -> Option<String> {
    status(process, "PPid:")
}

fn status(process: &Path, field: &str) -> Option<String> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.trim().to_owned()))
}

/// The directories of a process's control groups: of version 2, or of the controllers in use.
fn groups(process: &Path) -> Vec<String> {
    let text = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        if path.contains("/slot-") {
            groups.push(format!("/sys/fs/cgroup/{controllers}{path}"));
        }
    }
    groups
}

/// The engine's list of containers with `label`, as JSON.
fn containers(label: &str) -> String {
    let host = docker_host();
    let socket = host.strip_prefix("unix://").expect("the tests' engine has a socket");
    let filter = format!("%7B%22label%22%3A%5B%22{}%22%5D%7D", label.replace('=', "%3D"));
    let mut stream = UnixStream::connect(socket).expect("the engine runs");
    write!(stream, "GET /containers/json?all=1&filters={filter} HTTP/1.0\r\nHost: engine\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    assert!(head.contains(" 200 "), "{answer}");
    body.trim().to_owned()
}
