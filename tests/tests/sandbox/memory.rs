//! The memory limit: of all processes together, with the scratch space, from the host's account.

use sandfleet_common::{Job, JobResult, Verdict};
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{python, run};

const MIB: u64 = 1 << 20;

async fn exceeds(sandbox: &dyn Sandbox, mut job: Job) -> JobResult {
    job.limits.memory_bytes = Some(48 * MIB);
    job.limits.scratch_bytes = Some(256 * MIB);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::MemoryLimitExceeded), "{result:#?}");
    assert!(result.message.contains("memory_bytes = 50331648"), "{}", result.message);
    // What the dead job used must not be the next one's.
    let next = run(sandbox, &python("pass")).await;
    assert_eq!(next.verdict, Some(Verdict::Accepted), "the next job: {next:#?}");
    result
}

pub(crate) async fn a_process_that_wants_too_much_memory_ends_the_job(sandbox: &dyn Sandbox) {
    let result = exceeds(sandbox, python("print('before'); x = b'x' * (200 << 20)")).await;
    assert_eq!(result.run.expect("it ran").stdout, "before\n");
}

pub(crate) async fn a_child_that_wants_too_much_memory_ends_the_job(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import os
        if os.fork() == 0:
            x = b'x' * (200 << 20)
        os.wait()
        print('lives on')
        ",
    );
    exceeds(sandbox, job).await;

    let job = python(
        "
        import os, time
        if os.fork() == 0:
            x = b'x' * (200 << 20)
        time.sleep(1000)
        ",
    );
    exceeds(sandbox, job).await;
}

const FILL: &str = "
    def fill(directory):
        with open(directory + '/file', 'wb') as file:
            for _ in range(200):
                file.write(bytes(1 << 20))
    ";

pub(crate) async fn scratch_files_count_as_memory(sandbox: &dyn Sandbox) {
    for directory in ["/box", "/tmp"] {
        exceeds(sandbox, python(&format!("{FILL}\n    fill('{directory}')"))).await;
    }
}

pub(crate) async fn shared_memory_counts_as_memory(sandbox: &dyn Sandbox) {
    exceeds(sandbox, python(&format!("{FILL}\n    fill('/dev/shm')"))).await;
    let job = python(
        "
        import mmap
        shared = mmap.mmap(-1, 200 << 20)
        for offset in range(0, 200 << 20, 4096):
            shared[offset] = 1
        ",
    );
    exceeds(sandbox, job).await;
}

pub(crate) async fn the_peak_is_the_jobs_own(sandbox: &dyn Sandbox) {
    let peak = async |code: &str| {
        let result = run(sandbox, &python(code)).await;
        assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
        result.usage.expect("it ran").memory_peak_bytes.expect("it is counted")
    };
    let large = peak("x = b'x' * (100 << 20)").await;
    let small = peak("pass").await;
    assert!((100 * MIB..140 * MIB).contains(&large), "{large} bytes for 100 MiB");
    // A program that starts warm may take less than the kernel counts in one step.
    assert!((1..40 * MIB).contains(&small), "{small} bytes for next to nothing");
}
