//! What a program can't see, reach or change.

use std::{collections::BTreeSet, fs};

use sandfleet_common::Job;
use sandfleet_worker::sandbox::Sandbox;

use crate::bench::{host_processes_with, interrupt, marker, python, stdout_of};

pub(crate) async fn only_the_scratch_space_can_be_written(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os
        found = set()
        for directory, inner, files in os.walk('/'):
            if directory == '/':
                inner.remove('proc')
            # What is deeper is on the same mounts.
            if directory.count('/') > 3:
                inner.clear()
            try:
                probe = os.open(directory + '/probe', os.O_CREAT | os.O_WRONLY)
                os.close(probe)
                os.unlink(directory + '/probe')
                found.add(directory)
            except OSError:
                pass
        for path in ['/etc/passwd', '/usr/bin/python3', '/bin/sh', '/sandfleet/agent',
                     '/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/self/setgroups',
                     '/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory.max',
                     '/sys/fs/cgroup/memory/cgroup.procs', '/sys/fs/cgroup/cgroup.procs']:
            try:
                os.close(os.open(path, os.O_WRONLY))
                found.add(path)
            except OSError:
                pass
        print('\\n'.join(sorted(found)))
        ",
    );
    job.limits.wall_time_ms = Some(30_000);
    job.limits.cpu_time_ms = Some(30_000);
    let printed = stdout_of(sandbox, &job).await;
    let mut writable: BTreeSet<&str> = printed.lines().collect();
    // Shared memory is scratch space by another name; limits and cleanliness have claims of
    // their own.
    writable.remove("/dev/shm");
    assert_eq!(writable, ["/box", "/tmp"].into());
}

pub(crate) async fn there_is_no_network_but_the_loopback(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import errno, fcntl, socket, struct
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names = []
        for index in range(1, 200):
            try:
                answer = fcntl.ioctl(plain, 0x8910, struct.pack('16si20x', b'', index))
                names.append(answer[:16].rstrip(b'\\0').decode())
            except OSError:
                pass
        print(names)
        for target in ['192.0.2.1', '169.254.169.254', '172.17.0.1', '10.0.0.1', '8.8.8.8']:
            try:
                socket.create_connection((target, 80), timeout=5)
                print(target, 'answers')
            except OSError as error:
                print(target, errno.errorcode[error.errno])
        server = socket.create_server(('127.0.0.1', 0))
        socket.create_connection(server.getsockname(), timeout=5).send(b'hello')
        print(server.accept()[0].recv(5).decode())
        for kind in ['AF_NETLINK', 'AF_PACKET', 'AF_VSOCK', 'AF_ALG']:
            try:
                socket.socket(getattr(socket, kind), socket.SOCK_RAW, 0)
                print(kind, 'can be had')
            except OSError:
                pass
        ",
    );
    let expected = "['lo']\n192.0.2.1 ENETUNREACH\n169.254.169.254 ENETUNREACH\n\
                    172.17.0.1 ENETUNREACH\n10.0.0.1 ENETUNREACH\n8.8.8.8 ENETUNREACH\nhello\n";
    assert_eq!(stdout_of(sandbox, &job).await, expected);
}

pub(crate) async fn the_program_is_nobody(sandbox: &dyn Sandbox) {
    let status = stdout_of(sandbox, &python("print(open('/proc/self/status').read())")).await;
    let field = |name: &str| -> Vec<&str> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} in {status}")).split_whitespace().collect()
    };
    for ids in ["Uid", "Gid"] {
        let ids = field(ids);
        assert_eq!(ids.len(), 4);
        assert!(ids.iter().all(|id| *id == ids[0] && *id != "0"), "{ids:?}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs"), ["1"]);
    assert_eq!(field("Seccomp"), ["2"]);
    let groups = field("Groups");
    assert!(groups.is_empty() || groups == [field("Gid")[0]], "{groups:?}");
}

/// A program that can be found on the host by its last argument, and never ends.
fn endless() -> (Job, String) {
    let mut job = python("import time; print('up'); time.sleep(1000)");
    job.limits.wall_time_ms = Some(60_000);
    let marker = marker();
    job.args = vec![marker.clone()];
    (job, marker)
}

fn host_user(marker: &str) -> u32 {
    let processes = host_processes_with(marker);
    let [process] = processes[..] else { panic!("{processes:?} with {marker}") };
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("its users");
    let users: BTreeSet<u32> =
        line.split_whitespace().map(|id| id.parse().expect("a number")).collect();
    assert_eq!(users.len(), 1, "{line}");
    users.into_iter().next().expect("one")
}

pub(crate) async fn concurrent_programs_are_different_users_of_the_host(sandbox: &dyn Sandbox) {
    let ((first, first_marker), (second, second_marker)) = (endless(), endless());
    interrupt(sandbox, &first, async || {
        interrupt(sandbox, &second, async || {
            let users = [host_user(&first_marker), host_user(&second_marker)];
            assert!(users.iter().all(|user| *user >= 300_000), "{users:?}");
            assert_ne!(users[0], users[1]);
        })
        .await;
    })
    .await;
}

pub(crate) async fn the_first_process_can_not_be_read_or_ended(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import ctypes, os, signal
        for name in ['mem', 'environ', 'maps', 'auxv', 'syscall', 'stack', 'fd/0', 'root/etc/passwd']:
            try:
                open('/proc/1/' + name, 'rb').read(1)
                print(name, 'can be read')
            except OSError:
                pass
        for name in ['exe', 'cwd', 'root', 'fd/0', 'fd/1', 'ns/net']:
            try:
                print(name, 'is', os.readlink('/proc/1/' + name))
            except OSError:
                pass
        libc = ctypes.CDLL(None, use_errno=True)
        PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_TRACEME = 16, 0x4206, 0
        for request in [PTRACE_ATTACH, PTRACE_SEIZE]:
            if libc.ptrace(request, 1, 0, 0) == 0:
                print('traced')
        buffer = ctypes.create_string_buffer(8)
        class Part(ctypes.Structure):
            _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
        here, there = Part(ctypes.addressof(buffer), 8), Part(0x400000, 8)
        if libc.process_vm_readv(1, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0:
            print('memory can be copied')
        for number in [signal.SIGTERM, signal.SIGSTOP, signal.SIGCHLD, signal.SIGSEGV, signal.SIGKILL]:
            for whom in [1, -1]:
                if whom == -1 and number != signal.SIGCHLD:
                    continue
                try:
                    os.kill(whom, number)
                except OSError:
                    pass
        print('goes on')
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "goes on\n");
}

pub(crate) async fn no_process_of_others_is_visible(sandbox: &dyn Sandbox) {
    let (other, _) = endless();
    interrupt(sandbox, &other, async || {
        let job = python(
            "
            import os
            numbers = {int(name) for name in os.listdir('/proc') if name.isdigit()}
            print(sorted(numbers - {1, os.getpid()}))
            alive = 0
            for number in range(2, 5000):
                try:
                    os.kill(number, 0)
                    alive += 1
                except ProcessLookupError:
                    pass
                except PermissionError:
                    alive += 1
            print(alive)
            ",
        );
        assert_eq!(stdout_of(sandbox, &job).await, "[]\n1\n");
    })
    .await;
}

pub(crate) async fn the_host_has_no_name(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import os, socket
        print(socket.gethostname(), os.uname().nodename, open('/etc/hostname').read().strip())
        try:
            socket.sethostname('other')
        except OSError:
            print('and keeps its own')
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "sandbox sandbox sandbox\nand keeps its own\n");
}

pub(crate) async fn no_namespace_can_be_made_and_nothing_mounted(sandbox: &dyn Sandbox) {
    let job = python(
        "
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        for name, flag in [('user', 0x10000000), ('mount', 0x20000), ('pid', 0x20000000),
                           ('net', 0x40000000), ('ipc', 0x8000000), ('uts', 0x4000000)]:
            if libc.unshare(flag) == 0:
                print(name, 'namespace')
        if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0:
            print('mounted')
        if libc.umount2(b'/tmp', 2) == 0:
            print('unmounted')
        if libc.chroot(b'/tmp') == 0:
            print('changed its root')
        try:
            os.setuid(0)
            print('is root')
        except OSError:
            pass
        ",
    );
    assert_eq!(stdout_of(sandbox, &job).await, "");
}

pub(crate) async fn no_secret_of_the_host_can_be_read(sandbox: &dyn Sandbox) {
    let secret = tempfile::NamedTempFile::new().expect("room for a file");
    fs::write(secret.path(), "secret").expect("our own file");
    let mut job = python(
        "
        import os, sys
        paths = ['/etc/shadow', '/etc/machine-id', '/etc/ssh', '/root/.bashrc', '/proc/kcore',
                 '/proc/kmsg', '/proc/keys', '/proc/timer_list', '/dev/kmsg',
                 '/dev/mem', '/dev/sda', '/dev/vda', '/var/run/docker.sock', '/run/docker.sock',
                 '/sys/firmware/dmi/tables/DMI', '/proc/acpi', '/proc/scsi/scsi'] + sys.argv[1:]
        for path in paths:
            try:
                content = os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(64)
                # An engine hides files behind empty ones.
                if content:
                    print(path, 'says', content)
            except OSError:
                pass
        if os.access('/proc/kallsyms', os.R_OK):
            if any(line.split()[0].strip('0') for line in open('/proc/kallsyms')):
                print('the kernel says where it is')
        expected = {'bin', 'box', 'dev', 'etc', 'lib', 'lib32', 'lib64', 'libx32', 'proc', 'root',
                    'sandfleet', 'sbin', 'sys', 'tmp', 'usr', 'var', '.dockerenv', 'boot', 'home',
                    'media', 'mnt', 'opt', 'run', 'srv'}
        print(sorted(set(os.listdir('/')) - expected))
        for name in ['home', 'mnt', 'opt', 'srv', 'media', 'boot']:
            if os.path.isdir('/' + name) and os.listdir('/' + name):
                print(name, 'holds', os.listdir('/' + name))
        ",
    );
    let docker = std::env::var("SANDFLEET_TEST_DOCKER_HOST").expect("the tests' environment");
    let socket = docker.trim_start_matches("unix://").to_owned();
    let current = std::env::current_exe().expect("we run");
    job.args = vec![
        secret.path().display().to_string(),
        socket,
        current.display().to_string(),
        env!("CARGO_MANIFEST_DIR").into(),
    ];
    assert_eq!(stdout_of(sandbox, &job).await, "[]\n");
}
