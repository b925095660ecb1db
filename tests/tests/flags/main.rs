//! Every flag of every command in every mode: it has an effect, or it is refused by name. The flags come from
//! the command line's own definition, so that a new one without a row fails.

mod expect;
mod fleet;
mod local;

use std::{collections::BTreeSet, fs};

use lapin::options::BasicGetOptions;
use sandfleet_common::{Isolation, Job, Priority, names};
use sandfleet_tests::{Installation, Services};
use sandfleet_worker::cli::flags::{self, Flag};
use tempfile::TempDir;

use expect::{Command, Expect};

/// Shows a program's whole input, and leaves a file.
const MIRROR: &str = "import os, resource, sys\n\
    print('mirror', sys.argv[1:], os.environ.get('NAME'), sys.stdin.read(), sorted(os.listdir('.')))\n\
    print('nofile', resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n\
    open('made.txt', 'w').write('made')\n";

const TENANT: &str = "acme";

fn commands() -> impl Iterator<Item = &'static Command> {
    local::COMMANDS.iter().chain(fleet::COMMANDS)
}

/// The smallest report of `doctor`.
const REPORT: &str = r#"{"format":1,"made_at":"2026-01-01T00:00:00Z","subject":{"sandfleet_version":"0.1.0","agent_sha256":"",
    "host":{"name":"","system":"","kernel":"","architecture":""},"sandbox":null,"versions":{}},"claims":[],"checks":[],
    "not_protected":[]}"#;

#[test]
fn every_flag_has_a_row_with_every_mode() {
    let flags: BTreeSet<Flag> = flags::all().into_iter().collect();
    let mut rows = BTreeSet::new();
    for command in commands() {
        for (name, modes) in command.rows {
            let flag = Flag { command: command.name.into(), name: (*name).into() };
            assert_eq!(modes.len(), command.modes.len(), "modes of {flag:?}");
            assert!(rows.insert(flag), "{name} of {} is there twice", command.name);
        }
    }
    let missing: Vec<_> = flags.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&flags).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "without a row: {missing:#?}; gone: {stale:#?}"
    );
}

macro_rules! commands {
    ($($test:ident: $name:literal;)+) => { $(
        #[tokio::test]
        async fn $test() {
            Trial::new().await.all_of($name).await;
        }
    )+

    #[test]
    fn every_command_is_tried() {
        let tried = [$($name),+];
        assert!(commands().all(|it| tried.contains(&it.name)));
    } };
}

commands! {
    flags_of_run: "run";
    flags_of_grade: "grade";
    flags_of_worker: "worker";
    flags_of_submit: "submit";
    flags_of_result: "result";
    flags_of_cancel: "cancel";
    flags_of_hold: "hold";
    flags_of_release: "release";
    flags_of_kill: "kill";
    flags_of_drain: "drain";
    flags_of_setup: "setup";
    flags_of_audit: "audit";
    flags_of_delete: "delete";
    flags_of_usage: "usage";
    flags_of_workers: "workers";
    flags_of_jobs: "jobs";
    flags_of_top: "top";
    flags_of_queue: "queue";
    flags_of_queue_list: "queue list";
    flags_of_queue_show: "queue show";
    flags_of_queue_requeue: "queue requeue";
    flags_of_queue_drop: "queue drop";
    flags_of_languages: "languages";
    flags_of_images_build: "images build";
    flags_of_images_list: "images list";
    flags_of_images_verify: "images verify";
    flags_of_images_remove: "images remove";
    flags_of_images_export: "images export";
    flags_of_images_import: "images import";
    flags_of_exporter: "exporter";
    flags_of_bench: "bench";
    flags_of_doctor: "doctor";
    flags_of_version: "version";
    flags_of_completions: "completions";
    flags_of_man: "man";
    flags_of_agent: "agent";
    flags_of_docs: "docs";
}

/// A fleet without a worker: what is submitted is found in its queue.
struct Trial {
    services: Services,
    installation: Installation,
    directory: TempDir,
    done: Job,
    queued: Job,
}

impl Trial {
    async fn new() -> Self {
        let services = Services::fresh();
        let installation = Installation::fresh()
            .on(&services)
            .set("SANDBOX_DOCKER_HOST", "unix:///nowhere/docker.sock");
        let directory = TempDir::new().expect("room for files");
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), text).expect("room for a file");
        };
        write("it.py", MIRROR);
        write("given.txt", "text of the file");
        write("report.json", REPORT);
        write("tests.json", r#"[{"name":"given","answer":"0"},{"name":"later","answer":"0"}]"#);
        write("bad.toml", "[worker]\nslots = 0\n");
        let lines = [
            serde_json::json!({ "version": 1, "language": "python", "code": MIRROR }),
            serde_json::json!({ "version": 1, "code": "print('mirror of no language')" }),
        ];
        write("jobs.jsonl", &lines.map(|line| line.to_string() + "\n").concat());
        let client = services.client().await;
        let jobs = [Job::new("python", ""), Job::new("python", "")];
        for job in &jobs {
            client.submit(job).await.expect("the broker takes it");
        }
        client.cancel(&jobs[0].job_id).await.expect("answered");
        let [done, queued] = jobs;
        let trial = Self { services, installation, directory, done, queued };
        trial.messages().await;
        trial
    }

    async fn all_of(&self, name: &str) {
        let command = commands().find(|it| it.name == name).expect("it has rows");
        let mut faults = Vec::new();
        for (index, (mode, base)) in command.modes.iter().enumerate() {
            let plain = self.run(command, base, &[], &format!("{mode}-plain")).await;
            for (flag, modes) in command.rows {
                let (extra, expect) = modes[index];
                if let Expect::Mode = expect {
                    continue;
                }
                let seen = self.run(command, base, extra, mode).await;
                let code = |seen: &str| seen.lines().next().map(str::to_owned);
                let is_right = match expect {
                    Expect::Seen(part) => seen.contains(part) && !plain.contains(part),
                    Expect::Refused => {
                        code(&seen).as_deref() == Some("exit 64") && seen.contains(flag)
                    }
                    Expect::Elsewhere(_) => code(&seen) == code(&plain),
                    Expect::Mode => true,
                };
                if !is_right {
                    faults.push(format!(
                        "{name}, {mode}, {flag}: {expect:?}\n{seen}\nwithout:\n{plain}"
                    ));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    }

    /// All that a command showed and left: its exit code, streams and messages.
    async fn run(&self, command: &Command, base: &[&str], extra: &[&str], mode: &str) -> String {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let filled = |argument: &&str| {
            argument
                .replace("$SCRIPT", &path("it.py"))
                .replace("$FILE", &path("given.txt"))
                .replace("$TESTS", &path("tests.json"))
                .replace(
                    "$PACKAGE",
                    concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/problems/sum"),
                )
                .replace("$REPORT", &path("report.json"))
                .replace("$BAD", &path("bad.toml"))
                .replace("$JOBS", &path("jobs.jsonl"))
                .replace("$OUT", &path(&format!("out-{mode}")))
                .replace("$DONE", self.done.job_id.as_str())
                .replace("$QUEUED", self.queued.job_id.as_str())
                .replace("$MODE", mode)
        };
        let arguments: Vec<String> = command
            .name
            .split(' ')
            .collect::<Vec<_>>()
            .iter()
            .chain(base)
            .chain(extra)
            .map(filled)
            .collect();
        let ran = self.installation.run(&arguments).await;
        let mut seen =
            format!("exit {}\n{}{}{}", ran.code, ran.stdout, ran.stderr, self.messages().await);
        for entry in fs::read_dir(self.directory.path()).expect("it is there") {
            let name = entry.expect("an entry").file_name().display().to_string();
            if name.starts_with("out-") {
                seen += &format!("left: {name}\n");
            }
        }
        seen
    }

    /// Takes all messages of jobs out of their queues.
    async fn messages(&self) -> String {
        let (_connection, channel) = self.services.channel().await.expect("the broker runs");
        let prefix = &self.services.prefix;
        let container = Isolation::Container;
        let mut queues: Vec<String> =
            Priority::ALL.iter().map(|it| names::job_queue(prefix, container, *it)).collect();
        for shard in names::tenant_shards(TENANT) {
            queues.push(names::shard_queue(prefix, container, Priority::Interactive, shard));
        }
        let mut text = String::new();
        for queue in queues {
            let options = BasicGetOptions { no_ack: true };
            while let Some(message) =
                channel.basic_get(queue.as_str().into(), options).await.expect("a queue")
            {
                text += &String::from_utf8_lossy(&message.data);
                text.push('\n');
            }
        }
        text
    }
}
