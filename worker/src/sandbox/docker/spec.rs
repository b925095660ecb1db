//! The policy in Docker's words.

#[cfg(test)]
mod fuzz;

use std::{collections::HashMap, sync::Arc};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
};
use sandfleet_common::{Isolation, Limits};

use super::{config::DockerConfig, label};
use crate::sandbox::policy::Policy;

/// The agent, which shares the program's control group.
const OVERHEAD_PROCESSES: u64 = 1;

/// What a container itself fixes: its image and some of its job's limits. Any job of the same shape can have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ContainerKey {
    /// The engine's id of the image.
    image: Arc<str>,
    memory_bytes: u64,
    processes: u64,
    scratch_bytes: u64,
    /// Minutes that the program may run, rounded up to a power of two: how long the container's
    /// deadline has to leave it alone.
    pub(super) minutes: u64,
}

impl ContainerKey {
    pub(super) fn of(image: &Arc<str>, limits: &Limits) -> Self {
        let Limits {
            memory_bytes,
            processes,
            scratch_bytes,
            wall_time_ms,
            cpu_time_ms: _,    // the agent, by Policy::bounds
            output_bytes: _,   // the agent, by Policy::bounds
            open_files: _,     // the agent, by Policy::bounds
            artifact_bytes: _, // the agent, by Policy::bounds
            artifact_count: _, // the agent, by Policy::bounds
        } = *limits;
        // No number of milliseconds has so many minutes that the next power of two is too large.
        let minutes = wall_time_ms.div_ceil(60_000).next_power_of_two();
        Self { image: Arc::clone(image), memory_bytes, processes, scratch_bytes, minutes }
    }
}

/// The container for a job of this shape, to run as `user` and to be gone by `deadline` (Unix time,
/// in seconds).
pub(super) fn lower(
    policy: &Policy,
    config: &DockerConfig,
    key: &ContainerKey,
    user: u32,
    deadline: i64,
) -> ContainerCreateBody {
    let Policy {
        network,
        writable_root,
        new_privileges,
        capabilities,
        swap,
        shared_ipc,
        system_calls,
        scratch_inodes,
        stack_bytes: _,       // the agent, by Policy::bounds
        output_kill_bytes: _, // the agent, by Policy::bounds
        stderr_tail_bytes: _, // the agent, by Policy::bounds
        overhead_bytes,
        network_settings,
        socket_bytes: _, // the agent, by Policy::bounds
        mappings: _,     // the agent, by Policy::bounds
        record_locks: _, // the agent, by Policy::bounds
    } = policy;
    let memory = signed(key.memory_bytes.saturating_add(*overhead_bytes));
    // A tmpfs of size 0 has no end.
    let scratch_bytes = key.scratch_bytes.max(1);
    let scratch = format!(
        "rw,exec,nosuid,nodev,size={scratch_bytes},nr_inodes={scratch_inodes},mode=0700,uid={user},gid={user}"
    );
    let isolation = config.isolation();
    let is_plain = isolation == Isolation::Container;
    let mut security = vec![format!("seccomp={}", system_calls.docker_json(isolation))];
    if !new_privileges {
        security.push("no-new-privileges:true".into());
    }
    if let Some(profile) = &config.apparmor_profile {
        security.push(format!("apparmor={profile}"));
    }
    let host = HostConfig {
        runtime: Some(config.runtime.clone()),
        network_mode: Some(if *network { "default" } else { "none" }.into()),
        readonly_rootfs: Some(!writable_root),
        cap_drop: (!capabilities).then(|| vec!["ALL".into()]),
        security_opt: Some(security),
        // Docker takes absence for twice the memory, and zero or less for no limit at all.
        memory: Some(memory),
        memory_swap: Some(if *swap { -1 } else { memory }),
        pids_limit: Some(signed(key.processes.saturating_add(OVERHEAD_PROCESSES))),
        nano_cpus: Some((config.cpus * 1e9) as i64),
        // If memory runs out, it runs out for the program, not for the engine.
        oom_score_adj: Some(1000),
        ipc_mode: Some(if *shared_ipc { "shareable" } else { "private" }.into()),
        // On version 1 hosts the engine's default is the host's.
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        // gVisor's network is in the container's own memory.
        sysctls: is_plain
            .then(|| network_settings.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()),
        // As much as the job has memory, which it is.
        shm_size: Some(memory),
        tmpfs: Some(["/box", "/tmp"].map(|path| (path.to_owned(), scratch.clone())).into()),
        // Any driver would write what a hostile program prints to the host's disk.
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        // Removed by hand: with auto-removal there is nothing left to ask how it ended.
        auto_remove: Some(false),
        init: Some(false),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(key.image.to_string()),
        entrypoint: Some(vec!["/sandfleet/agent".into(), "serve".into()]),
        cmd: Some(Vec::new()),
        env: Some(Vec::new()),
        hostname: Some("sandbox".into()),
        user: Some(format!("{user}:{user}")),
        // With this the engine leaves its network code out, which is half of what a start costs; the
        // container's own network namespace is the runtime's either way. Not with runsc: a program
        // there that had forked without end could not be killed any more within a minute.
        network_disabled: Some(!network && is_plain),
        working_dir: Some("/box".into()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        // The agent's input ends with the worker's connection: a dead worker's containers end
        // by themselves.
        stdin_once: Some(true),
        tty: Some(false),
        labels: Some(HashMap::from([
            (label::WORKER.into(), config.worker_id.clone()),
            (label::DEADLINE.into(), deadline.to_string()),
        ])),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// Docker's numbers are signed; none of ours comes near the difference, but a cast would make a
/// negative and so unlimited one of it.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DockerConfig {
        DockerConfig {
            host: "unix:///nowhere".into(),
            runtime: "runc".into(),
            image: "image".into(),
            images: Vec::new(),
            user_base: 200_000,
            cpus: 1.5,
            worker_id: "w".into(),
            allow_outdated: false,
            apparmor_profile: Some("sandfleet-sandbox".into()),
            pool_size: 0,
            slots: 64,
            observer: Default::default(),
        }
    }

    fn smallest() -> ContainerKey {
        ContainerKey::of(&"sha256:i".into(), &Limits::default())
    }

    #[test]
    fn the_strict_policy_leaves_nothing_open() {
        let body = lower(&Policy::strict(), &config(), &smallest(), 200_001, 99);
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(body.network_disabled, Some(true));
        let sysctls = host.sysctls.unwrap();
        assert_eq!(sysctls["net.core.somaxconn"], "128");
        assert_eq!(sysctls.len(), Policy::strict().network_settings.len());
        let gvisor = DockerConfig { runtime: "runsc".into(), ..config() };
        let body_there = lower(&Policy::strict(), &gvisor, &smallest(), 200_001, 99);
        assert_eq!(body_there.network_disabled, Some(false));
        assert_eq!(body_there.host_config.unwrap().network_mode.as_deref(), Some("none"));
        assert_eq!(host.readonly_rootfs, Some(true));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.cap_add, None);
        assert_eq!(host.privileged, None);
        assert_eq!((host.binds, host.mounts, host.devices), (None, None, None));
        assert_eq!(host.memory, host.memory_swap);
        assert!(host.memory.unwrap() > 0 && host.pids_limit.unwrap() > 0);
        let security = host.security_opt.unwrap();
        assert!(security.contains(&"no-new-privileges:true".to_owned()));
        assert!(security.iter().any(|option| option.starts_with("seccomp={")));
        assert!(security.contains(&"apparmor=sandfleet-sandbox".to_owned()));
        assert_eq!(body.user.as_deref(), Some("200001:200001"));
    }

    #[test]
    fn the_largest_limits_do_not_turn_into_no_limit() {
        let key = ContainerKey { memory_bytes: u64::MAX, processes: u64::MAX, ..smallest() };
        let host = lower(&Policy::strict(), &config(), &key, 1, 0).host_config.unwrap();
        assert_eq!((host.memory, host.pids_limit), (Some(i64::MAX), Some(i64::MAX)));
    }

    #[test]
    fn a_shape_leaves_time_for_the_whole_program() {
        let minutes = |wall_time_ms| {
            ContainerKey::of(&"".into(), &Limits { wall_time_ms, ..Limits::default() }).minutes
        };
        assert_eq!([1, 60_000, 60_001, 180_001].map(minutes), [1, 1, 2, 4]);
        assert!(minutes(u64::MAX) > u64::MAX / 60_000);
    }
}
