//! What comes back of what a program prints.

use std::fmt::Write;

use sandfleet_common::{Encoding, LimitName, OutputOverflow, Verdict};
use sandfleet_tests::soon;
use sandfleet_worker::{hooks::Stream, sandbox::Sandbox};

use crate::bench::{Seen, interrupt, python, run, watch};

pub(crate) async fn both_streams_are_apart_and_in_order(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import sys
        for number in range(2000):
            print('out', number)
            print('err', number, file=sys.stderr)
        ",
    );
    let seen = Seen::default();
    let result = watch(sandbox, &job, &|stream, bytes| seen.push(stream, bytes)).await;
    let lines = |name: &str| {
        (0..2000).fold(String::new(), |mut text, number| {
            writeln!(text, "{name} {number}").expect("a string takes all");
            text
        })
    };
    let run = result.run.expect("it ran");
    assert_eq!((run.stdout, run.stderr), (lines("out"), lines("err")));
    assert_eq!((run.stdout_truncated, run.stderr_truncated), (false, false));
    assert_eq!(seen.of(Stream::Stdout), lines("out").into_bytes());
    assert_eq!(seen.of(Stream::Stderr), lines("err").into_bytes());
}

pub(crate) async fn output_is_seen_while_the_program_runs(sandbox: &dyn Sandbox) {
    let mut job = python("import time; print('here'); time.sleep(1000)");
    job.limits.wall_time_ms = Some(60_000);
    soon("output of a program that runs", interrupt(sandbox, &job, async || {})).await;
}

pub(crate) async fn output_is_cut_at_the_cap_and_the_end_of_stderr_kept(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import sys
        sys.stdout.write('o' * 100_000 + 'the end of stdout')
        sys.stderr.write('e' * 100_000 + 'the reason')
        ",
    );
    job.limits.output_bytes = Some(1000);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted));
    let run = result.run.expect("it ran");
    assert_eq!(run.stdout, "o".repeat(1000));
    assert!(run.stderr.starts_with(&"e".repeat(1000)), "{}", run.stderr);
    assert!(run.stderr.ends_with("ethe reason"), "{}", run.stderr);
    assert!(run.stderr.len() < 10_000, "{} bytes", run.stderr.len());
    assert_eq!((run.stdout_truncated, run.stderr_truncated), (true, true));
    let flags: Vec<_> = result.limits_hit.iter().map(|hit| (hit.limit, hit.value)).collect();
    assert_eq!(flags, [(LimitName::OutputBytes, 1000)]);
}

pub(crate) async fn output_as_long_as_the_cap_is_whole(sandbox: &dyn Sandbox) {
    let mut job = python("import sys; sys.stdout.write('o' * 999 + '!')");
    job.limits.output_bytes = Some(1000);
    let result = run(sandbox, &job).await;
    let run = result.run.expect("it ran");
    assert_eq!(run.stdout, format!("{}!", "o".repeat(999)));
    assert!(!run.stdout_truncated);
    assert_eq!(result.limits_hit, []);
}

pub(crate) async fn output_that_is_no_text_comes_back_whole(sandbox: &dyn Sandbox) {
    let job = python("import sys; sys.stdout.buffer.write(bytes(range(256)))");
    let run = run(sandbox, &job).await.run.expect("it ran");
    assert_eq!(run.encoding, Encoding::Base64);
    assert_eq!(run.encoding.decode(&run.stdout), Ok((0..=255).collect()));
}

pub(crate) async fn a_flood_is_ended(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os
        while True:
            os.write(1, b'x' * 65536)
        ",
    );
    job.limits.output_bytes = Some(1000);
    job.limits.wall_time_ms = Some(60_000);
    job.limits.cpu_time_ms = Some(10_000);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::OutputLimitExceeded), "{}", result.message);
    assert!(result.message.contains(&(64 << 20).to_string()), "{}", result.message);
    assert_eq!(result.run.expect("it ran").stdout.len(), 1000);
}

pub(crate) async fn a_job_that_wants_it_is_ended_at_its_output_limit(sandbox: &dyn Sandbox) {
    let mut job = python("import time; print('x' * 1001); time.sleep(1000)");
    job.limits.output_bytes = Some(1000);
    job.limits.wall_time_ms = Some(60_000);
    job.output_overflow = OutputOverflow::Kill;
    let result = soon("its end", run(sandbox, &job)).await;
    assert_eq!(result.verdict, Some(Verdict::OutputLimitExceeded), "{}", result.message);
    assert_eq!(result.run.expect("it ran").stdout.len(), 1000);
}
