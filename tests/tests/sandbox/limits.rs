//! Limits, and the verdicts of programs that meet them.

use sandfleet_common::{LimitName, Verdict};
use sandfleet_tests::soon;
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{CPUS, host_processes_with, marker, python, run, stdout_of};

pub(crate) async fn a_program_that_ignores_everything_ends_at_the_wall_limit(
    sandbox: &dyn Sandbox,
) {
    let mut job = python(
        "
        import os, signal, time
        for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
        os.write(1, b'up\\n')
        time.sleep(1000)
        ",
    );
    let marker = marker();
    job.args = vec![marker.clone()];
    job.limits.wall_time_ms = Some(900);
    let result = soon("its end", run(sandbox, &job)).await;
    assert_eq!(result.verdict, Some(Verdict::TimeLimitExceeded));
    assert!(result.message.contains("wall_time_ms = 900"), "{}", result.message);
    let wall_time_ms = result.usage.expect("it ran").wall_time_ms;
    assert!((900..3000).contains(&wall_time_ms), "{wall_time_ms} ms");
    assert_eq!(result.run.expect("it ran").stdout, "up\n".repeat(8));
    assert_eq!(host_processes_with(&marker), [0; 0]);
}

pub(crate) async fn cpu_time_is_that_of_all_processes(sandbox: &dyn Sandbox) {
    // No process alone comes near the limit, and their sum far beyond it.
    let mut job = python(
        "
        import os, time
        for _ in range(30):
            if os.fork() == 0:
                while time.process_time() < 0.2:
                    pass
                os._exit(0)
            os.wait()
        ",
    );
    job.limits.cpu_time_ms = Some(1000);
    job.limits.wall_time_ms = Some(60_000);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::TimeLimitExceeded), "{result:#?}");
    assert!(result.message.contains("cpu_time_ms = 1000"), "{}", result.message);
    let cpu_time_ms = result.usage.expect("it ran").cpu_time_ms;
    assert!((1000..2500).contains(&cpu_time_ms), "{cpu_time_ms} ms");
}

pub(crate) async fn cpu_time_is_no_more_than_the_processors_give(sandbox: &dyn Sandbox) {
    // Two processors, and eight processes that want them: those that wait use nothing.
    let mut job = python(
        "
        import os, time
        end = time.monotonic() + 1
        for _ in range(8):
            if os.fork() == 0:
                while time.monotonic() < end:
                    pass
                os._exit(0)
        for _ in range(8):
            os.wait()
        ",
    );
    job.limits.cpu_time_ms = Some(6000);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
    let usage = result.usage.expect("it ran");
    // A tenth of a second is the kernel's period, and a thread may be beyond it by a tick.
    let most = (usage.wall_time_ms as f64 * CPUS * 1.1) as u64 + 200;
    assert!(usage.cpu_time_ms <= most, "{} ms in {} ms", usage.cpu_time_ms, usage.wall_time_ms);
}

pub(crate) async fn processes_beyond_the_limit_are_refused_and_flagged(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import errno, os, time
        children = 0
        try:
            while children < 50:
                if os.fork() == 0:
                    time.sleep(1000)
                children += 1
        except OSError as error:
            print(children, errno.errorcode[error.errno])
        ",
    );
    job.limits.processes = Some(10);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{}", result.message);
    // The program itself is the tenth; what the sandbox needs beside doesn't count.
    assert_eq!(result.run.expect("it ran").stdout, "9 EAGAIN\n");
    let flags: Vec<_> = result.limits_hit.iter().map(|hit| (hit.limit, hit.value)).collect();
    assert_eq!(flags, [(LimitName::Processes, 10)]);

    let result = run(sandbox, &python("pass")).await;
    assert_eq!(result.limits_hit, [], "the next job has its own account");
}

pub(crate) async fn threads_count_as_processes(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os, threading
        started, hold = 0, threading.Event()
        try:
            while started < 50:
                threading.Thread(target=hold.wait, daemon=True).start()
                started += 1
        except RuntimeError:
            print(started)
        os._exit(0)
        ",
    );
    job.limits.processes = Some(10);
    assert_eq!(stdout_of(sandbox, &job).await, "9\n");
}

pub(crate) async fn a_full_scratch_space_refuses_more(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import errno, os, sys
        for directory in ['/box', '/tmp']:
            total = 0
            try:
                for number in range(100):
                    fd = os.open(f'{directory}/{number}', os.O_CREAT | os.O_WRONLY)
                    for _ in range(64):
                        total += os.write(fd, bytes(4096))
            except OSError as error:
                print(directory, errno.errorcode[error.errno], 1_500_000 < total <= 2 << 20)
        try:
            file = os.open('/tmp/0', os.O_WRONLY)
            os.lseek(file, 3 << 20, 0)
            os.write(file, b'x')
        except OSError as error:
            print(errno.errorcode[error.errno])
        ",
    );
    job.limits.scratch_bytes = Some(2 << 20);
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted), "{result:#?}");
    assert_eq!(result.run.expect("it ran").stdout, "/box ENOSPC True\n/tmp ENOSPC True\nENOSPC\n");
}

pub(crate) async fn the_number_of_scratch_files_is_bounded(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import errno, os
        made = 0
        try:
            while made < 50_000:
                os.mkdir(f'/tmp/{made}')
                made += 1
        except OSError as error:
            print(errno.errorcode[error.errno], made > 10_000)
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "ENOSPC True\n");
}

pub(crate) async fn open_files_are_bounded(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import errno, os
        last = 0
        try:
            while last < 1000:
                last = os.open('/dev/null', os.O_RDONLY)
        except OSError as error:
            print(errno.errorcode[error.errno], last)
        ",
    );
    job.limits.open_files = Some(32);
    assert_eq!(stdout_of(sandbox, &job).await, "EMFILE 31\n");
}

pub(crate) async fn no_limit_can_be_raised_from_inside(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import resource
        names = 'CORE CPU NOFILE MEMLOCK MSGQUEUE SIGPENDING NICE RTPRIO'.split()
        for name in names:
            number = getattr(resource, 'RLIMIT_' + name)
            soft, hard = resource.getrlimit(number)
            if hard == resource.RLIM_INFINITY:
                print(name, 'is not limited')
                continue
            try:
                resource.setrlimit(number, (hard, hard + 1))
                print(name, 'was raised')
            except (ValueError, OSError):
                pass
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "");
}
