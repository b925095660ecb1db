//! Nothing of a program outlives it, and no program meets another.

use sandfleet_tests::{eventually, soon};
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{host_processes_with, interrupt, marker, python, stdout_of};

pub(crate) async fn daemons_end_with_the_program(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os, sys
        ready, up = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 3)
                os.write(up, str(os.getpid()).encode())
                python = '/usr/bin/python3'
                os.execv(python, [python, '-c', 'import time; time.sleep(1000)', sys.argv[1]])
            os._exit(0)
        os.close(up)
        # The other end is closed when the daemon has become what it is.
        daemon = open(ready).read()
        print(open(f'/proc/{daemon}/cmdline').read().split('\\0')[3])
        ",
    );
    let marker = marker();
    job.args = vec![marker.clone()];
    let printed = soon("its end", stdout_of(sandbox, &job)).await;
    assert_eq!(printed, format!("{marker}\n"), "there was a daemon");
    assert_eq!(host_processes_with(&marker), [0; 0]);
}

pub(crate) async fn a_dropped_run_ends_the_program(sandbox: &dyn Sandbox) {
    let mut job = python("import os, time; os.fork(); print('up'); time.sleep(1000)");
    let marker = marker();
    job.args = vec![marker.clone()];
    job.limits.wall_time_ms = Some(60_000);
    interrupt(sandbox, &job, async || {
        assert!(!host_processes_with(&marker).is_empty(), "it runs");
    })
    .await;
    eventually("the program's end", || async {
        host_processes_with(&marker).is_empty().then_some(())
    })
    .await;
}

pub(crate) async fn a_dropped_run_leaves_the_sandbox_usable(sandbox: &dyn Sandbox) {
    let mut job = python("import time; print('up'); time.sleep(1000)");
    job.limits.wall_time_ms = Some(60_000);
    for _ in 0..3 {
        interrupt(sandbox, &job, async || {}).await;
        assert_eq!(stdout_of(sandbox, &python("print('next')")).await, "next\n");
    }
}

/// Leaves a trace wherever it can.
pub(crate) const LEAVE: &str = "
    import os, socket
    for directory in ['/box', '/tmp', '/var/tmp', '/dev/shm', '/dev/mqueue']:
        try:
            open(directory + '/trace', 'w').write('secret')
        except OSError:
            pass
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind('\\0trace')
    abstract.listen()
    import ctypes
    libc = ctypes.CDLL(None)
    libc.shmget(0x5a5a, 4096, 0o1600)
    libc.msgget(0x5a5a, 0o1600)
    libc.semget(0x5a5a, 1, 0o1600)
    ";

/// Looks for one wherever it could be.
pub(crate) const LOOK: &str = "
    import os, socket
    for directory in ['/box', '/tmp', '/var/tmp', '/dev/shm', '/dev/mqueue']:
        if os.path.isdir(directory):
            found = set(os.listdir(directory)) - {'main.py'}
            if found:
                print(directory, found)
    try:
        socket.socket(socket.AF_UNIX).connect('\\0trace')
        print('a socket')
    except OSError:
        pass
    import ctypes
    libc = ctypes.CDLL(None)
    for name, made in [('memory', libc.shmget(0x5a5a, 1, 0)), ('queue', libc.msgget(0x5a5a, 0)),
                       ('semaphore', libc.semget(0x5a5a, 1, 0))]:
        if made >= 0:
            print('a', name)
    print('looked')
    ";

pub(crate) async fn jobs_in_a_row_see_nothing_of_each_other(sandbox: &dyn Sandbox) {
    stdout_of(sandbox, &python(LEAVE)).await;
    assert_eq!(stdout_of(sandbox, &python(LOOK)).await, "looked\n");
}

pub(crate) async fn jobs_at_a_time_see_nothing_of_each_other(sandbox: &dyn Sandbox) {
    let mut resident =
        python(&format!("{LEAVE}\n    import time\n    print('up')\n    time.sleep(1000)"));
    resident.limits.wall_time_ms = Some(60_000);
    let other = resident.clone();
    interrupt(sandbox, &resident, async || {
        interrupt(sandbox, &other, async || {
            assert_eq!(stdout_of(sandbox, &python(LOOK)).await, "looked\n");
        })
        .await;
    })
    .await;
}
