//! `sandfleet run`: one program on this machine, as people start it.

mod batch;
mod buffering;
mod compile;
mod doctor;
mod evaluation;
mod grade;
mod habits;
mod interrupts;
mod mistakes;
mod terminal;
mod users;

use std::{fs, process::Stdio};

use sandfleet_common::{Encoding, LimitName, Limits, Status, Verdict};
use sandfleet_tests::{Installation, soon};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// A directory with programs in it.
pub(crate) struct Programs(TempDir);

impl Programs {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("room for files"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("plain text").to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("room for a file");
        path
    }
}

fn example(name: &str) -> String {
    format!("{}/../examples/penguins/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Rows of a species with every measure, and rows that lack one.
fn count_penguins(species: &str) -> (usize, usize) {
    let text = fs::read_to_string(example("penguins.csv")).expect("the example is there");
    let (head, rows) = text.split_once('\n').expect("a head");
    let column = |name: &str| head.split(',').position(|it| it == name).expect("a column");
    let measures = ["bill_length_mm", "flipper_length_mm", "body_mass_g"].map(column);
    let of_species = rows.lines().filter(|row| row.split(',').next() == Some(species));
    let (without, with): (Vec<&str>, Vec<&str>) = of_species.partition(|row| {
        let fields: Vec<&str> = row.split(',').collect();
        measures.iter().any(|measure| fields[*measure] == "NA")
    });
    (with.len(), without.len())
}

#[tokio::test]
async fn the_example_makes_its_report() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let out = programs.path("out");
    let data = example("penguins.csv");
    let ran = installation
        .run(&["run", &example("report.py"), "--file", &data, "--artifacts", &out])
        .await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = fs::read_to_string(format!("{out}/summary.json")).expect("an artifact");
    let summary: serde_json::Value = serde_json::from_str(&summary).expect("JSON");
    let mut dropped = 0;
    for species in ["Adelie", "Chinstrap", "Gentoo"] {
        let (with, without) = count_penguins(species);
        assert_eq!(summary["species"][species]["count"], with, "{species}");
        assert!(ran.stdout.contains(species), "{}", ran.stdout);
        dropped += without;
    }
    assert!(dropped > 0);
    assert_eq!(summary["rows_dropped"], dropped);
    let chart = fs::read_to_string(format!("{out}/chart.svg")).expect("an artifact");
    assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"));
    let mut saved: Vec<_> = fs::read_dir(&out)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("plain text"))
        .collect();
    saved.sort();
    assert_eq!(saved, ["chart.svg", "summary.json"], "inputs don't come back");
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("sandfleet: accepted: exit code 0 |"), "{}", ran.stderr);
}

#[tokio::test]
async fn json_is_one_object_and_nothing_else() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "import sys; print('out'); print('err', file=sys.stderr)");
    let ran = installation.run(&["run", "--json", &script]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
    let result = ran.result();
    assert_eq!((result.status, result.verdict), (Status::Succeeded, Some(Verdict::Accepted)));
    assert_eq!(result.attempt, 1);
    assert!(result.finished_at >= result.started_at);
    let run = result.run.expect("it ran");
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(result.sandbox.expect("what it ran under").backend, "native");
}

#[tokio::test]
async fn the_same_program_runs_in_docker() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "print('from a container')");
    let ran = installation.run(&["run", "--sandbox", "docker", "--json", &script]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let result = ran.result();
    assert_eq!(result.run.expect("it ran").stdout, "from a container\n");
    assert_eq!(result.sandbox.expect("what it ran under").backend, "docker");
}

#[tokio::test]
async fn the_exit_code_says_how_the_program_fared() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let cases: [(&str, &[&str], i32, &str); 8] = [
        ("pass", &[], 0, "accepted: exit code 0"),
        ("raise SystemExit(3)", &[], 3, "runtime_error: exit code 3"),
        ("import os; os.abort()", &[], 134, "runtime_error: killed by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", &[], 137, "runtime_error: killed by SIGKILL"),
        (
            "import time; time.sleep(1000)",
            &["--limit", "wall_time_ms=300"],
            124,
            "time_limit_exceeded: ran longer than wall_time_ms = 300",
        ),
        (
            "while True: pass",
            &["--limit", "cpu_time_ms=300"],
            124,
            "time_limit_exceeded: used more CPU time than cpu_time_ms = 300",
        ),
        (
            "x = b'x' * (200 << 20)",
            &["--limit", "memory_bytes=67108864"],
            125,
            "memory_limit_exceeded: needed more than memory_bytes = 67108864",
        ),
        (
            "while True: print('x' * 60000)",
            &["--limit", "output_bytes=10"],
            126,
            "output_limit_exceeded: wrote 67108864 bytes",
        ),
    ];
    for (code, flags, exit, line) in cases {
        let script = programs.write("it.py", code);
        let ran = installation.run(&[&["run", &script], flags].concat()).await;
        assert_eq!(ran.code, exit, "{code}: {}", ran.stderr);
        let last = ran.stderr.lines().last().expect("a closing line");
        assert!(last.starts_with(&format!("sandfleet: {line}")), "{code}: {last}");
    }
}

#[tokio::test]
async fn a_program_gets_what_the_flags_say() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write(
        "it.py",
        "import os, sys\n\
         print(sys.argv[1:], os.environ['NAME'], sys.stdin.read(), open('in/b.txt').read())",
    );
    let input = programs.write("a=1.txt", "file");
    let stdin = programs.write("stdin.txt", "from a file");
    let renamed = format!("{input}=in/b.txt");
    let flags = ["--arg", "-x", "--arg", "two words", "--env", "NAME=a=b", "--file", &renamed];
    let run = [&["run", &script][..], &flags].concat();

    let ran = installation.run(&[&run[..], &["--stdin", &stdin]].concat()).await;
    assert_eq!(ran.stdout, "['-x', 'two words'] a=b from a file file\n", "{ran:#?}");

    let mut command = installation.command(&[&run[..], &["--stdin", "-"]].concat());
    let mut process = command.stdin(Stdio::piped()).spawn().expect("the binary is there");
    let mut pipe = process.stdin.take().expect("a pipe");
    pipe.write_all("from a pipe".as_bytes()).await.expect("it reads");
    drop(pipe);
    let output = soon("its end", process.wait_with_output()).await.expect("it ends");
    assert_eq!(output.stdout, b"['-x', 'two words'] a=b from a pipe file\n");
}

#[tokio::test]
async fn output_appears_before_the_program_ends() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "import time; print('early'); time.sleep(1000)");
    let mut command = installation.command(&["run", &script, "--limit", "wall_time_ms=60000"]);
    let mut process = command.spawn().expect("the binary is there");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    let line = soon("a line of output", lines.next_line()).await.expect("readable");
    assert_eq!(line.as_deref(), Some("early"));
    assert_eq!(process.try_wait().expect("our child"), None, "it still runs");
}

#[tokio::test]
async fn an_artifact_is_never_written_through_a_link() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "open('a.txt', 'w').write('artifact')");
    let (out, precious) = (programs.path("out"), programs.write("precious", "keep me"));
    fs::create_dir(&out).expect("room");
    std::os::unix::fs::symlink(&precious, format!("{out}/a.txt")).expect("room");
    let ran = installation.run(&["run", &script, "--artifacts", &out]).await;
    assert_eq!(ran.code, 64, "{ran:#?}");
    assert!(ran.stderr.contains("accepted: exit code 0"), "the verdict is told: {}", ran.stderr);
    let refused = format!("a.txt is not saved in {out}: a.txt is a symbolic link; remove it");
    assert!(ran.stderr.contains(&refused), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "keep me");

    fs::remove_file(format!("{out}/a.txt")).expect("it is there");
    fs::write(format!("{out}/a.txt"), "of an earlier run").expect("room");
    let ran = installation.run(&["run", &script, "--artifacts", &out]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(fs::read_to_string(format!("{out}/a.txt")).expect("saved"), "artifact");
}

#[tokio::test]
async fn every_limit_has_a_flag() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "pass");
    let mut arguments = vec!["run".to_owned(), script, "--json".into()];
    let value = |name: LimitName| Limits::default().get(name) + 1;
    for name in LimitName::ALL {
        arguments.extend(["--limit".to_owned(), format!("{name}={}", value(*name))]);
    }
    let ran = installation.run(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    let limits = ran.result().sandbox.expect("what it ran under").limits;
    for name in LimitName::ALL {
        assert_eq!(limits.get(*name), value(*name), "{name}");
    }
}

#[tokio::test]
async fn the_largest_limits_let_a_program_run() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "print('fine')");
    let mut failed = Vec::new();
    for name in LimitName::ALL {
        for (number, sandbox) in [
            (u64::MAX, "native"),
            (u64::MAX, "docker"),
            // Where a sum or a product would begin anew.
            (u64::MAX / 2, "native"),
            (u64::MAX / 1000 + 1, "native"),
        ] {
            let limit = format!("{name}={number}");
            let arguments = ["run", &script, "--sandbox", sandbox, "--limit", &limit];
            let ran = installation.run(&arguments).await;
            if (ran.code, ran.stdout.as_str()) != (0, "fine\n") {
                failed.push((limit, ran));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn output_that_is_no_text_passes_through_unchanged() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script =
        programs.write("it.py", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 100)");
    let command = installation.command(&["run", &script]).spawn().expect("the binary is there");
    let output = soon("its end", command.wait_with_output()).await.expect("it ends");
    let expected: Vec<u8> = (0..=255).cycle().take(25_600).collect();
    assert!(output.stdout == expected);
    let ran = installation.run(&["run", "--json", &script]).await;
    let run = ran.result().run.expect("it ran");
    assert_eq!(run.encoding, Encoding::Base64);
    assert!(run.encoding.decode(&run.stdout) == Ok(expected));
}
