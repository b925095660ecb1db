//! `sandfleet top` in a real terminal, which is tmux's: what it shows of a fleet, what its keys do, and that nothing ends it
//! but its user. With SANDFLEET_TEST_CAPTURES set to a directory it leaves there what it saw: docs/live-views/make.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use sandfleet_common::{Job, Priority, Status};
use sandfleet_tests::{DEADLINE, Installation, Services};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{LONG, sleeper};

/// A terminal of this size, in which a command runs.
struct Tmux {
    socket: String,
    directory: TempDir,
}

impl Tmux {
    /// Starts `sandfleet` with `arguments`; its exit code and the state of the terminal are shown after it.
    fn start(installation: &Installation, arguments: &[&str]) -> Self {
        let directory = TempDir::new().expect("room for files");
        let command = installation.command(arguments);
        let command = command.as_std();
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let mut script = "#!/bin/sh\n".to_owned();
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                let value = quoted(&value.to_string_lossy());
                script += &format!("export {}={value}\n", name.to_string_lossy());
            }
        }
        let program = quoted(&command.get_program().to_string_lossy());
        script += &format!("{program} {}\n", arguments.join(" "));
        script += "echo \"ended with $?\"; stty -a | grep -o ' icanon'; exec sleep 600\n";
        let path = directory.path().join("run");
        fs::write(&path, script).expect("room for a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our file");
        let socket = directory.path().join("tmux").display().to_string();
        let tmux = Self { socket, directory };
        let run = tmux.path().display().to_string();
        tmux.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "132", "-y", "30", &run]);
        tmux
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let ran = Command::new("tmux").args(["-S", &self.socket]).args(arguments).output();
        let ran = ran.expect("tmux is installed");
        assert!(ran.status.success(), "{arguments:?}: {ran:?}");
        String::from_utf8(ran.stdout).expect("text")
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn resize(&self, width: u16, height: u16) {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]);
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows `part`; gives the whole.
    async fn shows(&self, part: &str) -> String {
        self.until(part, |screen| screen.contains(part)).await
    }

    async fn shows_no(&self, part: &str) -> String {
        self.until(part, |screen| !screen.contains(part)).await
    }

    async fn until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "{what}:\n{screen}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

const CAPTURES: &str = "SANDFLEET_TEST_CAPTURES";

/// Leaves what a terminal shows for the documentation.
pub(crate) fn keep(name: &str, screen: &str) {
    if let Ok(directory) = std::env::var(CAPTURES) {
        let path = PathBuf::from(directory).join(format!("{name}.txt"));
        fs::write(path, screen.trim_end().to_owned() + "\n").expect("room for a file");
    }
}

/// Services under a prefix that can be read, if it is for the documentation.
pub(crate) fn for_captures() -> Services {
    let mut services = Services::fresh();
    if std::env::var(CAPTURES).is_ok() {
        services.prefix = "t-docs".into();
    }
    services
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may be over already.
        let _ = Command::new("tmux").args(["-S", &self.socket, "kill-server"]).output();
    }
}

fn of_tenant(mut job: Job, tenant: &str, priority: Priority) -> Job {
    (job.tenant, job.priority) = (Some(tenant.into()), priority);
    job
}

#[tokio::test]
async fn the_screen_follows_a_fleet_and_does_what_it_is_told() {
    let services = for_captures();
    let workers = Installation::fresh().on(&services).set("WORKER_SLOTS", "2");
    let client = services.client().await;
    let [mut alpha, mut beta] = ["alpha", "beta"].map(|name| workers.worker(name));
    alpha.ready().await;
    beta.ready().await;
    let mut jobs = vec![
        of_tenant(Job::new("python", "print(1)"), "acme", Priority::Interactive),
        of_tenant(Job::new("python", "raise SystemExit(3)"), "shop", Priority::Interactive),
    ];
    for job in &jobs {
        client.submit(job).await.expect("the broker takes it");
        client.wait(&job.job_id, LONG).await.expect("a result");
    }
    // Four run, and the others wait behind them.
    for number in 0..12 {
        let (tenant, priority) =
            [("acme", Priority::Interactive), ("shop", Priority::Batch)][number % 2];
        let mut job = of_tenant(sleeper(300.0), tenant, priority);
        job.limits.wall_time_ms = Some(400_000);
        client.submit(&job).await.expect("the broker takes it");
        jobs.push(job);
    }

    let [(broker, amqp_url), (store, redis_url)] = services.operator_relays().await;
    let operator = Installation::fresh()
        .set("QUEUE_PREFIX", &services.prefix)
        .set("STORE_PREFIX", &services.prefix)
        .set("QUEUE_URL", &amqp_url)
        .set("STORE_URL", &redis_url);
    let tmux = Tmux::start(&operator, &["top", "--interval", "500ms"]);
    let screen = tmux.shows("slots 4/4 busy · running 4 · waiting 8").await;
    for part in
        ["workers 2 ready", "oldest waits", "accepted 1", "runtime_error 1", "alpha", "beta"]
    {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    keep("workers", &screen);
    tmux.press(&["2"]);
    keep("queues", &tmux.shows("PRIORITY").await);
    tmux.press(&["3"]);
    keep("tenants", &tmux.shows("INTERACTIVE").await);
    tmux.press(&["5"]);
    let screen = tmux.shows("OUTCOME").await;
    assert!(screen.contains("runtime_error") && screen.contains("accepted"), "{screen}");
    keep("ended", &screen);
    // A job's life, as `result --explain` tells it.
    tmux.press(&["Enter"]);
    keep("job", &tmux.shows("the result was complete").await);
    tmux.press(&["Escape"]);

    // A running job is cancelled after a question, and only after `y`.
    tmux.press(&["4"]);
    tmux.shows("STATE").await;
    tmux.press(&["/"]);
    tmux.press(&["running", "Enter"]);
    tmux.shows(" 4 rows").await;
    tmux.press(&["c"]);
    let screen = tmux.shows("cancel job").await;
    keep("cancel", &screen);
    tmux.press(&["n"]);
    tmux.shows("nothing was done").await;
    tmux.press(&["c"]);
    let screen = tmux.shows("cancel job").await;
    let id = screen.split("cancel job ").nth(1).and_then(|rest| rest.split('?').next());
    let id = id.expect("an id").parse().expect("an id");
    tmux.press(&["y"]);
    tmux.shows("its worker was told to end it").await;
    let result = client.wait(&id, LONG).await.expect("a result");
    assert_eq!(result.status, Status::Cancelled, "{result:#?}");
    tmux.press(&["Escape"]);

    // Drained, and let go on.
    tmux.press(&["d"]);
    tmux.shows("hold jobs back (all)").await;
    tmux.press(&["y"]);
    tmux.shows("switch: hold all since").await;
    tmux.press(&["d"]);
    tmux.shows("let jobs go on").await;
    tmux.press(&["y"]);
    tmux.shows_no("switch: hold all since").await;

    // A service that is away is named, and what it said before stays; when it is back it goes on.
    tmux.press(&["1"]);
    for (proxy, name) in [(&broker, "broker away"), (&store, "store away")] {
        proxy.cut();
        let screen = tmux.shows(name).await;
        assert!(screen.contains("alpha") && screen.contains("shown as it was"), "{screen}");
        if name == "store away" {
            keep("store-away", &screen);
        }
        proxy.mend();
        tmux.shows_no(name).await;
    }

    for (width, height) in [(15, 4), (3, 1), (200, 50), (132, 30)] {
        tmux.resize(width, height);
        sleep(Duration::from_millis(300)).await;
    }
    tmux.resize(25, 3);
    tmux.shows("too small").await;
    tmux.resize(132, 30);
    tmux.shows("workers 2 ready").await;
    tmux.press(&["C-c"]);
    let screen = tmux.shows(" icanon").await;
    assert!(screen.contains("ended with 0") && !screen.contains("too small"), "{screen}");

    let once = operator.run(&["top", "--once"]).await;
    assert_eq!(once.code, 0, "{once:#?}");
    assert!(once.stdout.contains("workers 2 ready"), "{}", once.stdout);
    keep("once", &once.stdout);
    let json = operator.run(&["top", "--once", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["workers"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["slots"], 4);
    assert!(json["tenants"].as_array().is_some_and(|tenants| tenants.len() == 2), "{json}");
}

#[tokio::test]
async fn services_that_are_not_there_and_a_signal() {
    let nowhere = Installation::fresh()
        .set("QUEUE_URL", "amqp://guest:guest@127.0.0.1:1/%2f")
        .set("STORE_URL", "redis://127.0.0.1:1");
    let tmux = Tmux::start(&nowhere, &["top", "--interval", "200ms"]);
    let screen = tmux.shows("store away").await;
    assert!(screen.contains("broker away") && screen.contains("workers 0 ready"), "{screen}");
    tmux.press(&["?"]);
    tmux.shows("PgUp").await;
    let pane = tmux.tmux(&["display-message", "-p", "#{pane_pid}"]);
    let own = sandfleet_tests::children_of(pane.trim());
    assert_eq!(own.len(), 1, "{own:?}");
    rustix::process::kill_process(own[0], rustix::process::Signal::TERM).expect("it runs");
    let screen = tmux.shows(" icanon").await;
    assert!(screen.contains("ended with 0") && !screen.contains("PgUp"), "{screen}");
    let once = nowhere.run(&["top", "--once"]).await;
    assert_eq!(once.code, 69, "{once:#?}");
    assert!(once.stdout.contains("store away") && once.stdout.contains("broker away"), "{once:#?}");
}
