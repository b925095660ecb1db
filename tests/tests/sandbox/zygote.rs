//! Interpreters that programs start from, and how one takes another's place.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use sandfleet_common::{JobResult, Verdict};
use sandfleet_tests::{children_of, eventually, file_of};
use sandfleet_worker::{
    admission::catalogue::{Catalogue, WarmStart},
    sandbox::Sandbox,
};

use crate::bench::{natively, python, run, warm_up};

/// What all programs of one interpreter have in common, and those of two have not.
const SECRET: &str = "print(hash('what is it'))";

async fn secret(sandbox: &dyn Sandbox) -> (String, bool) {
    let result = run(sandbox, &python(SECRET)).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:?}");
    (result.run.expect("it ran").stdout, result.sandbox.expect("it ran").warm)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_so_many_programs_another_interpreter_takes_over() {
    let mut starts = Catalogue::embedded().warm_starts();
    starts.iter_mut().for_each(|start| start.max_programs = 4);
    natively(starts, async |sandbox| {
        warm_up(sandbox, &python(SECRET)).await;
        let (mut secrets, begun) = (BTreeSet::new(), Instant::now());
        while secrets.len() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "only {secrets:?}");
            let (secret, warm) = secret(sandbox).await;
            if warm {
                secrets.insert(secret);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interpreter_that_dies_takes_no_program_along() {
    natively(Catalogue::embedded().warm_starts(), async |sandbox| {
        warm_up(sandbox, &python(SECRET)).await;
        let (before, _) = secret(sandbox).await;
        let interpreters = interpreters();
        assert!(!interpreters.is_empty(), "no interpreter is there");
        for interpreter in interpreters {
            kill_process(interpreter, Signal::KILL).expect("it is ours");
        }
        // More than there are copies: some have to be made, and can't.
        let job = python("print('accepted')");
        let results: Vec<JobResult> = join_all((0..8).map(|_| run(sandbox, &job))).await;
        for result in results {
            assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:?}");
        }
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(60), "no other interpreter gets warm");
            let (secret, warm) = secret(sandbox).await;
            if warm && secret != before {
                break;
            }
        }
    })
    .await;
}

/// To copy an interpreter is most of what a small program costs, so it is done once for each; or twice, if that
/// is what the operator wants.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_has_one_copy_of_its_interpreter() {
    for vfork in [true, false] {
        let mut starts = Catalogue::embedded().warm_starts();
        starts.iter_mut().for_each(|start| start.vfork = vfork);
        natively(starts, async |sandbox| {
            warm_up(sandbox, &python(SECRET)).await;
            let launcher = eventually("a container waits for a program", async || {
                secret(sandbox).await;
                launchers().into_iter().find(|launcher| {
                    let firsts = children_of(&launcher.to_string()).into_iter();
                    let mut families = firsts.map(|it| (it, children_of(&it.to_string())));
                    families.any(|(first, programs)| {
                        runs(first, "sandfleet-agent")
                            && matches!(programs[..], [program] if runs(program, "/python3"))
                    })
                })
            })
            .await;
            assert_eq!(has_stacks(launcher), vfork, "what PID 1 of its containers begins in");
        })
        .await;
    }
}

/// Whether a launcher has the stacks that PID 1 of a container needs in its memory: 256 KiB, 64 KiB below them
/// that can't be touched.
fn has_stacks(launcher: Pid) -> bool {
    let maps = fs::read_to_string(format!("/proc/{launcher}/maps")).expect("it waits for jobs");
    let sizes = maps.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (range, access) = (fields.next()?, fields.next()?);
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some((access.to_owned(), number(end)? - number(start)?))
    });
    let sizes: Vec<_> = sizes.collect();
    let is_stack = |pair: &[(String, u64)]| {
        pair[0] == ("---p".to_owned(), 64 << 10) && pair[1].0 == "rw-p" && pair[1].1 >= 256 << 10
    };
    sizes.windows(2).filter(|pair| is_stack(pair)).count() == 2
}

/// Starts of an interpreter that says of itself what `lie` (lines of Python) has it say, before it is asked.
fn starts_of_a_liar(lie: &str) -> Vec<WarmStart> {
    let mut starts = Catalogue::embedded().warm_starts();
    for start in &mut starts {
        // Without -S the question comes before all that a command can have it do. What an interpreter does
        // at its start, and says before it runs a file, is done and said here.
        // Slowly, so that it is seen.
        let code = format!(
            "import site, sys, time\ntime.sleep(0.5)\n{lie}\nsite.main()\nsys.argv = ['main.py']\n\
             sys.audit('cpython.run_file', sys.argv[0])\n"
        );
        start.command = vec![start.command[0].clone(), "-S".into(), "-c".into(), code];
    }
    starts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interpreter_that_the_loader_does_not_know_starts_cold() {
    // The control: the same interpreter gets warm if it doesn't lie.
    natively(starts_of_a_liar(""), async |sandbox| {
        warm_up(sandbox, &python(SECRET)).await;
    })
    .await;
    for lie in [
        "sys.version_info = (3, 8, 20, 'final', 0)",
        "sys.version_info = (3, 15, 0, 'final', 0)",
        "sys.version_info = (4, 0, 0, 'final', 0)",
        "sys.abiflags = 't'",
        "sys.abiflags = 'd'",
        "sys.gettotalrefcount = lambda: 0",
        "sys.getobjects = lambda limit: []",
        "sys.maxsize = 2**31 - 1",
        "sys.implementation.name = 'pypy'",
    ] {
        natively(starts_of_a_liar(lie), async |sandbox| {
            for is_there in [true, false] {
                eventually("an interpreter is started, and ends", async || {
                    secret(sandbox).await;
                    (interpreters().is_empty() != is_there).then_some(())
                })
                .await;
            }
            for _ in 0..3 {
                assert!(!secret(sandbox).await.1, "{lie}");
            }
        })
        .await;
    }
}

/// The C library has handlers of its own, since the first thread of a process, for what all threads have to do
/// at once: programs have them too, when it was the interpreter that had a thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_with_threads_can_set_its_user_though_its_interpreter_had_threads_before() {
    let mut starts = Catalogue::embedded().warm_starts();
    let a_thread =
        "import threading\nthread = threading.Thread(target=int)\nthread.start()\nthread.join()";
    starts.iter_mut().for_each(|start| start.rehearsal = a_thread.into());
    natively(starts, async |sandbox| {
        warm_up(sandbox, &python(SECRET)).await;
        let code = r#"
            import os, threading
            end = threading.Event()
            threading.Thread(target=end.wait).start()
            os.setuid(os.getuid())
            end.set()
            print("alive")
        "#;
        let result = run(sandbox, &python(code)).await;
        assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:?}");
        assert!(result.sandbox.expect("it ran").warm);
    })
    .await;
}

/// As matplotlib keeps a font: what the interpreter goes on reading must not be what else has the number by then,
/// and not be read at a place that another program has moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_an_interpreter_keeps_open_is_every_programs_own() {
    let mut starts = Catalogue::embedded().warm_starts();
    let keep = "import sys\nsys.kept = [open('/usr/bin/python3', 'rb', 0) for _ in range(9)]\n\
                [file.read(100 + at) for at, file in enumerate(sys.kept)]";
    starts.iter_mut().for_each(|start| start.rehearsal = keep.into());
    natively(starts, async |sandbox| {
        warm_up(sandbox, &python(SECRET)).await;
        let code = r#"
            import sys
            others = [open("/proc/self/stat") for _ in range(20)]
            same = open("/usr/bin/python3", "rb").read(2000)
            print([file.read(1000) == same[at:at + 1000] for at, file in enumerate(sys.kept, 100)])
        "#;
        for _ in 0..3 {
            let result = run(sandbox, &python(code)).await;
            assert!(result.sandbox.as_ref().is_some_and(|it| it.warm), "{result:?}");
            let stdout = result.run.expect("it ran").stdout;
            assert_eq!(stdout, format!("[{}]\n", ["True"; 9].join(", ")));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interpreter_that_keeps_open_what_can_not_be_opened_anew_is_not_copied() {
    let mut starts = Catalogue::embedded().warm_starts();
    // Slowly, so that it is seen.
    let keep = "import os, sys, time\nsys.kept = os.pipe()\ntime.sleep(0.5)";
    starts.iter_mut().for_each(|start| start.rehearsal = keep.into());
    natively(starts, async |sandbox| {
        for is_there in [true, false] {
            eventually("an interpreter is started, and ends", async || {
                secret(sandbox).await;
                (interpreters().is_empty() != is_there).then_some(())
            })
            .await;
        }
        assert!(!secret(sandbox).await.1, "a program of it would lack the pipe");
    })
    .await;
}

/// This process's children's children that a launcher's containers are children of.
fn launchers() -> Vec<Pid> {
    interpreters().into_iter().flat_map(|it| children_of(&it.to_string())).collect()
}

fn runs(process: Pid, name: &str) -> bool {
    file_of(&process.to_string()).is_some_and(|file| file.display().to_string().contains(name))
}

/// This process's children that are interpreters: what else it starts are launchers.
fn interpreters() -> Vec<Pid> {
    let is_interpreter = |child: &Pid| {
        let command = fs::read_to_string(format!("/proc/{child}/cmdline"));
        command.is_ok_and(|command| command.starts_with("/usr/bin/python3"))
    };
    children_of("self").into_iter().filter(is_interpreter).collect()
}
