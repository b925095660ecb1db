//! The programs that are tried, embedded from the hostile corpus in `tests/hostile`, which is their only home;
//! which of them, and for which claim, is in `claims.toml`.

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

/// Every program that the table of claims names.
const PROGRAMS: &[Program] = &[
    program!("exhaust/page_cache.py"),
    program!("escape/filter_discriminates.py"),
    program!("escape/capabilities.py"),
    program!("escape/setuid_root.py"),
    program!("leak/identity.py"),
    program!("escape/mount.py"),
    program!("escape/unshare.py"),
    program!("escape/setns.py"),
    program!("escape/socket_options.py"),
    program!("escape/kernel_commands.py"),
    program!("escape/keyctl.py"),
    program!("escape/bpf.py"),
    program!("escape/readonly_rootfs.py"),
    program!("escape/core_pattern.py"),
    program!("leak/mountinfo_paths.py"),
    program!("escape/leaked_fds.py"),
    program!("escape/only_three_descriptors.py"),
    program!("escape/proc_self_exe.py"),
    program!("escape/proc_root_escape.py"),
    program!("escape/dev_null_real.py"),
    program!("leak/cloud_metadata.py"),
    program!("leak/host_services.py"),
    program!("leak/abstract_unix.py"),
    program!("leak/docker_sock.py"),
    program!("leak/etc_shadow.py"),
    program!("leak/own_env.py"),
    program!("leak/proc1_environ.py"),
    program!("leak/other_processes.py"),
    program!("leak/disk_devices.py"),
    program!("leak/mount_options.py"),
    program!("leak/own_cgroup.py"),
    program!("escape/ptrace.py"),
    program!("agent/signal_pid_1.py"),
    program!("agent/starve_pid_1.py"),
    program!("agent/process_group.py"),
    program!("agent/forge_result.py"),
    program!("exhaust/mem_child_oom_parent_ok.py"),
    program!("exhaust/exit_137_no_oom.sh"),
    program!("exhaust/fake_limit_signals.py"),
    program!("artifacts/symlink_abs.py"),
    program!("artifacts/fifo.py"),
    program!("artifacts/ansi_and_controls.py"),
    program!("exhaust/sigterm_ignore.py"),
    program!("exhaust/memfd_balloon.py"),
    program!("exhaust/access_list.py"),
    program!("exhaust/message_flags.py"),
    program!("exhaust/huge_pages.py"),
    program!("exhaust/socket_queue.py"),
    program!("exhaust/fork_bomb_exp.py"),
    program!("exhaust/fd_exhaust.py"),
    program!("exhaust/scratch_fill.py"),
    program!("exhaust/stdout_flood.py"),
    program!("exhaust/double_fork_daemon.py"),
    program!("crossjob/sysv_ipc_check.py"),
    program!("crossjob/sysv_ipc_plant.py"),
];

/// The program `file` of the table of claims.
pub(super) fn program(file: &str) -> Program {
    let found = PROGRAMS.iter().find(|program| program.file == file);
    *found.expect("every program of the table is embedded: a test looks")
}

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
    let (plant, check) = ("crossjob/sysv_ipc_plant.py", "crossjob/sysv_ipc_check.py");
    let (plant, check) = (program(plant), program(check));
    let (services, environment) = (program("leak/host_services.py"), program("leak/own_env.py"));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doctor::claims::TABLE;

    #[test]
    fn what_the_table_names_is_embedded_and_nothing_else() {
        let embedded: BTreeSet<&str> = PROGRAMS.iter().map(|program| program.file).collect();
        assert_eq!(embedded.len(), PROGRAMS.len(), "one is there twice");
        let attempts = TABLE.attempts().map(|(_, attempt)| attempt);
        let named = attempts.flat_map(|it| [Some(&it.program), it.after.as_ref()]).flatten();
        assert_eq!(embedded, named.map(String::as_str).collect());
    }
}
