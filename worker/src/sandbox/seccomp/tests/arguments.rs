//! Calls whose arguments decide.

use super::*;

#[test]
fn a_socket_has_only_options_that_are_numbers_in_it() {
    let rules = Profile::embedded().unwrap().rules(Architecture::X86_64);
    // Level, then names: to set and read; to read only; neither.
    type Row<'a> = (u64, &'a [u64], &'a [u64], &'a [u64]);
    let rows: &[Row<'_>] = &[
        // Attached filters (26, 27, 36, 44, 50 to 52), buffers by force (32, 33), marks, devices, time
        // stamps (29, 35, 37, 63 to 65), zero copy, cookies, reserved memory, pacing, busy polling.
        (
            1,
            &[2, 6, 9, 10, 13, 15, 16, 20, 21],
            &[3, 4, 17, 18, 19, 30, 38, 39, 59],
            &[
                1, 5, 12, 14, 22, 23, 24, 25, 26, 27, 29, 31, 32, 33, 34, 35, 36, 37, 40, 41, 42,
                43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 60, 61, 62, 63, 64,
                65, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83,
            ],
        ),
        // Options of packets, memberships and sources of groups, routes, netfilter's tables.
        (
            0,
            &[1, 2, 8, 10, 12, 13, 24, 33, 34, 49],
            &[14],
            &[3, 4, 5, 6, 7, 9, 15, 16, 17, 18, 19, 20, 22, 25, 32, 35, 36, 37, 38, 39, 40, 41, 42],
        ),
        // Keys (14, 32, 38 to 43), protocols of the kernel (31), congestion (13), repair, fast open.
        (
            6,
            &[1, 3, 4, 5, 6, 7, 12, 18, 25],
            &[2, 11],
            &[
                8, 9, 10, 13, 14, 15, 16, 17, 19, 20, 21, 22, 23, 24, 26, 27, 28, 29, 30, 31, 32,
                33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45,
            ],
        ),
        (
            41,
            &[16, 18, 19, 23, 26, 29, 49, 51, 66, 67],
            &[24],
            &[
                1, 2, 6, 7, 8, 9, 17, 20, 21, 22, 27, 28, 32, 33, 34, 35, 42, 43, 44, 45, 46, 47,
                48, 50, 54, 57, 59, 61, 68, 72, 73, 74, 75, 76, 77, 78, 80,
            ],
        ),
        // UDP (cork, encapsulation, segments), UDP-Lite, TLS, MPTCP, SCTP, XDP, vsock.
        (17, &[], &[], &[1, 2, 10, 11, 100, 101, 102, 103, 104]),
        (136, &[], &[], &[10, 11]),
        (282, &[], &[], &[1, 2, 3]),
        (284, &[], &[], &[1, 2, 3]),
        (132, &[], &[], &[0, 1, 2]),
        (283, &[], &[], &[1, 2, 4]),
        (40, &[], &[], &[0, 1, 2]),
    ];
    // The kernel compares 32 bits.
    let odd = |number: u64| [number, number | 1 << 32, number | 0xdead << 40];
    for (level, both, read, neither) in rows {
        let asked = |call, name: &u64| {
            let answers: BTreeSet<Answer> = odd(*level)
                .into_iter()
                .flat_map(|level| odd(*name).map(|name| [9, level, name, 9, 9, 9]))
                .map(|arguments| answer_by(&rules, call, arguments))
                .collect();
            assert_eq!(answers.len(), 1, "{call} {level} {name}");
            answers.into_iter().next().unwrap()
        };
        for name in *both {
            assert_eq!(asked("setsockopt", name), Answer::Allow, "{level} {name}");
            assert_eq!(asked("getsockopt", name), Answer::Allow, "{level} {name}");
        }
        for name in *read {
            assert_eq!(asked("setsockopt", name), PERM, "{level} {name}");
            assert_eq!(asked("getsockopt", name), Answer::Allow, "{level} {name}");
        }
        for name in *neither {
            assert_eq!(asked("setsockopt", name), PERM, "{level} {name}");
            assert_eq!(asked("getsockopt", name), PERM, "{level} {name}");
        }
    }
    // Sizes of buffers, queues of errors.
    for (level, name) in [(1, 7), (1, 8), (0, 11), (41, 25)] {
        assert_eq!(answer_by(&rules, "setsockopt", [9, level, name, 0, 0, 0]), Answer::Succeed);
        assert_eq!(answer_by(&rules, "getsockopt", [9, level, name, 0, 0, 0]), Answer::Allow);
    }
}

#[test]
fn a_call_with_many_commands_has_a_list_of_them() {
    let rules = Profile::embedded().unwrap().rules(Architecture::X86_64);
    // The call, the argument that is the command, allowed ones, and ones with another answer.
    type Row<'a> = (&'a str, usize, &'a [u64], &'a [(u64, Answer)]);
    let rows: &[Row<'_>] = &[
        (
            "prctl",
            0,
            &[
                1,
                2,
                3,
                4,
                15,
                16,
                21,
                23,
                27,
                29,
                30,
                36,
                37,
                38,
                39,
                40,
                41,
                42,
                50,
                51,
                1_096_112_214,
            ],
            // Filters, names of mappings; keeping capabilities, time stamps, memory checks, the ambient
            // set, speculation, system calls sent elsewhere, core scheduling, merging, a tracer's list.
            &[
                (22, Answer::Errno(22)),
                (0x5356_4d41, Answer::Errno(22)),
                (8, PERM),
                (24, PERM),
                (26, PERM),
                (28, PERM),
                (33, PERM),
                (35, PERM),
                (47, PERM),
                (53, PERM),
                (57, PERM),
                (59, PERM),
                (62, PERM),
                (67, PERM),
                (78, PERM),
                (0x5961_6d61, PERM),
            ],
        ),
        (
            "fcntl",
            1,
            &[0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 1027, 1030, 1032, 1033, 1034],
            // Owners and signals, leases, notices, sizes of pipes, hints, delegations; locks of open files.
            &[
                (8, PERM),
                (10, PERM),
                (15, PERM),
                (16, PERM),
                (1024, PERM),
                (1025, PERM),
                (1026, PERM),
                (1031, PERM),
                (1035, PERM),
                (1036, PERM),
                (1037, PERM),
                (1038, PERM),
                (1039, PERM),
                (1040, PERM),
                (36, Answer::Errno(22)),
                (37, Answer::Errno(22)),
                (38, Answer::Errno(22)),
            ],
        ),
        (
            "ioctl",
            1,
            &[
                2,
                0x5401,
                0x540f,
                0x5413,
                0x541b,
                0x5421,
                0x5450,
                0x5451,
                0x8912,
                0x8933,
                0x8004_5430,
            ],
            &[0x5412, 0x541c, 0x5423, 0x5452, 0x8901, 0x8902, 0x8914, 0x8946, 0x894c, 0x4008_6602]
                .map(|command| (command, PERM)),
        ),
        (
            "madvise",
            2,
            &[0, 4, 8, 14, 15, 18, 23, 25, 102],
            &[12, 100, 101].map(|advice| (advice, PERM)),
        ),
        ("membarrier", 0, &[0, 8, 16, 32, 64, 128, 256], &[1, 2, 4].map(|command| (command, PERM))),
        // An alarm that wakes the machine; the CPU clock of PID 1.
        (
            "timer_create",
            0,
            &[0, 1, 2, 3, 7, 0xffff_fffa],
            &[8, 9, 0xffff_fff2].map(|clock| (clock, PERM)),
        ),
        (
            "arch_prctl",
            0,
            &[0x1002, 0x1003, 0x3001, 0x1023],
            &[0x1012, 0x2001, 0x4002].map(|c| (c, PERM)),
        ),
        ("shmctl", 1, &[0, 1, 2, 13, 14], &[11, 12].map(|command| (command, PERM))),
        ("shmget", 2, &[0o1600, 0o3600], &[(0x800, PERM), (0x0c00_0800, PERM)]),
        (
            "mmap",
            3,
            &[0x22, 0x4022, 0x2_0022],
            &[0x4_0022, 0x0c04_0022].map(|f| (f, Answer::Errno(12))),
        ),
        ("memfd_create", 1, &[0, 1, 3, 8, 16], &[(4, Answer::Errno(22)), (0x20, PERM)]),
        ("fadvise64", 3, &[0, 1, 2, 3, 5], &[(4, Answer::Succeed), (6, PERM)]),
        ("clock_nanosleep", 0, &[0, 1, 2, 7, 11], &[(8, PERM), (0xffff_fff2, PERM)]),
        // Out of band, more to come, fast open, zero copy.
        (
            "sendto",
            3,
            &[0, 0x4000, 0x4040, 0x80, 4],
            &[(1, PERM), (0x8000, Answer::Errno(95)), (0x2000_0000, PERM), (0x400_0000, PERM)],
        ),
        ("sendmsg", 2, &[0, 0x4040], &[(1, PERM), (0x8040, Answer::Errno(95)), (0x400_0000, PERM)]),
        (
            "sendmmsg",
            3,
            &[0, 0x4040],
            &[(1, PERM), (0x8040, Answer::Errno(95)), (0x400_0000, PERM)],
        ),
    ];
    let asked = |call, index: usize, value: u64| {
        let mut arguments = [0; 6];
        arguments[index] = value;
        let plain = answer_by(&rules, call, arguments);
        arguments[index] |= 1 << 40;
        assert_eq!(answer_by(&rules, call, arguments), plain, "{call} {value:#x}: 32 bits count");
        plain
    };
    for (call, index, allowed, others) in rows {
        for value in *allowed {
            assert_eq!(asked(call, *index, *value), Answer::Allow, "{call} {value:#x}");
        }
        for (value, wanted) in *others {
            assert_eq!(asked(call, *index, *value), *wanted, "{call} {value:#x}");
        }
    }
    // A warm start sets its command line; nothing else of PR_SET_MM.
    assert_eq!(answer_by(&rules, "prctl", [35, 14, 0, 0, 0, 0]), Answer::Allow);
    for call in ["setxattr", "lsetxattr", "fsetxattr", "setxattrat"] {
        assert_eq!(answer_by(&rules, call, [0; 6]), Answer::Errno(95), "{call}");
    }
}
