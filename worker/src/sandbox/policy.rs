//! The hardening policy: plain data, strict, one reason a line.
//!
//! Backends take it apart exhaustively, so that a new field doesn't compile until each of them
//! has said what it does about it. A job can't change any of it, nor can configuration: what an
//! operator may set are limits.

use sandfleet_agent::protocol::message::ProcessLimits;
use sandfleet_common::{Isolation, Limits, OutputOverflow};
use sha2::{Digest, Sha256};

use super::{agent_binary::hexadecimal, seccomp::Profile};

/// What stands between a program and its host, on every backend.
#[derive(Debug, Clone)]
pub struct Policy {
    /// An empty network namespace: no egress, no neighbour, no cloud metadata.
    pub network: bool,
    /// Nothing outside of the scratch space can be written: no job can prepare the next one's
    /// ground, and the host's disk can't be filled.
    pub writable_root: bool,
    /// Setuid programs and file capabilities give nothing.
    pub new_privileges: bool,
    /// Capabilities of any kind are given to nobody, PID 1 included.
    pub capabilities: bool,
    /// Swap would turn the memory limit into a disk load that neighbours pay for.
    pub swap: bool,
    /// IPC objects, host name and control groups are the container's own.
    pub shared_ipc: bool,
    /// Which system calls exist.
    pub system_calls: Profile,
    /// Files in the scratch space: kernel memory that its size in bytes doesn't bound.
    pub scratch_inodes: u64,
    /// Stack that a process starts with, in bytes: enough for deep recursion, little enough to fail cleanly. It may
    /// raise that, since its stack is memory of the job.
    pub stack_bytes: u64,
    /// Bytes written to both streams at which even a discarding job is ended.
    pub output_kill_bytes: u64,
    /// How much of the end of a too long stderr is kept: errors are at the end.
    pub stderr_tail_bytes: u64,
    /// Memory, in bytes, for what the sandbox itself keeps in the job's control group.
    pub overhead_bytes: u64,
    /// Settings of the network namespace, by which a TCP socket's queues hold what the agent takes
    /// them to hold and no listener has more than 128 connections that it hasn't accepted.
    pub network_settings: &'static [(&'static str, &'static str)],
    /// What all TCP and UDP sockets can hold together: kernel memory that control groups don't count,
    /// or not before a connection is accepted.
    pub socket_bytes: u64,
    /// Mappings of all processes together: kernel memory that control groups count in part.
    pub mappings: u64,
    /// Record locks of all processes together: kernel memory that control groups don't count.
    pub record_locks: u64,
}

impl Policy {
    /// The only policy there is.
    pub fn strict() -> Self {
        Self {
            network: false,
            writable_root: false,
            new_privileges: false,
            capabilities: false,
            swap: false,
            shared_ipc: false,
            system_calls: Profile::embedded()
                .expect("the built-in profile is valid: a test reads the same text"),
            scratch_inodes: 16_384,
            stack_bytes: 64 << 20,
            output_kill_bytes: 64 << 20,
            stderr_tail_bytes: 4096,
            overhead_bytes: 4 << 20,
            network_settings: &[
                ("net.core.somaxconn", "128"),
                ("net.ipv4.tcp_rmem", "4096 16384 65536"),
                ("net.ipv4.tcp_wmem", "4096 16384 65536"),
            ],
            // Less than the 64 MiB that a job may take uncounted: more are made until the agent looks again.
            socket_bytes: 48 << 20,
            // What four processes may have, by the kernel's default. More come until the agent looks again.
            mappings: 1 << 18,
            // 30 MiB, and databases set a few for each connection. More are set until the agent looks again.
            record_locks: 1 << 17,
        }
    }

    /// SHA-256 over everything the policy enforces, in hexadecimal. Comments and the order of the
    /// profile's lines are not part of it.
    pub fn hash(&self) -> String {
        hexadecimal(&Sha256::digest(self.canonical()))
    }

    /// What is enforced, one line a field, in the order of their names.
    fn canonical(&self) -> String {
        let Self {
            network,
            writable_root,
            new_privileges,
            capabilities,
            swap,
            shared_ipc,
            system_calls,
            scratch_inodes,
            stack_bytes,
            output_kill_bytes,
            stderr_tail_bytes,
            overhead_bytes,
            network_settings,
            socket_bytes,
            mappings,
            record_locks,
        } = self;
        let system_calls = system_calls.canonical();
        format!(
            "capabilities={capabilities}\nmappings={mappings}\nnetwork={network}\n\
             network_settings={network_settings:?}\nnew_privileges={new_privileges}\noutput_kill_bytes={output_kill_bytes}\n\
             overhead_bytes={overhead_bytes}\nrecord_locks={record_locks}\nscratch_inodes={scratch_inodes}\n\
             shared_ipc={shared_ipc}\nsocket_bytes={socket_bytes}\nstack_bytes={stack_bytes}\n\
             stderr_tail_bytes={stderr_tail_bytes}\nswap={swap}\nsystem_calls={system_calls}\n\
             writable_root={writable_root}\n"
        )
    }

    /// The settings of the network namespace as the launcher takes them.
    pub fn network_settings(&self) -> Vec<(String, String)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.network_settings.iter().map(owned).collect()
    }

    /// What the agent holds a program with `limits` to, on so many `cpus`.
    pub fn bounds(
        &self,
        limits: &Limits,
        overflow: OutputOverflow,
        isolation: Isolation,
        cpus: f64,
    ) -> ProcessLimits {
        let Limits {
            wall_time_ms,
            cpu_time_ms,
            memory_bytes,
            processes,
            output_bytes,
            scratch_bytes: _, // the container
            open_files,
            artifact_bytes,
            artifact_count,
        } = *limits;
        ProcessLimits {
            wall_time_ms,
            cpu_time_ms,
            memory_bytes: memory_bytes.saturating_add(self.overhead_bytes),
            processes,
            socket_bytes: self.socket_bytes,
            mappings: self.mappings,
            record_locks: self.record_locks,
            is_gvisor: isolation == Isolation::GVisor,
            cpu_quota_ms: (cpus * 1000.0).ceil() as u64,
            output_bytes,
            output_kill_bytes: self.output_kill_bytes(limits, overflow),
            stderr_tail_bytes: self.stderr_tail_bytes,
            open_files,
            stack_bytes: self.stack_bytes,
            artifact_bytes,
            artifact_count,
        }
    }

    /// Bytes of both streams together at which a program is ended.
    pub fn output_kill_bytes(&self, limits: &Limits, overflow: OutputOverflow) -> u64 {
        match overflow {
            OutputOverflow::Discard => self.output_kill_bytes,
            OutputOverflow::Kill => {
                limits.output_bytes.saturating_add(1).min(self.output_kill_bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_field_is_in_the_hash() {
        let changes: &[fn(&mut Policy)] = &[
            |_| {},
            |policy| policy.network = true,
            |policy| policy.writable_root = true,
            |policy| policy.new_privileges = true,
            |policy| policy.capabilities = true,
            |policy| policy.swap = true,
            |policy| policy.shared_ipc = true,
            |policy| policy.system_calls = Profile::altered(r#""ptrace", "#, ""),
            |policy| policy.scratch_inodes += 1,
            |policy| policy.stack_bytes += 1,
            |policy| policy.output_kill_bytes += 1,
            |policy| policy.stderr_tail_bytes += 1,
            |policy| policy.overhead_bytes += 1,
            |policy| policy.network_settings = &[("net.core.somaxconn", "129")],
            |policy| policy.socket_bytes += 1,
            |policy| policy.mappings += 1,
            |policy| policy.record_locks += 1,
        ];
        let hash = |change: &fn(&mut Policy)| {
            let mut policy = Policy::strict();
            change(&mut policy);
            policy.hash()
        };
        let hashes: BTreeSet<String> = changes.iter().map(hash).collect();
        assert_eq!(hashes.len(), changes.len());
    }

    #[test]
    fn a_tcp_socket_holds_no_more_than_the_agent_takes_it_to_hold() {
        let largest = |name| {
            let setting = Policy::strict().network_settings.iter().find(|(n, _)| *n == name);
            setting.and_then(|(_, value)| value.rsplit(' ').next()?.parse::<u64>().ok()).unwrap()
        };
        let both = largest("net.ipv4.tcp_rmem") + largest("net.ipv4.tcp_wmem");
        assert_eq!(both, sandfleet_agent::init::sockets::TCP_BYTES);
    }

    #[test]
    fn a_comment_is_not_in_the_hash() {
        let worded = "The machine's clock. adjtimex reads it too";
        let policy = Policy {
            system_calls: Profile::altered(worded, "Clocks. adjtimex reads them"),
            ..Policy::strict()
        };
        assert_eq!(policy.hash(), Policy::strict().hash());
    }
}
