//! What a program's output may do to the terminal that shows it.

use sandfleet_tests::{Finished, Installation};

use crate::Programs;

/// Prints a title, a colour as one character, and no line end.
const HOSTILE: &str = "print('\\x1b]0;title\\x07 \\x9b31m red', end='')";

/// Runs a command on a terminal of its own.
async fn on_a_terminal(installation: &Installation, arguments: &[&str]) -> Finished {
    let binary = std::env::var("SANDFLEET_TEST_BIN").expect("set by tests/run");
    let line = format!("{binary} {}", arguments.join(" "));
    Finished::of(installation.command_through("script", &["-qec", &line, "/dev/null"])).await
}

#[tokio::test]
async fn what_a_program_prints_can_not_steer_the_terminal_unless_it_is_asked_for() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", HOSTILE);
    let ran = on_a_terminal(&installation, &["run", &script]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stdout.starts_with("\\u{1b}]0;title\\u{7} \\u{9b}31m red\r\n"), "{ran:#?}");
    assert!(ran.stdout.contains("\r\nsandfleet: accepted: exit code 0"), "{ran:#?}");

    let ran = on_a_terminal(&installation, &["run", "--raw", &script]).await;
    assert!(ran.stdout.starts_with("\u{1b}]0;title\u{7} \u{9b}31m red"), "{ran:#?}");
    let ran = installation.run(&["run", &script]).await;
    assert_eq!(ran.stdout, "\u{1b}]0;title\u{7} \u{9b}31m red", "a pipe gets every byte");
}

#[tokio::test]
async fn names_of_artifacts_can_not_steer_the_terminal() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "open('\\u202egnp.\\x9b2J\\u200b', 'w').close()");
    let out = programs.path("out");
    for arguments in [&["run", &script, "--artifacts", &out][..], &["run", "--json", &script]] {
        let ran = installation.run(arguments).await;
        assert_eq!(ran.code, 0, "{ran:#?}");
        for text in [&ran.stdout, &ran.stderr] {
            assert!(text.lines().all(|line| line.chars().all(sandfleet_common::is_printable)));
        }
    }
    let arguments = ["run", "--job\u{1b}[2J\u{202e}", &script];
    let ran = installation.run(&arguments).await;
    assert_eq!(ran.code, 64);
    assert!(!ran.stderr.contains(['\u{1b}', '\u{202e}']), "{ran:#?}");
}
