//! What a program is given, and how its end is told.

use sandfleet_common::{Encoding, InputFile, Isolation, Job, Limits, Verdict};
use sandfleet_worker::{
    admission::catalogue::{Bounds, Catalogue},
    sandbox::Sandbox,
};

use crate::bench::{python, run, stdout_of};

pub(crate) async fn the_exit_code_is_the_programs(sandbox: &dyn Sandbox) {
    let result = run(sandbox, &python("raise SystemExit(7)")).await;
    assert_eq!(result.verdict, Some(Verdict::RuntimeError));
    assert_eq!((result.exit_code, result.signal), (Some(7), None));
    assert_eq!(result.message, "exit code 7");

    let result = run(sandbox, &python("pass")).await;
    assert_eq!((result.verdict, result.exit_code), (Some(Verdict::Accepted), Some(0)));
}

pub(crate) async fn exit_137_is_no_want_of_memory(sandbox: &dyn Sandbox) {
    let result = run(sandbox, &python("raise SystemExit(137)")).await;
    assert_eq!((result.verdict, result.exit_code), (Some(Verdict::RuntimeError), Some(137)));
}

pub(crate) async fn a_signal_is_named(sandbox: &dyn Sandbox) {
    let job = python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)");
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::RuntimeError));
    assert_eq!((result.exit_code, result.signal.as_deref()), (None, Some("SIGSEGV")));
    assert!(result.message.contains("SIGSEGV"), "{}", result.message);
}

pub(crate) async fn a_program_that_kills_itself_did_not_want_for_memory(sandbox: &dyn Sandbox) {
    let result = run(sandbox, &python("import os; os.kill(os.getpid(), 9)")).await;
    assert_eq!(result.verdict, Some(Verdict::RuntimeError));
    assert_eq!(result.signal.as_deref(), Some("SIGKILL"));
}

pub(crate) async fn stdin_arrives_whole(sandbox: &dyn Sandbox) {
    let mut job = python("import sys; text = sys.stdin.read(); print(len(text), text[-9:])");
    job.stdin = Some(format!("{}the end ä", "0123456789".repeat(200_000)));
    assert_eq!(stdout_of(sandbox, &job).await, "2000009 the end ä\n");
}

pub(crate) async fn without_stdin_there_is_nothing_to_read(sandbox: &dyn Sandbox) {
    let job = python("import sys; print(repr(sys.stdin.read()))");
    assert_eq!(stdout_of(sandbox, &job).await, "''\n");
}

pub(crate) async fn arguments_and_variables_arrive_as_they_are(sandbox: &dyn Sandbox) {
    let strange = ["", "two words", "--help", "$HOME `id` \"'\\", "a\nb", "ünï", "*"];
    let mut job = python(
        "
        import json, os, sys
        print(json.dumps([sys.argv[1:], os.environ['STRANGE'], os.environ['LANG']]))
        ",
    );
    job.args = strange.map(str::to_owned).to_vec();
    job.env = [("STRANGE".into(), strange.concat()), ("LANG".into(), "C".into())].into();
    let printed: serde_json::Value =
        serde_json::from_str(&stdout_of(sandbox, &job).await).expect("JSON");
    assert_eq!(printed, serde_json::json!([strange, strange.concat(), "C"]));
}

pub(crate) async fn no_signal_is_blocked_or_ignored(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import signal
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
        status = dict(line.split(':', 1) for line in open('/proc/self/status') if ':' in line)
        # Python itself ignores SIGPIPE (13) and SIGXFSZ (25).
        print(hex(int(status.get('SigIgn', '0'), 16) & ~(1 << 12 | 1 << 24)))
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "set()\n0x0\n");
}

pub(crate) async fn nothing_of_the_workers_environment_arrives(sandbox: &dyn Sandbox) {
    assert!(std::env::var("SANDFLEET_TEST_AMQP_URL").is_ok(), "the worker has a secret");
    let mut job = python("print(open('/proc/self/environ').read().replace('\\0', '\\n'), end='')");
    job.env.insert("OWN".into(), "1".into());
    let catalogue = Catalogue::embedded();
    let (_, language) = catalogue.find("python").expect("built in");
    let mut expected: Vec<String> = language
        .environment(&job.env, Bounds::of(&Limits::default(), 1.0))
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    expected.sort();
    let printed = stdout_of(sandbox, &job).await;
    let mut lines: Vec<&str> = printed.lines().collect();
    if sandbox.description().isolation == Isolation::GVisor {
        // Its kernel shows what a process was started with, and not what the process took away since.
        lines.retain(|line| *line != "PYTHONPATH=/sandfleet/python");
    }
    lines.sort_unstable();
    assert_eq!(lines, expected);
}

pub(crate) async fn files_are_there_when_the_program_starts(sandbox: &dyn Sandbox) {
    let mut job: Job = python(
        "
        import os
        print(os.getcwd(), os.path.abspath(__file__), open('data/deep/er/text.txt').read())
        print(list(open('data/bytes.bin', 'rb').read()) == list(range(256)) * 1000)
        print(os.path.getsize('empty'))
        ",
    );
    job.entrypoint = Some("source/program.py".into());
    let bytes: Vec<u8> = (0..=255).cycle().take(256_000).collect();
    let base64 = Encoding::Base64.encode(&bytes).expect("any bytes");
    job.files = vec![
        file("data/deep/er/text.txt", "tëxt", Encoding::Utf8),
        file("data/bytes.bin", &base64, Encoding::Base64),
        file("empty", "", Encoding::Utf8),
    ];
    let printed = stdout_of(sandbox, &job).await;
    assert_eq!(printed, "/box /box/source/program.py tëxt\nTrue\n0\n");
}

/// An interpreter compares times to know; where it has to compile anew, every start takes milliseconds more.
pub(crate) async fn what_was_once_compiled_is_used(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import subprocess, sys
        told = subprocess.run([sys.executable, '-v', '-c', ''], capture_output=True, text=True).stderr
        print(' matches ' in told, [line for line in told.splitlines() if 'stale' in line])
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "True []\n");
}

/// An input file.
pub(crate) fn file(name: &str, content: &str, encoding: Encoding) -> InputFile {
    InputFile { name: name.into(), content: content.into(), encoding }
}
