//! Every bound that refuses something is in `limits_hit` and in the message, with its value and what to change.

use sandfleet_common::{
    Job,
    LimitName::{self, *},
    LimitsRequest,
    Verdict::{self, *},
};
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{python, run, stdout_of};

struct Case {
    what: &'static str,
    job: Job,
    limits: &'static [(LimitName, u64)],
    artifacts: &'static [&'static str],
    verdict: Verdict,
    hits: &'static [(LimitName, u64)],
    message: &'static str,
}

fn case(what: &'static str, job: Job, verdict: Verdict, message: &'static str) -> Case {
    Case { what, job, limits: &[], artifacts: &[], verdict, hits: &[], message }
}

/// Keeps what it has for long enough to be seen with it.
const HOLD: &str = "import time; time.sleep(2)";

fn cases() -> Vec<Case> {
    let threads = "
        import threading, time
        for _ in range(100):
            threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
        ";
    let refused = "more processes and threads than processes = ";
    vec![
        Case {
            hits: &[(Processes, 64)],
            ..case(
                "100 threads at the default",
                python(threads),
                RuntimeError,
                "exit code 1; more processes and threads than processes = 64 were refused (EAGAIN): start fewer or raise processes",
            )
        },
        Case {
            limits: &[(Processes, 12)],
            hits: &[(Processes, 12)],
            ..case(
                "processes of a shell",
                // bash forks again later, and gives up if a child's end interrupts its pause.
                Job::new("bash", "(for i in {1..40}; do sleep 1 & done; wait); exit 0"),
                Accepted,
                "exit code 0; more processes and threads than processes = 12 were refused",
            )
        },
        Case {
            limits: &[(Processes, 10), (WallTimeMs, 1500)],
            hits: &[(Processes, 10)],
            ..case(
                "a hang for want of threads",
                python(
                    "
                    import threading
                    gate = threading.Barrier(30)
                    def wait():
                        gate.wait()
                    for _ in range(29):
                        try:
                            threading.Thread(target=wait).start()
                        except RuntimeError:
                            pass
                    gate.wait()
                    ",
                ),
                TimeLimitExceeded,
                "was still running at wall_time_ms = 1500; more processes and threads than processes = 10 were",
            )
        },
        Case {
            limits: &[(Processes, 10)],
            hits: &[(Processes, 10)],
            ..case(
                "one that goes on",
                python(
                    "
                import threading, time
                try:
                    for _ in range(30):
                        threading.Thread(target=time.sleep, args=(0.5,)).start()
                except RuntimeError:
                    pass
                ",
                ),
                Accepted,
                refused,
            )
        },
        Case {
            limits: &[(ScratchBytes, 1 << 20)],
            hits: &[(ScratchBytes, 1 << 20)],
            ..case(
                "a large file",
                python("open('file', 'wb').write(bytes(2 << 20))"),
                RuntimeError,
                "exit code 1; a directory of the scratch space was full at scratch_bytes = 1048576 (ENOSPC)",
            )
        },
        Case {
            limits: &[(ScratchBytes, 2 << 20)],
            hits: &[(ScratchBytes, 2 << 20)],
            ..case(
                "a large file of dd",
                Job::new("bash", "dd if=/dev/zero of=/tmp/file bs=64k count=64 2>/dev/null"),
                RuntimeError,
                "full at scratch_bytes = 2097152",
            )
        },
        Case {
            hits: &[(ScratchBytes, 64 << 20)],
            ..case(
                "many files",
                python(
                    "
                import os
                for number in range(20_000):
                    os.mknod(f'/tmp/{number}')
                ",
                ),
                RuntimeError,
                "had 16384 files, which no limit raises (ENOSPC)",
            )
        },
        Case {
            limits: &[(OpenFiles, 32)],
            hits: &[(OpenFiles, 32)],
            ..case(
                "open files",
                python(&format!(
                    "
                opened = []
                try:
                    while True:
                        opened.append(open('/dev/null'))
                except OSError:
                    pass
                {HOLD}
                "
                )),
                Accepted,
                "exit code 0; a process had open_files = 32 (EMFILE): close some or raise open_files",
            )
        },
        Case {
            limits: &[(OutputBytes, 1000)],
            hits: &[(OutputBytes, 1000)],
            ..case(
                "output",
                python("print('x' * 5000)"),
                Accepted,
                "exit code 0; a stream was cut at output_bytes = 1000",
            )
        },
        Case {
            limits: &[(ArtifactCount, 3)],
            artifacts: &["*.txt"],
            hits: &[(ArtifactCount, 3)],
            ..case(
                "the number of artifacts",
                python(
                    "
                for number in range(5):
                    open(f'{number}.txt', 'w').write('x')
                ",
                ),
                Accepted,
                "exit code 0; artifacts beyond artifact_count = 3 were not brought back",
            )
        },
        Case {
            limits: &[(ArtifactBytes, 1000)],
            artifacts: &["*"],
            hits: &[(ArtifactBytes, 1000)],
            ..case(
                "the size of artifacts",
                Job::new("bash", "head -c 3000 /dev/zero >large; echo small >small"),
                Accepted,
                "exit code 0; artifacts beyond artifact_bytes = 1000 were not",
            )
        },
        case("nothing", python("print('fine')"), Accepted, "exit code 0"),
        case("a failure of its own", python("raise SystemExit(3)"), RuntimeError, "exit code 3"),
    ]
}

pub(crate) async fn what_refuses_something_is_named(sandbox: &dyn Sandbox) {
    for Case { what, mut job, limits, artifacts, verdict, hits, message } in cases() {
        let mut asked = LimitsRequest::default();
        limits.iter().for_each(|(name, value)| asked.set(*name, *value));
        job.limits = asked;
        job.artifacts = artifacts.iter().map(|glob| (*glob).to_owned()).collect();
        let result = run(sandbox, &job).await;
        let found: Vec<_> = result.limits_hit.iter().map(|hit| (hit.limit, hit.value)).collect();
        assert_eq!(
            (result.verdict, found.as_slice()),
            (Some(verdict), hits),
            "{what}: {result:#?}"
        );
        assert!(result.message.contains(message), "{what}: {}", result.message);
        assert!(!hits.is_empty() || result.message == *message, "{what}: {}", result.message);
    }
}

pub(crate) async fn a_program_may_raise_its_own_limits(sandbox: &dyn Sandbox) {
    // As harnesses do that bound what they run.
    let job = python(
        "
        import multiprocessing, resource
        BOUND = 30 << 30
        def attempt(number):
            for what in (resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_STACK, resource.RLIMIT_FSIZE):
                resource.setrlimit(what, (BOUND, BOUND))
            return sum(range(number + 1))
        with multiprocessing.Pool(1) as pool:
            print(pool.apply(attempt, (10,)))
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "55\n");
    let job = Job::new(
        "bash",
        "ulimit -s && ulimit -s 200000 && ulimit -s && ulimit -S -n $(ulimit -H -n) && ulimit -S -c $(ulimit -H -c) && echo fine",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "65536\n200000\nfine\n");
    // What the stack takes is the job's memory.
    let deep = python(
        "
        import resource, sys, threading
        resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sys.setrecursionlimit(1 << 30)
        threading.stack_size(200 << 20)
        def down(depth):
            return depth and 1 + down(depth - 1)
        def print_down():
            print(down(20_000))
        thread = threading.Thread(target=print_down)
        thread.start()
        thread.join()
        ",
    );
    assert_eq!(stdout_of(sandbox, &deep).await, "20000\n");
}

pub(crate) async fn shared_memory_is_as_large_as_memory(sandbox: &dyn Sandbox) {
    let code = |size: u64| {
        let code = format!(
            "
            from multiprocessing import Process, shared_memory
            SIZE = {size}
            def fill(name):
                block = shared_memory.SharedMemory(name=name)
                for place in range(0, SIZE, 4096):
                    block.buf[place] = 1
                block.close()
            block = shared_memory.SharedMemory(create=True, size=SIZE)
            child = Process(target=fill, args=(block.name,))
            child.start()
            child.join()
            print(sum(block.buf[place] for place in range(0, SIZE, 4096)), child.exitcode)
            block.close()
            block.unlink()
            "
        );
        python(&code)
    };
    let mut job = code(100 << 20);
    job.limits.scratch_bytes = Some(1 << 20);
    assert_eq!(stdout_of(sandbox, &job).await, "25600 0\n");
    let job = Job::new("bash", "head -c 90M /dev/zero >/dev/shm/file && stat -c %s /dev/shm/file");
    assert_eq!(stdout_of(sandbox, &job).await, "94371840\n");
    let result = run(sandbox, &code(300 << 20)).await;
    assert_eq!(result.verdict, Some(MemoryLimitExceeded), "{result:#?}");
}
