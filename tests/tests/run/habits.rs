//! What people are used to from other command lines.

use std::{
    fs,
    process::{Command, Stdio},
};

use sandfleet_tests::{Finished, Installation, soon};
use tokio::io::AsyncWriteExt;

use crate::Programs;

async fn piped(installation: &Installation, arguments: &[&str], input: &str) -> Finished {
    let mut command = installation.command(arguments);
    let mut process = command.stdin(Stdio::piped()).spawn().expect("the binary is there");
    let mut pipe = process.stdin.take().expect("a pipe");
    pipe.write_all(input.as_bytes()).await.expect("it reads");
    drop(pipe);
    let output = soon("its end", process.wait_with_output()).await.expect("our child");
    Finished {
        code: output.status.code().expect("no signal"),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test]
async fn a_program_comes_from_stdin_and_its_arguments_after_two_dashes() {
    let installation = Installation::fresh();
    let code = "import sys; print(sys.argv[1:])";
    let arguments = ["run", "-", "--language", "python", "--", "--json", "b c"];
    let ran = piped(&installation, &arguments, code).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "['--json', 'b c']\n"), "{ran:#?}");
    let ran = piped(&installation, &["run", "-", "--language", "bash", "--", "x"], "echo $1").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "x\n"), "{ran:#?}");
}

#[tokio::test]
async fn limits_have_units() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "pass");
    let limits = ["--limit", "memory_bytes=300M", "--limit", "wall_time_ms=2s"];
    let ran = installation.run(&[&["run", "--json", &script][..], &limits].concat()).await;
    let limits = ran.result().sandbox.expect("it ran").limits;
    assert_eq!((limits.memory_bytes, limits.wall_time_ms), (300 << 20, 2000));
}

#[tokio::test]
async fn a_limit_above_the_cap_holds_and_is_told() {
    let installation = Installation::fresh().set("LIMITS_MAX_WALL_TIME_MS", "11000");
    let programs = Programs::new();
    let script = programs.write("it.py", "pass");
    let batch = programs.write("jobs", r#"{"version":1,"language":"python","code":"pass"}"#);
    for mode in [&["run", "--json", &script][..], &["run", "--batch", &batch]] {
        let ran = installation.run(&[mode, &["--limit", "wall_time_ms=12s"]].concat()).await;
        assert_eq!(ran.result().sandbox.expect("it ran").limits.wall_time_ms, 12_000, "{ran:#?}");
        let told = "wall_time_ms = 12000 is above limits.max.wall_time_ms = 11000; `run` takes it";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        let ran = installation.run(&[mode, &["--limit", "wall_time_ms=11s"]].concat()).await;
        assert_eq!(ran.stderr, "");
    }
}

#[tokio::test]
async fn stdin_is_bytes() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let code = "import sys; print(sys.stdin.buffer.read() == bytes(range(256)))";
    let script = programs.write("it.py", code);
    let bytes: Vec<u8> = (0..=255).collect();
    fs::write(programs.path("in"), &bytes).expect("room");
    for sandbox in ["native", "docker"] {
        let arguments = ["run", "--sandbox", sandbox, &script, "--stdin", &programs.path("in")];
        let ran = installation.run(&arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "True\n"), "{ran:#?}");
    }
}

#[tokio::test]
async fn no_broker_bounds_what_runs_here() {
    let installation = Installation::fresh().set("JOBS_MAX_BYTES", "1024");
    let programs = Programs::new();
    let script = programs.write("it.py", "import os; print(os.path.getsize('rows.csv'))");
    let rows = programs.write("rows.csv", &"1,2,3\n".repeat(2_000_000));
    let batch =
        programs.write("jobs", r#"{"version":1,"language":"python","code":"import os; print(1)"}"#);
    let ran = installation.run(&["run", &script, "--file", &rows]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "12000000\n"), "{ran:#?}");
    let ran = installation.run(&["run", "--batch", &batch, "--file", &rows]).await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let limits = ["--limit", "memory_bytes=10M"];
    let ran = installation.run(&[&["run", &script, "--file", &rows][..], &limits].concat()).await;
    assert_eq!(ran.code, 64);
    assert!(
        ran.stderr.contains("longer than memory_bytes = 10485760; raise it with --limit"),
        "{ran:#?}"
    );
}

#[tokio::test]
async fn a_directory_comes_with_its_structure() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let code =
        "import os\nfor at, _, names in sorted(os.walk('data')):\n  print(at, sorted(names))";
    let script = programs.write("it.py", code);
    fs::create_dir_all(programs.path("data/deep")).expect("room");
    programs.write("data/a.csv", "1");
    programs.write("data/deep/b.csv", "2");
    let ran = installation.run(&["run", &script, "--file", &programs.path("data")]).await;
    assert_eq!(ran.stdout, "data ['a.csv']\ndata/deep ['b.csv']\n", "{ran:#?}");
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_without_a_word() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "pass");
    let line = format!("{}\n", r#"{"version":1,"language":"python","code":"pass"}"#);
    let batch = programs.write("jobs.jsonl", &line);
    let commands: [&[&str]; 8] = [
        &["doctor", "--json"],
        &["doctor"],
        &["run", "--json", &script],
        &["run", "--batch", &batch],
        &["worker", "--check-config"],
        &["docs", "configuration"],
        &["docs", "metrics"],
        &["docs", "exit-codes"],
    ];
    for arguments in commands {
        let mut command = installation.command(arguments);
        // The reading end is closed before anything is written.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        command.stdout(Stdio::from(writer));
        let ran = Finished::of(command).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (141, ""), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command =
            Command::new(std::env::var("SANDFLEET_TEST_BIN").expect("set by tests/run"));
        let ran = command
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .expect("it runs");
        assert_eq!(
            (ran.status.code(), ran.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{arguments:?}"
        );
    }
}
