//! From the facts at a program's end to its verdict, and to a sentence that says what to change.
//!
//! Precedence: what struck first is the cause; the agent keeps the first. A program that ended by
//! itself is still blamed for memory when a process of it was killed for want of it, then for
//! output beyond what is allowed, and only then judged by how it exited.

use sandfleet_agent::{
    init::sockets::{TCP_BYTES, UDP_BYTES},
    protocol::message::{Cause, Collected, ExitReport},
};
use sandfleet_common::{LimitHit, LimitName, Limits, OutputOverflow, Verdict};

use super::signal;
use crate::sandbox::{End, policy::Policy};

/// What is said about a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence.
    pub message: String,
    /// The exit code, if the program exited.
    pub exit_code: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<String>,
    /// Limits that refused something without ending the program.
    pub limits_hit: Vec<LimitHit>,
}

/// Judges a program by how it ended.
pub fn classify(
    end: &End,
    limits: &Limits,
    overflow: OutputOverflow,
    policy: &Policy,
) -> Judgement {
    let exceeded = |verdict, message| Judgement {
        verdict,
        message,
        exit_code: None,
        signal: None,
        limits_hit: Vec::new(),
    };
    let ended = match end {
        End::Seen(ended) => ended,
        End::OutOfMemory { .. } => {
            return exceeded(Verdict::MemoryLimitExceeded, out_of_memory(limits));
        }
        End::Killed { .. } => {
            let message = "killed the first process of its container, and all with it";
            return exceeded(Verdict::RuntimeError, message.into());
        }
        End::Tampered { .. } => return exceeded(Verdict::SecurityViolation, tampered()),
        End::Overdue { .. } => return exceeded(Verdict::TimeLimitExceeded, out_of_time(limits)),
    };
    let output_kill_bytes = policy.output_kill_bytes(limits, overflow);
    let (verdict, message) = match ended.cause {
        // It waits for what was refused, and more time would not help.
        Cause::WallTime if ended.processes_refused > 0 => (
            Verdict::TimeLimitExceeded,
            format!("was still running at wall_time_ms = {}", limits.wall_time_ms),
        ),
        Cause::WallTime => (Verdict::TimeLimitExceeded, out_of_time(limits)),
        Cause::CpuTime => (Verdict::TimeLimitExceeded, out_of_cpu_time(limits)),
        Cause::Memory => (Verdict::MemoryLimitExceeded, out_of_memory(limits)),
        Cause::Output => (Verdict::OutputLimitExceeded, too_much_output(output_kill_bytes)),
        Cause::Processes => (Verdict::RuntimeError, too_many_processes(limits)),
        Cause::Sockets => (Verdict::MemoryLimitExceeded, too_many_sockets(policy)),
        Cause::Mappings => (Verdict::MemoryLimitExceeded, too_many_mappings(policy)),
        Cause::Locks => (Verdict::MemoryLimitExceeded, too_many_locks(policy)),
        Cause::Tampering => (Verdict::SecurityViolation, tampered()),
        Cause::Itself => judge_exit(ended, limits, output_kill_bytes),
    };
    let mut judgement = Judgement {
        verdict,
        message,
        exit_code: ended.exit_code,
        signal: ended.signal.map(signal::name),
        limits_hit: limits_hit(ended, limits),
    };
    let reached = |limit| format!("{limit} = {}", limits.get(limit));
    let hits = judgement.limits_hit.iter().map(|hit| hit.limit);
    let said: Vec<String> = hits
        .filter_map(|limit| match limit {
            // What ended it says so itself.
            LimitName::Processes if ended.cause == Cause::Processes => None,
            LimitName::OutputBytes if judgement.verdict == Verdict::OutputLimitExceeded => None,
            LimitName::Processes => Some(format!(
                "more processes and threads than {} were refused (EAGAIN): start fewer or raise processes",
                reached(limit)
            )),
            LimitName::ScratchBytes if !ended.scratch_full => Some(format!(
                "a directory of the scratch space had {} files, which no limit raises (ENOSPC): make fewer",
                policy.scratch_inodes
            )),
            LimitName::ScratchBytes => Some(format!(
                "a directory of the scratch space was full at {} (ENOSPC): write less or raise scratch_bytes",
                reached(limit)
            )),
            LimitName::OpenFiles => Some(format!(
                "a process had {} (EMFILE): close some or raise open_files",
                reached(limit)
            )),
            LimitName::OutputBytes => {
                Some(format!("a stream was cut at {}: print less or raise output_bytes", reached(limit)))
            }
            _ => None,
        })
        .collect();
    judgement.message = [judgement.message].into_iter().chain(said).collect::<Vec<_>>().join("; ");
    judgement
}

impl Judgement {
    /// Adds which limits kept artifacts from being brought back.
    pub fn add_collected(&mut self, collected: Collected, limits: &Limits) {
        for (was_hit, limit, what) in [
            (collected.were_too_many, LimitName::ArtifactCount, "make fewer"),
            (collected.was_too_large, LimitName::ArtifactBytes, "write less"),
        ] {
            if was_hit {
                let value = limits.get(limit);
                self.limits_hit.push(LimitHit { limit, value });
                self.message.push_str(&format!(
                    "; artifacts beyond {limit} = {value} were not brought back: {what} or raise {limit}"
                ));
            }
        }
    }
}

fn judge_exit(ended: &ExitReport, limits: &Limits, output_kill_bytes: u64) -> (Verdict, String) {
    if ended.memory_kills.is_some_and(|kills| kills > 0) {
        return (Verdict::MemoryLimitExceeded, out_of_memory(limits));
    }
    if ended.stdout_bytes.saturating_add(ended.stderr_bytes) >= output_kill_bytes {
        return (Verdict::OutputLimitExceeded, too_much_output(output_kill_bytes));
    }
    match (ended.exit_code, ended.signal) {
        (Some(0), _) => (Verdict::Accepted, "exit code 0".into()),
        (Some(code), _) => (Verdict::RuntimeError, format!("exit code {code}")),
        // Every program can send itself the signals by which the kernel enforces limits.
        (None, Some(signal::XCPU)) if is_out_of_cpu_time(ended, limits) => {
            (Verdict::TimeLimitExceeded, out_of_cpu_time(limits))
        }
        (None, Some(signal)) => {
            (Verdict::RuntimeError, format!("killed by {}", signal::name(signal)))
        }
        (None, None) => (Verdict::InternalError, "the program's end was not seen".into()),
    }
}

fn is_out_of_cpu_time(ended: &ExitReport, limits: &Limits) -> bool {
    ended.cpu_time_us >= limits.cpu_time_ms.saturating_mul(1000)
}

fn limits_hit(ended: &ExitReport, limits: &Limits) -> Vec<LimitHit> {
    let hit = |limit: LimitName| LimitHit { limit, value: limits.get(limit) };
    let mut hits = Vec::new();
    if ended.processes_refused > 0 || ended.cause == Cause::Processes {
        hits.push(hit(LimitName::Processes));
    }
    if ended.scratch_full || ended.scratch_files_used_up {
        hits.push(hit(LimitName::ScratchBytes));
    }
    if ended.open_files_used_up {
        hits.push(hit(LimitName::OpenFiles));
    }
    if ended.stdout_bytes > limits.output_bytes || ended.stderr_bytes > limits.output_bytes {
        hits.push(hit(LimitName::OutputBytes));
    }
    hits
}

fn out_of_time(limits: &Limits) -> String {
    format!(
        "ran longer than wall_time_ms = {}; make it faster or raise wall_time_ms",
        limits.wall_time_ms
    )
}

fn out_of_cpu_time(limits: &Limits) -> String {
    format!(
        "used more CPU time than cpu_time_ms = {}; make it faster or raise cpu_time_ms",
        limits.cpu_time_ms
    )
}

fn too_many_sockets(policy: &Policy) -> String {
    format!(
        "had TCP and UDP sockets that could queue more than {} bytes of kernel memory ({} KiB each, \
         {} KiB for UDP), which no limit raises; close some or use fewer at a time",
        policy.socket_bytes,
        TCP_BYTES >> 10,
        UDP_BYTES >> 10
    )
}

fn too_many_mappings(policy: &Policy) -> String {
    format!(
        "had more than {} memory mappings in all its processes, or hid how many, and the kernel keeps \
         them in memory that no limit counts; map larger pieces or start fewer processes",
        policy.mappings
    )
}

fn too_many_locks(policy: &Policy) -> String {
    format!(
        "had more than {} record locks (fcntl) in all its processes, or hid how many (PR_SET_DUMPABLE), and the \
         kernel keeps them in memory that no limit counts; lock fewer and larger ranges, and hide no process",
        policy.record_locks
    )
}

fn out_of_memory(limits: &Limits) -> String {
    format!(
        "needed more than memory_bytes = {} (files in the scratch space count); use less or raise \
         memory_bytes",
        limits.memory_bytes
    )
}

fn too_many_processes(limits: &Limits) -> String {
    format!(
        "had more than processes = {} processes and threads; start fewer or raise processes",
        limits.processes
    )
}

fn tampered() -> String {
    "used the stream between its sandbox and the worker; nothing that came from the program that \
     way was taken"
        .into()
}

fn too_much_output(bytes: u64) -> String {
    format!("wrote {bytes} bytes of output or more; print less or write to a file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::ended_in_order;

    fn ended(change: impl FnOnce(&mut ExitReport)) -> End {
        let mut ended = ended_in_order();
        change(&mut ended);
        End::Seen(ended)
    }

    fn killed(signal: i32) -> impl FnOnce(&mut ExitReport) {
        move |ended| (ended.exit_code, ended.signal) = (None, Some(signal))
    }

    #[test]
    fn every_end_has_its_verdict() {
        use Verdict::*;
        let cases: Vec<(&str, End, Verdict)> = vec![
            ("exit 0", ended(|_| {}), Accepted),
            ("exit 3", ended(|e| e.exit_code = Some(3)), RuntimeError),
            ("exit 137 is no proof of anything", ended(|e| e.exit_code = Some(137)), RuntimeError),
            ("SIGKILL by itself", ended(killed(9)), RuntimeError),
            ("SIGSEGV", ended(killed(11)), RuntimeError),
            ("SIGXCPU that the program sent", ended(killed(24)), RuntimeError),
            (
                "SIGXCPU at the limit",
                ended(|e| {
                    killed(24)(e);
                    e.cpu_time_us = Limits::default().cpu_time_ms * 1000;
                }),
                TimeLimitExceeded,
            ),
            ("SIGSYS", ended(killed(31)), RuntimeError),
            ("SIGXFSZ", ended(killed(25)), RuntimeError),
            (
                "a child was killed for memory",
                ended(|e| e.memory_kills = Some(1)),
                MemoryLimitExceeded,
            ),
            ("memory ran out", ended(|e| e.cause = Cause::Memory), MemoryLimitExceeded),
            ("wall time", ended(|e| e.cause = Cause::WallTime), TimeLimitExceeded),
            ("CPU time", ended(|e| e.cause = Cause::CpuTime), TimeLimitExceeded),
            ("output", ended(|e| e.cause = Cause::Output), OutputLimitExceeded),
            ("processes", ended(|e| e.cause = Cause::Processes), RuntimeError),
            ("sockets", ended(|e| e.cause = Cause::Sockets), MemoryLimitExceeded),
            ("mappings", ended(|e| e.cause = Cause::Mappings), MemoryLimitExceeded),
            ("record locks", ended(|e| e.cause = Cause::Locks), MemoryLimitExceeded),
            ("words to the agent", ended(|e| e.cause = Cause::Tampering), SecurityViolation),
            ("output, noticed late", ended(|e| e.stdout_bytes = 65 << 20), OutputLimitExceeded),
            (
                "time was first, memory second",
                ended(|e| (e.cause, e.memory_kills) = (Cause::WallTime, Some(1))),
                TimeLimitExceeded,
            ),
            (
                "the agent was killed too",
                End::OutOfMemory { wall_time: Default::default() },
                MemoryLimitExceeded,
            ),
            (
                "the program killed the agent",
                End::Killed { wall_time: Default::default() },
                RuntimeError,
            ),
            (
                "words to the worker",
                End::Tampered { wall_time: Default::default() },
                SecurityViolation,
            ),
            (
                "the agent was stuck",
                End::Overdue { wall_time: Default::default() },
                TimeLimitExceeded,
            ),
        ];
        let policy = Policy::strict();
        for (what, end, verdict) in cases {
            let judgement = classify(&end, &Limits::default(), OutputOverflow::Discard, &policy);
            assert_eq!(judgement.verdict, verdict, "{what}: {}", judgement.message);
        }
    }

    #[test]
    fn a_message_names_the_limit_and_its_value() {
        let limits = Limits { wall_time_ms: 1234, ..Limits::default() };
        let end = ended(|e| e.cause = Cause::WallTime);
        let judgement = classify(&end, &limits, OutputOverflow::Discard, &Policy::strict());
        assert!(judgement.message.contains("wall_time_ms = 1234"), "{}", judgement.message);
    }

    #[test]
    fn refusals_are_flags_beside_the_verdict() {
        let end = ended(|e| (e.processes_refused, e.stdout_bytes) = (2, 2 << 20));
        let judgement =
            classify(&end, &Limits::default(), OutputOverflow::Discard, &Policy::strict());
        assert_eq!(judgement.verdict, Verdict::Accepted);
        let names: Vec<_> = judgement.limits_hit.iter().map(|hit| hit.limit).collect();
        assert_eq!(names, [LimitName::Processes, LimitName::OutputBytes]);
    }

    #[test]
    fn a_signal_is_no_proof_that_a_limit_was_reached() {
        for signal in 1..=64 {
            let end = ended(killed(signal));
            let judgement =
                classify(&end, &Limits::default(), OutputOverflow::Discard, &Policy::strict());
            assert_eq!(judgement.verdict, Verdict::RuntimeError, "signal {signal}");
            assert_eq!(judgement.limits_hit, [], "signal {signal}");
        }
    }

    #[test]
    fn a_job_that_wants_it_is_killed_for_one_byte_too_many() {
        let end = ended(|e| e.stdout_bytes = (1 << 20) + 1);
        let judgement = classify(&end, &Limits::default(), OutputOverflow::Kill, &Policy::strict());
        assert_eq!(judgement.verdict, Verdict::OutputLimitExceeded);
    }

    #[test]
    fn signals_have_their_names() {
        assert_eq!(signal::name(11), "SIGSEGV");
        assert_eq!(signal::number("SIGSEGV"), Some(11));
        assert_eq!(signal::name(31), "SIGSYS");
        assert_eq!(signal::name(64), "signal 64");
        assert_eq!(signal::name(0), "signal 0");
    }
}
