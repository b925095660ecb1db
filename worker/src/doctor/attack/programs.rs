//! What is tried: programs of the hostile corpus in `tests/hostile`, which is their only home.
//!
//! Chosen so that they may run on a host that is in use: none changes anything outside of its own
//! container even where a barrier is missing, and what takes up room is bounded by itself, by small
//! limits, and runs last and only if all else was contained.

use sandfleet_common::LimitsRequest;

/// A program of the corpus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    /// Its path in the corpus.
    pub(super) file: &'static str,
    pub(super) code: &'static str,
}

macro_rules! program {
    ($file:literal) => {
        Program { file: $file, code: include_str!(concat!("../../../../tests/hostile/", $file)) }
    };
}

/// The corpus's list of what has to become of its programs.
pub(super) const MANIFEST: &str = include_str!("../../../../tests/hostile/manifest.json");

/// One attempt on the sandbox.
#[derive(Debug)]
pub(super) struct Attack {
    pub(super) program: Program,
    /// What runs before it, in a container of its own, and leaves something for it to find.
    pub(super) after: Option<Program>,
    /// What it tries.
    pub(super) tried: &'static str,
    /// What is shown when it fails to.
    pub(super) proves: &'static str,
}

const fn attack(program: Program, tried: &'static str, proves: &'static str) -> Attack {
    Attack { program, after: None, tried, proves }
}

/// Walls between a program and all else.
pub(super) const PROBES: &[Attack] = &[
    attack(
        program!("escape/filter_discriminates.py"),
        "calls 31 system calls with arguments that the kernel would refuse in another way",
        "the system call filter is in force, and it is the filter that answers",
    ),
    attack(
        program!("escape/mount.py"),
        "mounts file systems, remounts the root, takes /proc away",
        "no mount can be made or changed",
    ),
    attack(
        program!("escape/unshare.py"),
        "asks for a new namespace of every kind",
        "no way to a kernel's rarely walked paths by being root of a new namespace",
    ),
    attack(
        program!("escape/setns.py"),
        "enters the namespaces of PID 1 and of its parent",
        "no namespace but its own can be joined",
    ),
    attack(
        program!("escape/ptrace.py"),
        "traces PID 1 and reads its memory",
        "a program can't take over what watches it",
    ),
    attack(
        program!("escape/keyctl.py"),
        "adds a key to the kernel's keyrings and reads what is there",
        "keyrings, which all containers share, can't be reached",
    ),
    attack(program!("escape/bpf.py"), "loads a program into the kernel", "bpf is out of reach"),
    attack(
        program!("escape/setuid_root.py"),
        "becomes root, by calls and by setuid programs",
        "no program gives more rights than its caller has",
    ),
    attack(
        program!("escape/readonly_rootfs.py"),
        "writes to programs, libraries, /etc/passwd and the root",
        "nothing can be left for the next job",
    ),
    attack(
        program!("escape/core_pattern.py"),
        "opens the kernel's settings for writing",
        "no setting of the host can be changed",
    ),
    attack(
        program!("escape/leaked_fds.py"),
        "looks for open directories of the host",
        "no descriptor leads outside (the class of CVE-2024-21626)",
    ),
    attack(
        program!("escape/proc_self_exe.py"),
        "opens PID 1's executable for writing",
        "the runtime can't be replaced (the class of CVE-2019-5736)",
    ),
    attack(
        program!("escape/proc_root_escape.py"),
        "climbs out of the root by way of /proc",
        "there is one root",
    ),
    attack(
        program!("escape/dev_null_real.py"),
        "looks whether /dev/null is one, and swaps it",
        "devices are real and stay (the class of CVE-2025-31133)",
    ),
    attack(
        program!("leak/identity.py"),
        "reads its user and groups",
        "it isn't the host's root and has none of its groups",
    ),
    attack(
        program!("leak/own_env.py"),
        "reads its environment",
        "the worker's variables don't come along",
    ),
    attack(
        program!("leak/proc1_environ.py"),
        "reads the environment of every process that it sees",
        "no process tells secrets",
    ),
    attack(
        program!("leak/etc_shadow.py"),
        "reads password hashes, keys and the services' files",
        "the host's secrets aren't there",
    ),
    attack(
        program!("leak/docker_sock.py"),
        "looks for the engine's and the system's sockets",
        "nothing that commands the host can be reached",
    ),
    attack(
        program!("leak/host_services.py"),
        "connects to RabbitMQ, Redis, ssh and databases on the loopback address",
        "the host's services can't be reached",
    ),
    attack(
        program!("leak/cloud_metadata.py"),
        "asks the kernel for a way to the cloud's metadata service",
        "there is no network",
    ),
    attack(
        program!("leak/abstract_unix.py"),
        "looks for abstract sockets and connects to containerd's",
        "sockets without a file don't reach in (the class of CVE-2020-15257)",
    ),
    attack(program!("leak/other_processes.py"), "lists processes", "it sees its own only"),
    attack(
        program!("leak/disk_devices.py"),
        "looks for disks, memory and kvm in /dev",
        "no device of the host is there",
    ),
    attack(
        program!("leak/mountinfo_paths.py"),
        "looks for mounts that can be written to",
        "only the scratch space is writable",
    ),
    Attack {
        program: program!("crossjob/sysv_ipc_check.py"),
        after: Some(program!("crossjob/sysv_ipc_plant.py")),
        tried: "looks for shared memory, semaphores and queues that the job before it left",
        proves: "nothing passes from one job to the next",
    },
    attack(
        program!("agent/signal_pid_1.py"),
        "sends every signal to PID 1",
        "a program can't end what watches it",
    ),
    attack(
        program!("agent/process_group.py"),
        "looks at its process group and session",
        "signals to a group stay inside",
    ),
    attack(
        program!("artifacts/symlink_abs.py"),
        "leaves links to /etc/passwd and to an environment as artifacts",
        "artifacts are the program's own files and nothing that they point to",
    ),
];

/// What takes up room, with limits that keep it small.
pub(super) const EXHAUSTION: &[Attack] = &[
    attack(
        program!("exhaust/fork_bomb_exp.py"),
        "forks as fast as it can",
        "processes are limited, and all of them end together",
    ),
    attack(
        program!("exhaust/mem_child_oom_parent_ok.py"),
        "has a child use up its memory and ends well itself",
        "memory is limited for the whole tree, and the verdict says so",
    ),
    attack(
        program!("exhaust/memfd_balloon.py"),
        "fills a file in memory that has no name",
        "memory is limited wherever it is taken",
    ),
    attack(program!("exhaust/fd_exhaust.py"), "opens files without end", "open files are limited"),
    attack(program!("exhaust/stdout_flood.py"), "prints 4 GiB", "output is limited"),
    attack(
        program!("exhaust/sigterm_ignore.py"),
        "ignores every signal and sleeps",
        "time is limited whatever a program does about it",
    ),
    attack(
        program!("exhaust/double_fork_daemon.py"),
        "leaves a daemon behind that keeps its output open",
        "a job ends with its program, and nothing stays",
    ),
    attack(
        program!("exhaust/exit_137_no_oom.sh"),
        "ends with the code of a process that was killed for want of memory",
        "a verdict can't be forged by an exit code",
    ),
];

/// The limits of everything: no program here needs more to show what it shows.
pub(super) fn limits() -> LimitsRequest {
    LimitsRequest {
        wall_time_ms: Some(20_000),
        cpu_time_ms: Some(20_000),
        memory_bytes: Some(128 << 20),
        processes: Some(32),
        output_bytes: Some(256 << 10),
        scratch_bytes: Some(16 << 20),
        open_files: Some(128),
        artifact_bytes: Some(1 << 20),
        artifact_count: None,
    }
}

/// The limits of what would take all that it gets.
pub(super) fn small_limits() -> LimitsRequest {
    LimitsRequest {
        wall_time_ms: Some(2_000),
        cpu_time_ms: Some(2_000),
        memory_bytes: Some(64 << 20),
        ..limits()
    }
}

/// A probe whose barrier was taken away on purpose, inside of a container: it has to say BREACH, or
/// it could not say so if the barrier were missing.
#[derive(Debug)]
pub(super) struct Control {
    /// Whose ability to fail is shown.
    pub(super) of: Program,
    pub(super) code: String,
    pub(super) environment: Option<(&'static str, &'static str)>,
    /// What was done to it.
    pub(super) tried: &'static str,
}

/// A listener on the port of Redis, in the probe's own container.
const LISTENER: &str = "import socket as listening\n\
    listener = listening.socket()\n\
    listener.bind(('127.0.0.1', 6379))\n\
    listener.listen()\n";

/// The controls.
pub(super) fn controls() -> Vec<Control> {
    let (plant, check) =
        (program!("crossjob/sysv_ipc_plant.py"), program!("crossjob/sysv_ipc_check.py"));
    let (services, environment) = (program!("leak/host_services.py"), program!("leak/own_env.py"));
    vec![
        Control {
            of: environment,
            code: environment.code.to_owned(),
            environment: Some(("PLANTED_SECRET", "for the control")),
            tried: "is given a secret in its environment",
        },
        Control {
            of: services,
            code: format!("{LISTENER}{}", services.code),
            environment: None,
            tried: "has a service to find, in its own container",
        },
        Control {
            of: check,
            code: format!("{}\n{}", plant.code, check.code),
            environment: None,
            tried: "runs in one container with what leaves something for it",
        },
    ]
}
