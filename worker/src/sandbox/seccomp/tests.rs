//! Which calls the profile allows.

use std::collections::BTreeSet;

use super::*;

mod arguments;
mod docker;
mod format;

const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

fn names(architecture: Architecture) -> Vec<&'static str> {
    match architecture {
        Architecture::X86_64 => syscalls::x86_64::Sysno::iter().map(|call| call.name()).collect(),
        Architecture::Aarch64 => syscalls::aarch64::Sysno::iter().map(|call| call.name()).collect(),
    }
}

impl Profile {
    /// The embedded profile with `from` made into `to`, which must be one that is no error.
    pub(crate) fn altered(from: &str, to: &str) -> Self {
        altered(from, to).unwrap()
    }
}

/// The embedded profile with `from` made into `to`.
fn altered(from: &str, to: &str) -> Result<Profile, ProfileError> {
    assert!(EMBEDDED.contains(from), "nothing to alter: {from}");
    Profile::parse(&EMBEDDED.replacen(from, to, 1))
}

const PERM: Answer = Answer::Errno(1);

type Rules = BTreeMap<u32, Vec<Rule>>;

fn answer(profile: &Profile, name: &str, arguments: [u64; 6]) -> Answer {
    answer_by(&profile.rules(Architecture::X86_64), name, arguments)
}

fn answer_by(rules: &Rules, name: &str, arguments: [u64; 6]) -> Answer {
    let rules = &rules[&Architecture::X86_64.number(name).unwrap()];
    let rule = rules.iter().find(|rule| rule.conditions.iter().all(|c| c.holds(&arguments)));
    rule.map_or(PERM, |rule| rule.answer)
}

#[test]
fn every_system_call_is_decided() {
    let profile = Profile::embedded().unwrap();
    for architecture in BOTH {
        let rules = profile.rules(architecture);
        for name in names(architecture) {
            let number = architecture.number(name).unwrap();
            assert!(rules.contains_key(&number), "{name} is neither allowed nor refused");
        }
    }
}

#[test]
fn nothing_that_reaches_out_of_the_sandbox_is_allowed() {
    let profile = Profile::embedded().unwrap();
    let refused = "ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp mount \
        umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick \
        mount_setattr unshare setns clone3 bpf perf_event_open userfaultfd fanotify_init \
        io_uring_setup io_uring_enter io_uring_register add_key request_key keyctl kexec_load \
        kexec_file_load init_module finit_module delete_module open_by_handle_at splice vmsplice tee \
        reboot swapon swapoff acct quotactl quotactl_fd sethostname setdomainname syslog \
        settimeofday clock_settime adjtimex mbind set_mempolicy move_pages migrate_pages";
    for architecture in BOTH {
        let rules = profile.rules(architecture);
        for name in refused.split_whitespace().chain(["iopl", "ioperm", "modify_ldt"]) {
            let Some(number) = architecture.number(name) else { continue };
            let allowed = rules[&number].iter().any(|rule| rule.answer == Answer::Allow);
            assert!(!allowed, "{name} is allowed on {architecture:?}");
        }
    }
}

#[test]
fn what_pid_1_needs_is_allowed() {
    let profile = Profile::embedded().unwrap();
    let needed = "read write poll ppoll clone vfork execve execveat wait4 waitid kill pidfd_open \
        pidfd_send_signal prctl signalfd4 openat openat2 getdents64 statx fstat setrlimit \
        setsid dup3 pipe2 socketpair sendmsg recvmsg setresuid setresgid setgroups capset close_range \
        rt_sigreturn restart_syscall exit_group futex mmap getrandom";
    for name in needed.split_whitespace() {
        let family_and_flags = [1, 0, 0, 0, 0, 0];
        assert_eq!(answer(&profile, name, family_and_flags), Answer::Allow, "{name}");
    }
}

#[test]
fn pid_1_keeps_its_limits_and_its_urgency() {
    let profile = Profile::embedded().unwrap();
    let refused = Answer::Errno(1);
    for name in ["prlimit64", "sched_setparam", "sched_setscheduler", "sched_setattr"] {
        assert_eq!(answer(&profile, name, [0; 6]), Answer::Allow, "{name}");
        for pid in [1, 2, 1 << 32 | 1, u64::MAX] {
            assert_eq!(answer(&profile, name, [pid, 0, 0, 0, 0, 0]), refused, "{name} {pid:x}");
        }
    }
    // Of other threads as well, by their numbers.
    for pid in (0..16).map(|bit| 1 << bit | 1).filter(|pid| *pid != 1).chain([0, 2, 65_535]) {
        let affinity = answer(&profile, "sched_setaffinity", [pid, 0, 0, 0, 0, 0]);
        assert_eq!(affinity, Answer::Allow, "{pid}");
    }
    for pid in [1, 1 << 32 | 1, u64::MAX << 32 | 1] {
        assert_eq!(answer(&profile, "sched_setaffinity", [pid, 0, 0, 0, 0, 0]), refused);
    }
    // The CPU clock of PID 1, and of a thread of another process by its number.
    for clock in [!1 << 3 | 2, !1 << 3 | 6] {
        assert_eq!(answer(&profile, "clock_nanosleep", [clock, 0, 0, 0, 0, 0]), refused);
        assert_eq!(answer(&profile, "timer_create", [clock, 0, 0, 0, 0, 0]), refused);
    }
    assert_eq!(answer(&profile, "setpriority", [0, 0, 19, 0, 0, 0]), Answer::Allow);
    // One process; one's own group; all of one's own user.
    for [which, who] in [[0, 1], [1, 0], [2, 0], [0, 1 << 32 | 1]] {
        assert_eq!(answer(&profile, "setpriority", [which, who, 19, 0, 0, 0]), refused);
    }
}

#[test]
fn threads_share_their_descriptors() {
    let profile = Profile::embedded().unwrap();
    const FILES: u64 = 0x400;
    const SIGHAND: u64 = 0x800;
    const VM: u64 = 0x100;
    const THREAD: u64 = 0x10000;
    let clone = |flags| answer(&profile, "clone", [flags, 0, 0, 0, 0, 0]);
    for flags in [17, FILES | 17, VM | 0x4000 | 17, VM | SIGHAND | THREAD | FILES] {
        assert_eq!(clone(flags), Answer::Allow, "{flags:x}");
    }
    assert_eq!(clone(VM | SIGHAND | THREAD), Answer::Errno(1));
    let close = |flags| answer(&profile, "close_range", [3, u64::MAX, flags, 0, 0, 0]);
    for (flags, wanted) in [(0, Answer::Allow), (4, Answer::Allow)] {
        assert_eq!(close(flags), wanted);
        assert_eq!(close(flags | 2), Answer::Errno(1));
    }
}

/// Whether no argument meets both.
fn exclude(a: &Condition, b: &Condition) -> bool {
    let bits = |c: &Condition| match c.comparison {
        Comparison::Equal => Some((u64::MAX, c.value)),
        Comparison::MaskedEqual => Some((c.value, c.value_two)),
        _ => None,
    };
    match (bits(a), bits(b)) {
        _ if a.index != b.index => false,
        (Some((mask_a, bits_a)), Some((mask_b, bits_b))) => {
            (bits_a ^ bits_b) & mask_a & mask_b != 0
        }
        (Some((u64::MAX, value)), None) => !b.holds(&[value; 6]),
        (None, Some((u64::MAX, value))) => !a.holds(&[value; 6]),
        _ => false,
    }
}

#[test]
fn one_system_call_has_no_two_rules_that_disagree() {
    let profile = Profile::embedded().unwrap();
    for (number, rules) in profile.rules(Architecture::X86_64) {
        for (place, rule) in rules.iter().enumerate() {
            for other in rules[..place].iter().filter(|other| other.answer != rule.answer) {
                let pairs = |a: &Condition| other.conditions.iter().any(|b| exclude(a, b));
                assert!(rule.conditions.iter().any(pairs), "{number}: {rule:?} {other:?}");
            }
        }
    }
}
