//! The machine that a program sees.

use sandfleet_common::Job;
use sandfleet_worker::{admission::catalogue::Catalogue, sandbox::Sandbox};

use crate::bench::{CPUS, natively_on, python, run, stdout_of, warm_up};

/// What programs ask how many threads to start.
pub(crate) async fn every_count_of_processors_agrees(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import os, subprocess
        print(len(os.sched_getaffinity(0)))
        print(subprocess.check_output(['nproc'], text=True), end='')
        print(len(os.sched_getaffinity(os.getppid() if os.getppid() > 1 else os.getpid())))
        ",
    );
    let host = std::thread::available_parallelism().expect("it is known").get();
    let expected = host.min(CPUS as usize);
    assert_eq!(stdout_of(sandbox, &job).await, format!("{expected}\n{expected}\n{expected}\n"));
}

pub(crate) async fn a_terminal_can_be_opened(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import os, pty, subprocess
        ours, theirs = pty.openpty()
        line = 'test -t 0 && tty >/dev/null && echo a terminal'
        child = subprocess.Popen(['sh', '-c', line], stdin=theirs, stdout=theirs)
        os.close(theirs)
        child.wait(5)
        print(os.read(ours, 100).decode().strip())
        pid, end = pty.fork()
        if pid == 0:
            os.execlp('sh', 'sh', '-c', 'echo controlling >/dev/tty')
        print(os.read(end, 100).decode().strip(), os.waitpid(pid, 0)[1])
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "a terminal\ncontrolling 0\n");
}

pub(crate) async fn links_below_usr_lead_somewhere(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import os, ssl
        print(os.path.isdir('/usr/lib/ssl/certs') or not os.path.lexists('/usr/lib/ssl/certs'))
        print(len(ssl.create_default_context().get_ca_certs()) > 0
              or not os.path.exists('/usr/share/ca-certificates'))
        print(os.path.exists('/etc/os-release'))
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "True\nTrue\nTrue\n");
}

/// Tries `claim` natively, cold and warm.
async fn on_both(cpus: f64, claim: impl AsyncFn(&dyn Sandbox)) {
    natively_on(cpus, Vec::new(), async |sandbox| claim(sandbox).await).await;
    natively_on(cpus, Catalogue::embedded().warm_starts(), async |sandbox| {
        warm_up(sandbox, &python("print('warm')")).await;
        claim(sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_started_on_as_many_processors_as_it_may_use() {
    on_both(0.5, async |sandbox| {
        let job = python("import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))");
        // Once per slot and once for a container that waited.
        for _ in 0..4 {
            assert_eq!(stdout_of(sandbox, &job).await, "1 1\n");
        }
        let job = Job::new("javascript", "console.log(require('os').cpus().length)");
        assert_eq!(stdout_of(sandbox, &job).await, "1\n");
        let script =
            "nproc; nproc --all; lscpu | grep '^CPU(s)' | tr -s ' '; cat /sys/fs/cgroup/cpu.max";
        let lines = stdout_of(sandbox, &Job::new("bash", script)).await;
        assert_eq!(lines, "1\n1\nCPU(s): 1\n50000 100000\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proc_says_what_the_job_has_and_nothing_of_the_host() {
    on_both(1.0, async |sandbox| {
        let mut job = python(
            "
            import os, time
            shown = {'cpuinfo', 'loadavg', 'meminfo', 'stat', 'uptime', 'version'}
            for name in sorted(os.listdir('/proc')):
                path = '/proc/' + name
                if name.isdigit() or os.path.islink(path):
                    continue
                if os.path.isdir(path):
                    if os.listdir(path):
                        print(name, 'has', os.listdir(path))
                elif name in shown:
                    shown.discard(name)
                    try:
                        os.close(os.open(path, os.O_WRONLY))
                        print(name, 'can be written to')
                    except OSError:
                        pass
                else:
                    try:
                        print(name, 'says', open(path).read(40))
                    except PermissionError:
                        pass
            print(shown)
            memory = dict(line.split(':') for line in open('/proc/meminfo'))
            print(memory['MemTotal'].strip(), memory['SwapTotal'].strip())
            stat = dict(line.split(' ', 1) for line in open('/proc/stat'))
            times = [line for name, line in stat.items() if name.startswith('cpu')]
            print(len(times), sorted(set(times)))
            print(abs(int(stat['btime']) - time.time()) < 30)
            print(all(0 <= float(value) < 30 for value in open('/proc/uptime').read().split()))
            print(0 <= int(open('/proc/self/stat').read().rsplit(')')[1].split()[19]) < 3000)
            print(open('/proc/loadavg').read().split()[:3])
            for name in ['memory.max', 'pids.max']:
                print(open('/sys/fs/cgroup/' + name).read(), end='')
            ",
        );
        job.limits.memory_bytes = Some(200 << 20);
        job.limits.processes = Some(33);
        let expected = "set()\n204800 kB 0 kB\n2 [' 0 0 0 0 0 0 0 0 0 0\\n', '0 0 0 0 0 0 0 0 0 0\\n']\n\
                        True\nTrue\nTrue\n['0.00', '0.00', '0.00']\n209715200\n33\n";
        for _ in 0..4 {
            assert_eq!(stdout_of(sandbox, &job).await, expected);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_that_look_at_the_machine_find_the_job() {
    on_both(1.0, async |sandbox| {
        let script = "
            set -e
            free -k | awk '/^Mem/ {print $2, $3}'
            uptime -p
            ps -eo pid= | grep -cw 1 || echo PID 1 is hidden
            ps -o etimes= -p $$ | awk '{print ($1 >= 0 && $1 < 30) ? \"new\" : $1}'
            sleep 1.2
            ps -eo etimes= | awk '$1 > 30 {print \"started in the future\"}'
            top -b -n 1 | grep -c bash
            script -qec 'test -t 1 && echo a terminal' /tmp/typescript </dev/null | tr -d '\\r'
            ";
        let mut job = Job::new("bash", script);
        job.limits.memory_bytes = Some(256 << 20);
        let said = stdout_of(sandbox, &job).await;
        assert_eq!(
            said, "262144 0\nup 0 minutes\n0\nPID 1 is hidden\nnew\n1\na terminal\n",
            "{said}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn libraries_that_look_at_the_machine_find_the_job() {
    on_both(1.0, async |sandbox| {
        let mut job = python(
            "
            import psutil, time
            print(psutil.cpu_count(), psutil.cpu_count(logical=False), psutil.cpu_percent(0.1))
            print(psutil.virtual_memory().total >> 20, psutil.swap_memory().total)
            now = time.time()
            print(abs(psutil.boot_time() - now) < 30, abs(psutil.Process().create_time() - now) < 30)
            print(psutil.Process().pid in psutil.pids(), psutil.Process().memory_info().rss > 0)
            print([process.name() for process in psutil.process_iter() if process.pid != 1])
            ",
        );
        job.limits.memory_bytes = Some(200 << 20);
        let expected = "1 1 0.0\n200 0\nTrue True\nTrue True\n['python3']\n";
        assert_eq!(stdout_of(sandbox, &job).await, expected);

        let job = python(
            "
            import pexpect
            child = pexpect.spawn('/usr/bin/python3', ['-q'], encoding='utf-8', timeout=20)
            child.expect_exact('>>> ')
            child.sendline('6 * 7')
            child.expect(r'\\b42\\b')
            child.sendeof()
            child.expect(pexpect.EOF)
            child.close()
            print(child.exitstatus, pexpect.run('/bin/sh -c \"test -t 0 && echo yes\"'))
            ",
        );
        assert_eq!(stdout_of(sandbox, &job).await, "0 b'yes\\r\\n'\n");

        let mut job = Job::new(
            "bash",
            "cat >Count.java <<'JAVA'
            public class Count {
                public static void main(String[] arguments) {
                    System.out.println(Runtime.getRuntime().availableProcessors());
                }
            }
JAVA
            java -Xmx64m Count.java",
        );
        job.limits.wall_time_ms = Some(60_000);
        job.limits.cpu_time_ms = Some(60_000);
        job.limits.memory_bytes = Some(512 << 20);
        job.limits.processes = Some(64);
        assert_eq!(stdout_of(sandbox, &job).await, "1\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminals_are_few_and_a_containers_own() {
    on_both(1.0, async |sandbox| {
        let job = python(
            "
            import os, pty
            open_ones = []
            try:
                while True:
                    open_ones.append(pty.openpty())
            except OSError:
                pass
            print(len(open_ones), len(os.listdir('/dev/pts')) - 1)
            ",
        );
        for _ in 0..2 {
            assert_eq!(stdout_of(sandbox, &job).await, "16 16\n");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_below_usr_dangles_that_leads_somewhere_on_the_host() {
    natively_on(1.0, Vec::new(), async |sandbox| {
        let mut job = Job::new("bash", "find -L /usr -xdev -type l 2>/dev/null");
        job.limits.wall_time_ms = Some(60_000);
        let said = stdout_of_any_exit(sandbox, &job).await;
        let dangling: Vec<&str> =
            said.lines().filter(|link| std::path::Path::new(link).exists()).collect();
        assert_eq!(dangling, [""; 0]);
    })
    .await;
}

/// What a job printed that may have failed: find(1) does where it meets loops.
async fn stdout_of_any_exit(sandbox: &dyn Sandbox, job: &Job) -> String {
    let run = run(sandbox, job).await.run.expect("it ran");
    assert!(!run.stdout_truncated);
    run.stdout
}
