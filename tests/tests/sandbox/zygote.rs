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
use sandfleet_worker::{catalogue::Catalogue, sandbox::Sandbox};

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

/// To copy an interpreter is most of what a small program costs, so it is done once for each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_has_one_copy_of_its_interpreter() {
    natively(Catalogue::embedded().warm_starts(), async |sandbox| {
        warm_up(sandbox, &python(SECRET)).await;
        let copies = || interpreters().into_iter().flat_map(|it| children_of(&it.to_string()));
        eventually("a container waits for a program", async || {
            secret(sandbox).await;
            let firsts = copies().flat_map(|copy| children_of(&copy.to_string()));
            let mut families = firsts.map(|first| (first, children_of(&first.to_string())));
            let is_lean = families.any(|(first, programs)| {
                runs(first, "sandfleet-agent")
                    && matches!(programs[..], [program] if runs(program, "/python3"))
            });
            is_lean.then_some(())
        })
        .await;
    })
    .await;
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
