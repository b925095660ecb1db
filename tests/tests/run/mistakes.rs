//! Messages about mistakes on the command line.

use sandfleet_tests::Installation;

use crate::Programs;

#[tokio::test]
async fn a_mistake_is_one_clear_line() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let script = programs.write("it.py", "print('never')");
    let odd = programs.write("it.odd", "");
    let binary = programs.path("it.bin.py");
    std::fs::write(&binary, b"ab\xff").expect("room for a file");
    let directory = script.strip_suffix("/it.py").expect("a file in a directory");
    let is_directory = format!("{directory}: is a directory; name a file");
    let cases: [(&[&str], &str); 23] = [
        (&["run", "/nowhere/it.py"], "/nowhere/it.py: No such file"),
        (&["run", &odd], "--language"),
        (&["run", &script, "--language", "cobol"], "language: \"cobol\" is not offered"),
        (&["run", &script, "--limit", "speed=1"], "unknown limit \"speed\""),
        (&["run", &script, "--limit", "wall_time_ms=soon"], "\"soon\" is no duration; use"),
        (&["run", &script, "--limit", "memory_bytes=512X"], "\"512X\" is no size; use"),
        (&["run", &script, "--limit", "processes=-1"], "\"-1\" is no whole number; use"),
        (&["run", &binary], "it.bin.py: a program has to be UTF-8, and byte 2 is not"),
        (&["run", "-"], "name it with --language (bash, "),
        (
            &["run", "-", "--language", "python", "--stdin", "-"],
            "the program is read from stdin already",
        ),
        (&["run", &script, "--limit", "wall_time_ms"], "use --limit NAME=NUMBER"),
        (&["run", &script, "--limit", "memory_bytes=1"], "limits.memory_bytes: 1 is too small"),
        (&["run", &script, "--file", "/nowhere/data"], "/nowhere/data: No such file"),
        (&["run", &script, "--file", &format!("{odd}=../up")], "../up"),
        (&["run", &script, "--file", &format!("{odd}=it.py")], "it.py"),
        (&["run", &script, "--env", "A"], "use --env NAME=VALUE"),
        (&["run", &script, "--env", "A B=1"], "\"A B\" is no variable name"),
        (&["run", &script, "--stdin", "/nowhere/in"], "/nowhere/in: No such file"),
        (&["run", "--batch", "/nowhere/jobs"], "/nowhere/jobs: No such file"),
        (&["run", directory, "--language", "python"], &is_directory),
        (&["run", "--batch", "-", "--stdin", "-"], "the batch is read from stdin already"),
        (&["run", &script, "--stdin", directory], &is_directory),
        (&["run", "--batch", directory], &is_directory),
    ];
    for (arguments, part) in cases {
        let ran = installation.run(arguments).await;
        assert_eq!(ran.code, 64, "{arguments:?}: {ran:#?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(ran.stderr.starts_with("sandfleet: "), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn an_unknown_flag_is_a_mistake_and_help_is_not() {
    let installation = Installation::fresh();
    let ran = installation.run(&["run", "it.py", "--fast"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (64, ""));
    assert!(ran.stderr.contains("--fast"), "{}", ran.stderr);
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"]] {
        let ran = installation.run(arguments).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(!ran.stdout.is_empty());
    }
    assert_eq!(installation.run(&["run"]).await.code, 64);
}

#[tokio::test]
async fn a_missing_engine_or_image_is_said_in_one_line() {
    let programs = Programs::new();
    let script = programs.write("it.py", "pass");
    let away = Installation::fresh().set("SANDBOX_DOCKER_HOST", "unix:///nowhere/docker.sock");
    let without = Installation::fresh().set("SANDBOX_IMAGE", "sandfleet/none:such");
    for (installation, part) in [(away, "/nowhere/docker.sock"), (without, "sandfleet/none:such")] {
        let ran = installation.run(&["run", "--sandbox", "docker", &script]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (69, ""), "{ran:#?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}
#[tokio::test]
async fn all_mistakes_of_a_configuration_are_named_at_once() {
    let installation = Installation::fresh()
        .set("WORKER_SLOTS", "many")
        .set("WORKER_LEASE_MS", "1")
        .set("QUEUE_URL", "http://user:topsecret@host/")
        .set("STORE_URL", "redis://user:topsecret@host:notaport/")
        .set("WORKER_SLOT", "2");
    let ran = installation.run(&["worker", "--check-config"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (64, ""), "{ran:#?}");
    assert!(ran.stderr.starts_with("sandfleet: the configuration has 5 mistakes:\n"), "{ran:#?}");
    for name in
        ["worker.slots", "worker.lease_ms", "queue.url", "store.url", "SANDFLEET_WORKER_SLOT"]
    {
        let named = |line: &str| line.starts_with("- ") && line.contains(name);
        assert!(ran.stderr.lines().any(named), "{name} in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("topsecret"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_its_secrets() {
    let installation = Installation::fresh()
        .set("QUEUE_URL", "amqp://fleet:topsecret@broker:5672/jobs")
        .set("STORE_URL", "redis://fleet:topsecret@store:6379/");
    let ran = installation.run(&["worker", "--check-config"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("broker:5672") && ran.stdout.contains("store:6379"));
    assert!(!ran.stdout.contains("topsecret"), "{}", ran.stdout);
}
