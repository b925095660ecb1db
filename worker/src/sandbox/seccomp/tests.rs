use std::collections::BTreeSet;

use super::*;

const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

fn names(architecture: Architecture) -> Vec<&'static str> {
    match architecture {
        Architecture::X86_64 => syscalls::x86_64::Sysno::iter().map(|call| call.name()).collect(),
        Architecture::Aarch64 => syscalls::aarch64::Sysno::iter().map(|call| call.name()).collect(),
    }
}

/// The embedded profile with `from` made into `to`.
fn altered(from: &str, to: &str) -> Result<Profile, ProfileError> {
    assert!(EMBEDDED.contains(from), "nothing to alter: {from}");
    Profile::parse(&EMBEDDED.replacen(from, to, 1))
}

fn answer(profile: &Profile, name: &str, arguments: [u64; 6]) -> Answer {
    let rules = profile.rules(Architecture::X86_64);
    let rules = &rules[&Architecture::X86_64.number(name).unwrap()];
    let rule = rules.iter().find(|rule| rule.conditions.iter().all(|c| c.holds(&arguments)));
    rule.map_or(profile.default_answer(), |rule| rule.answer)
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
    assert_eq!(answer(&profile, "setpriority", [0, 0, 19, 0, 0, 0]), Answer::Allow);
    // One process; one's own group; all of one's own user.
    for [which, who] in [[0, 1], [1, 0], [2, 0], [0, 1 << 32 | 1]] {
        assert_eq!(answer(&profile, "setpriority", [which, who, 19, 0, 0, 0]), refused);
    }
}

#[test]
fn one_system_call_has_no_two_rules_that_disagree() {
    let profile = Profile::embedded().unwrap();
    for (number, rules) in profile.rules(Architecture::X86_64) {
        let mut values = BTreeSet::from([0, 1, u64::MAX]);
        for value in rules.iter().flat_map(|rule| &rule.conditions).map(|c| c.value) {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), value | 1 << 32]);
        }
        values.extend((0..64).map(|bit| 1 << bit));
        values.extend(0..256);
        // Rules that differ in their answer look at the first argument, the second or the last.
        for first in &values {
            for second in [0, 1, 2, 3, 5, *first] {
                let arguments = [*first, second, second, 0, 0, *first];
                let holds =
                    rules.iter().filter(|rule| rule.conditions.iter().all(|c| c.holds(&arguments)));
                let answers: BTreeSet<_> = holds.map(|rule| format!("{:?}", rule.answer)).collect();
                assert!(answers.len() < 2, "{number} {arguments:x?}: {answers:?}");
            }
        }
    }
}

#[test]
fn docker_is_sent_no_comment_and_no_rule_that_repeats_the_default() {
    let profile = Profile::embedded().unwrap();
    let sent: serde_json::Value =
        serde_json::from_str(&profile.docker_json(Isolation::Container)).unwrap();
    assert_eq!(sent["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(sent["archMap"][0]["architecture"], "SCMP_ARCH_X86_64");
    assert_eq!(sent["archMap"][0]["subArchitectures"], serde_json::json!([]));
    assert!(sent.get("comment").is_none() && sent.get("architectures").is_none());
    let groups = sent["syscalls"].as_array().unwrap();
    assert!(groups.len() > 40);
    for group in groups {
        assert!(group.get("comment").is_none());
        assert_ne!(group["errnoRet"], 1);
    }
    // Docker adds the rules of one call up, so none may be lost but those.
    let allowed = |groups: &[serde_json::Value]| {
        groups.iter().filter(|group| group["action"] == "SCMP_ACT_ALLOW").count()
    };
    let original: serde_json::Value = serde_json::from_str(EMBEDDED).unwrap();
    assert_eq!(allowed(groups), allowed(original["syscalls"].as_array().unwrap()));
}

#[test]
fn a_misspelt_name_is_refused() {
    let error = altered(r#""ptrace""#, r#""ptrase""#).unwrap_err();
    assert!(matches!(error, ProfileError::UnknownSyscall(name) if name == "ptrase"));
}

#[test]
fn a_misspelt_field_is_refused() {
    assert!(matches!(altered("errnoRet", "errnoRat"), Err(ProfileError::Format(_))));
    assert!(matches!(altered("valueTwo", "value_two"), Err(ProfileError::Format(_))));
}

#[test]
fn a_second_calling_convention_is_refused() {
    let x86 = r#""subArchitectures": ["SCMP_ARCH_X86"]"#;
    let error = altered(r#""subArchitectures": []"#, x86).unwrap_err();
    assert!(matches!(error, ProfileError::ForeignCallingConvention));
    let error = altered("SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64").unwrap_err();
    assert!(matches!(error, ProfileError::ForeignCallingConvention));
    assert!(matches!(altered("SCMP_ARCH_AARCH64", "SCMP_ARCH_X86"), Err(ProfileError::Format(_))));
}

#[test]
fn a_default_that_allows_is_refused() {
    let allow = r#""defaultAction": "SCMP_ACT_ALLOW""#;
    let error = altered(r#""defaultAction": "SCMP_ACT_ERRNO""#, allow).unwrap_err();
    assert!(matches!(error, ProfileError::DefaultAllows));
    let error = altered(r#""defaultErrnoRet": 1"#, r#""defaultErrnoRet": 0"#).unwrap_err();
    assert!(matches!(error, ProfileError::DefaultAllows));
}

#[test]
fn a_call_both_allowed_and_refused_is_refused() {
    let error = altered(r#""read","#, r#""read", "ptrace","#).unwrap_err();
    assert!(matches!(error, ProfileError::Contradiction(name) if name == "ptrace"));
    let error = altered(r#""read","#, r#""read", "socket","#).unwrap_err();
    assert!(matches!(error, ProfileError::Contradiction(name) if name == "socket"));
}

#[test]
fn a_group_that_backends_would_read_differently_is_refused() {
    let refused = |from, to| matches!(altered(from, to), Err(ProfileError::Group { .. }));
    assert!(refused(r#""errnoRet": 38"#, r#""errnoRet": 0"#));
    assert!(refused(r#""errnoRet": 38"#, r#""errnoRet": 5000"#));
    assert!(refused(r#", "errnoRet": 38"#, ""));
    assert!(refused(
        r#""index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 15"#,
        r#""index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 15"#
    ));
    assert!(refused(r#""index": 1"#, r#""index": 6"#));
    assert!(refused(r#""value": 15, "valueTwo": 1"#, r#""value": 14, "valueTwo": 1"#));
}

#[test]
fn gvisor_differs_in_nothing_but_clone3() {
    let groups = |isolation| {
        let profile = Profile::embedded().unwrap();
        let sent: serde_json::Value =
            serde_json::from_str(&profile.docker_json(isolation)).unwrap();
        sent["syscalls"].as_array().unwrap().clone()
    };
    let (linux, gvisor) = (groups(Isolation::Container), groups(Isolation::GVisor));
    let differ: Vec<_> = linux.iter().zip(&gvisor).filter(|(a, b)| a != b).collect();
    assert_eq!(linux.len(), gvisor.len());
    let [(before, after)] = differ[..] else { panic!("{differ:?}") };
    assert_eq!(before["names"], serde_json::json!(["clone3"]));
    assert_eq!(after, &serde_json::json!({"names": ["clone3"], "action": "SCMP_ACT_ALLOW"}));
}
