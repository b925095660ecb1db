//! Limits of the whole host that a sandbox can run into: what an error of the kernel's means, and how
//! near to them the host is.

use std::{fs, path::Path};

use rustix::io::Errno;

/// A limit of the host that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimit {
    /// What there is no more of.
    pub what: &'static str,
    /// What bounds it.
    pub bound: &'static str,
    /// What to do.
    pub fix: &'static str,
}

impl std::fmt::Display for HostLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this host has no {} left ({})", self.what, self.bound)
    }
}

/// What an operation needs of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A system call filter.
    Filter,
    /// Namespaces, or a user in one.
    Namespace,
    /// A process.
    Process,
    /// A mount.
    Mount,
    /// A control group.
    ControlGroup,
    /// Anything else.
    Other,
}

/// Of ENOTSUPP, which the kernel gives away though it is none of its documented errors.
const ENOTSUPP: Errno = Errno::from_raw_os_error(524);

const JIT: HostLimit = HostLimit {
    what: "memory for compiled filters",
    bound: "net.core.bpf_jit_limit",
    fix: "end what holds many filters (containers, socket filters), wait until the kernel has freed \
          them, or raise the sysctl",
};
const KERNEL_MEMORY: HostLimit = HostLimit {
    what: "memory for this in the kernel",
    bound: "the host's memory, or the memory limit of the worker's control group",
    fix: "run fewer jobs at a time (worker.slots), or raise the memory of the host or of the \
          worker's group",
};
const NAMESPACES: HostLimit = HostLimit {
    what: "namespaces for this user",
    bound: "the sysctls user.max_*_namespaces, or 32 user namespaces inside each other",
    fix: "raise them, or end containers that hold namespaces",
};
const PROCESSES: HostLimit = HostLimit {
    what: "processes",
    bound: "pids.max of a control group above the worker (TasksMax of its unit), kernel.threads-max, \
            kernel.pid_max, or ulimit -u",
    fix: "raise the one that is reached, or run fewer jobs at a time (worker.slots)",
};
const OPEN_FILES: HostLimit = HostLimit {
    what: "open files",
    bound: "the sysctl fs.file-max, of the whole host",
    fix: "raise it, or end what holds them (first number of /proc/sys/fs/file-nr)",
};
const OWN_FILES: HostLimit = HostLimit {
    what: "descriptors for the worker",
    bound: "ulimit -n (LimitNOFILE of its unit)",
    fix: "raise it, or run fewer jobs at a time (worker.slots)",
};
const MOUNTS: HostLimit = HostLimit {
    what: "mounts",
    bound: "the sysctl fs.mount-max, of each mount namespace",
    fix: "raise it, or unmount what nothing uses",
};
const GROUPS: HostLimit = HostLimit {
    what: "control groups",
    bound: "65,535 groups with memory on a host, and cgroup.max.descendants above the worker",
    fix: "remove groups that nothing uses, and those that were removed while their memory is held \
          (nr_dying_descendants in cgroup.stat)",
};

/// The limit that an operation has reached which needs `need` and failed with the error `number`.
pub fn reached(need: Need, number: i32) -> Option<HostLimit> {
    Some(match (need, Errno::from_raw_os_error(number)) {
        (_, Errno::NFILE) => OPEN_FILES,
        (_, Errno::MFILE) => OWN_FILES,
        (Need::Filter, ENOTSUPP) => JIT,
        (Need::Namespace, Errno::NOSPC | Errno::USERS) => NAMESPACES,
        (Need::Mount, Errno::NOSPC) => MOUNTS,
        (Need::ControlGroup, Errno::NOSPC | Errno::AGAIN) => GROUPS,
        (Need::Process | Need::Namespace, Errno::AGAIN) => PROCESSES,
        (_, Errno::NOMEM) => KERNEL_MEMORY,
        _ => return None,
    })
}

/// The number of the kernel's error that a sentence of the standard library's or of a barrier's ends
/// with or holds.
pub fn error_number(text: &str) -> Option<i32> {
    let (_, rest) = text.rsplit_once("(os error ")?;
    rest.split_once(')')?.0.parse().ok()
}

/// How much of a limit is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What is counted.
    pub what: &'static str,
    /// The sysctl.
    pub sysctl: &'static str,
    /// How much is used.
    pub used: u64,
    /// How much there may be.
    pub limit: u64,
}

impl Use {
    /// Whether more than four fifths are used.
    pub fn is_short(&self) -> bool {
        self.used > self.limit / 5 * 4
    }
}

/// What is used of the host-wide limits, as far as this process may know. `proc` is the host's /proc.
pub fn uses(proc: &Path) -> Vec<Use> {
    let text = |path: &str| fs::read_to_string(proc.join(path)).ok();
    let number = |path: &str| text(path)?.trim().parse::<u64>().ok();
    let tasks = || {
        let text = text("loadavg")?;
        text.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
    };
    let of = |what, sysctl, used: Option<u64>, limit: Option<u64>| {
        Some(Use { what, sysctl, used: used?, limit: limit? })
    };
    let jit = text("vmallocinfo").map(|text| jit_bytes(&text));
    [
        of(
            "compiled filters, in bytes",
            "net.core.bpf_jit_limit",
            jit,
            number("sys/net/core/bpf_jit_limit"),
        ),
        of("threads", "kernel.threads-max", tasks(), number("sys/kernel/threads-max")),
        of("threads", "kernel.pid_max", tasks(), number("sys/kernel/pid_max")),
        open_files(proc)
            .and_then(|(used, limit)| of("open files", "fs.file-max", Some(used), Some(limit))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How many files are open on the host, and how many there may be.
fn open_files(proc: &Path) -> Option<(u64, u64)> {
    let text = fs::read_to_string(proc.join("sys/fs/file-nr")).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (opened, free) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((opened.saturating_sub(free), numbers.next()?.ok()?))
}

/// How many files the host may have open, where less than `wanted` of that is left.
pub fn few_files(proc: &Path, wanted: u64) -> Option<u64> {
    let (used, limit) = open_files(proc)?;
    (limit.saturating_sub(used) < wanted).then_some(limit)
}

/// What /proc/vmallocinfo says of compiled filters: kernels name what they are held by differently. It
/// counts whole mappings, of which a part may be free.
fn jit_bytes(text: &str) -> u64 {
    const HOLDERS: [&str; 4] =
        ["bpf_jit_alloc_exec", "bpf_jit_binary_alloc", "bpf_prog_pack", "bpf_jit_binary_pack"];
    let is_jit = |line: &&str| HOLDERS.iter().any(|holder| line.contains(holder));
    let bytes = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    text.lines().filter(is_jit).filter_map(bytes).sum()
}

/// Namespaces that one user may have, by sysctl, where that is fewer than `wanted`.
pub fn few_namespaces(proc: &Path, wanted: u64) -> Vec<(String, u64)> {
    let entries = fs::read_dir(proc.join("sys/user")).into_iter().flatten().flatten();
    let mut few: Vec<(String, u64)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_one = name.starts_with("max_") && name.ends_with("_namespaces");
            let limit = fs::read_to_string(entry.path()).ok()?.trim().parse().ok()?;
            (is_one && limit < wanted).then(|| (format!("user.{name}"), limit))
        })
        .collect();
    few.sort();
    few
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_mean_a_limit_of_the_host_have_its_name_and_a_way_out() {
        let cases = [
            (Need::Filter, ENOTSUPP, "net.core.bpf_jit_limit"),
            (Need::Filter, Errno::NOMEM, "memory"),
            (Need::Namespace, Errno::NOSPC, "user.max_"),
            (Need::Namespace, Errno::USERS, "user.max_"),
            (Need::Process, Errno::AGAIN, "pids.max"),
            (Need::Namespace, Errno::AGAIN, "pids.max"),
            (Need::Other, Errno::NFILE, "fs.file-max"),
            (Need::Other, Errno::MFILE, "ulimit -n"),
            (Need::Mount, Errno::NOSPC, "fs.mount-max"),
            (Need::ControlGroup, Errno::NOSPC, "control groups"),
        ];
        for (need, number, name) in cases {
            let limit = reached(need, number.raw_os_error()).expect("it is one");
            let said = limit.to_string();
            assert!(said.contains(name) && !limit.fix.is_empty(), "{need:?} {number}: {said}");
        }
        assert_eq!(reached(Need::Filter, Errno::PERM.raw_os_error()), None);
        assert_eq!(reached(Need::Other, 524), None, "only of filters is that known");
    }

    #[test]
    fn the_number_is_read_from_the_sentence() {
        let jit = std::io::Error::from_raw_os_error(524).to_string();
        assert_eq!(error_number(&jit), Some(524), "{jit}");
        assert_eq!(
            error_number("setns: No space left on device (os error 28); to fix: x"),
            Some(28)
        );
        assert_eq!(error_number("no number"), None);
    }

    #[test]
    fn what_is_used_of_each_limit_is_read_and_what_is_short_shows() {
        let proc = tempfile::tempdir().expect("room");
        let set = |path: &str, text: &str| {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().expect("in a directory")).expect("room");
            fs::write(path, text).expect("room");
        };
        set(
            "vmallocinfo",
            "0x1-0x2    8192 bpf_jit_alloc_exec+0xe/0x20 pages=1\n0x3-0x4 2101248 bpf_prog_pack_alloc+0x1/0x2\n0x5-0x6 4096 bpf_prog_alloc_no_stats+0x39/0x230\n",
        );
        set("sys/net/core/bpf_jit_limit", "2200000\n");
        set("loadavg", "0.00 0.01 0.05 1/300 4242\n");
        set("sys/kernel/threads-max", "1000\n");
        set("sys/kernel/pid_max", "320\n");
        set("sys/fs/file-nr", "100\t10\t1000\n");
        let uses = uses(proc.path());
        let shown: Vec<_> = uses.iter().map(|it| (it.sysctl, it.used, it.is_short())).collect();
        assert_eq!(
            shown,
            [
                ("net.core.bpf_jit_limit", 2_109_440, true),
                ("kernel.threads-max", 300, false),
                ("kernel.pid_max", 300, true),
                ("fs.file-max", 90, false),
            ]
        );
        assert_eq!([few_files(proc.path(), 910), few_files(proc.path(), 911)], [None, Some(1000)]);
        set("sys/user/max_user_namespaces", "10\n");
        set("sys/user/max_net_namespaces", "1000\n");
        set("sys/user/max_inotify_watches", "1\n");
        let few = few_namespaces(proc.path(), 100);
        assert_eq!(few, [("user.max_user_namespaces".to_owned(), 10)]);
    }
}
