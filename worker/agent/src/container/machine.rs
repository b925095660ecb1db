//! The machine that a native program sees: files in place of the kernel's, whose counters are the host's. What
//! they say follows from the job's limits, and from the processor's own identification, which any program reads
//! by an instruction.

use std::{
    fs::{self, File, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{OpenTreeFlags, open_tree},
    time::{ClockId, clock_gettime},
};

/// Where a slot's tree has the files that cover those of /proc, under the same names.
pub(super) const DIRECTORY: &str = "/var/lib/proc";
/// A file below it that can't be opened, and a directory without entries: they cover everything else in /proc.
pub(super) const NO_FILE: &str = "none";
pub(super) const NO_DIRECTORY: &str = "nothing";

/// What is shown in /proc. Everything else there is covered.
pub(super) const SHOWN: [&str; 6] = ["cpuinfo", "loadavg", "meminfo", "stat", "uptime", "version"];

/// The processors that a program may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    pub(crate) count: u32,
    /// CPU time that all of them give in 100 ms, in microseconds.
    pub(crate) quota_us: u64,
}

/// Files that say something else for each container of a slot or for each job.
pub(crate) struct VariableFiles {
    pub(crate) stat: OwnedFd,
    pub(crate) uptime: OwnedFd,
    pub(crate) meminfo: OwnedFd,
    pub(crate) memory_max: OwnedFd,
    pub(crate) pids_max: OwnedFd,
}

/// Writes all files below `root`.
///
/// # Errors
/// Those of the file system.
pub(super) fn write(root: &Path, processors: Processors) -> io::Result<VariableFiles> {
    let proc = root.join(&DIRECTORY[1..]);
    fs::create_dir_all(proc.join(NO_DIRECTORY))?;
    File::options().write(true).create_new(true).mode(0o000).open(proc.join(NO_FILE))?;
    let host = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = processors.count.max(1);
    for (name, text) in [
        ("cpuinfo", cpuinfo(&host, count)),
        ("loadavg", "0.00 0.00 0.00 1/1 1\n".to_owned()),
        ("version", version()),
        ("stat", stat(count, 0)),
        ("uptime", uptime(0)),
        ("meminfo", meminfo(0)),
    ] {
        file(&proc.join(name), &text)?;
    }
    write_processors(&root.join("sys/devices/system/cpu"), count)?;
    let cgroup = root.join("sys/fs/cgroup");
    fs::create_dir_all(&cgroup)?;
    let quota = format!("{} 100000\n", processors.quota_us);
    for (name, text) in [
        ("cgroup.controllers", "cpu memory pids\n"),
        ("cpu.max", quota.as_str()),
        ("memory.max", "max\n"),
        ("memory.swap.max", "0\n"),
        ("pids.max", "max\n"),
    ] {
        file(&cgroup.join(name), text)?;
    }
    let (proc, cgroup) = (writable(&proc)?, writable(&cgroup)?);
    let open = |directory: &OwnedFd, name: &str| {
        openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
    };
    Ok(VariableFiles {
        stat: open(&proc, "stat")?,
        uptime: open(&proc, "uptime")?,
        meminfo: open(&proc, "meminfo")?,
        memory_max: open(&cgroup, "memory.max")?,
        pids_max: open(&cgroup, "pids.max")?,
    })
}

/// A directory through a mount of its own, which is attached nowhere: files opened in it stay writable when
/// the mounts that programs see become read-only.
fn writable(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, directory, flags)
}

fn file(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    // Whatever the umask.
    fs::set_permissions(path, Permissions::from_mode(0o444))
}

fn write_processors(directory: &Path, count: u32) -> io::Result<()> {
    let range = range(count);
    fs::create_dir_all(directory)?;
    for name in ["online", "possible", "present"] {
        file(&directory.join(name), &range)?;
    }
    file(&directory.join("offline"), "\n")?;
    file(&directory.join("kernel_max"), &format!("{}\n", count - 1))?;
    for number in 0..count {
        let topology = directory.join(format!("cpu{number}/topology"));
        fs::create_dir_all(&topology)?;
        for (name, text) in [
            ("core_id", format!("{number}\n")),
            ("physical_package_id", "0\n".into()),
            ("thread_siblings", mask(number..number + 1)),
            ("thread_siblings_list", format!("{number}\n")),
            ("core_siblings", mask(0..count)),
            ("core_siblings_list", range.clone()),
        ] {
            file(&topology.join(name), &text)?;
        }
    }
    Ok(())
}

fn range(count: u32) -> String {
    match count {
        1 => "0\n".into(),
        _ => format!("0-{}\n", count - 1),
    }
}

/// A set of processors as the kernel writes it: words of 32 bits, the highest first.
fn mask(processors: std::ops::Range<u32>) -> String {
    let mut words = vec![0u32; processors.end.div_ceil(32) as usize];
    for number in processors {
        words[number as usize / 32] |= 1 << (number % 32);
    }
    let words: Vec<String> = words.iter().rev().map(|word| format!("{word:08x}")).collect();
    words.join(",") + "\n"
}

/// Of the host's first processor what the instruction set itself tells, once for each processor.
fn cpuinfo(host: &str, count: u32) -> String {
    const TOLD: [&str; 17] = [
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "flags",
        "clflush size",
        "cache_alignment",
        "address sizes",
        "Features",
        "CPU implementer",
        "CPU architecture",
        "CPU variant",
        "CPU part",
        "CPU revision",
        "fpu",
        "fpu_exception",
    ];
    let first = host.split("\n\n").next().unwrap_or_default();
    let told = |line: &&str| TOLD.contains(&line.split(':').next().unwrap_or_default().trim());
    let lines: Vec<&str> = first.lines().filter(told).collect();
    let one = |number: u32| {
        format!(
            "processor\t: {number}\n{}\ncpu MHz\t\t: 1000.000\nphysical id\t: 0\nsiblings\t: {count}\n\
             core id\t\t: {number}\ncpu cores\t: {count}\n\n",
            lines.join("\n")
        )
    };
    (0..count).map(one).collect()
}

fn version() -> String {
    let kernel = rustix::system::uname();
    let (release, version) =
        (kernel.release().to_string_lossy(), kernel.version().to_string_lossy());
    format!("Linux version {release} {version}\n")
}

/// No counter but the time of the boot, in seconds since 1970.
pub(crate) fn stat(processors: u32, boot: i64) -> String {
    let mut text = "cpu  0 0 0 0 0 0 0 0 0 0\n".to_owned();
    for number in 0..processors {
        text.push_str(&format!("cpu{number} 0 0 0 0 0 0 0 0 0 0\n"));
    }
    text + &format!("intr 0\nctxt 0\nbtime {boot}\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n")
}

/// Idle for as long as it is up, in hundredths of a second.
pub(crate) fn uptime(hundredths: u64) -> String {
    let (seconds, rest) = (hundredths / 100, hundredths % 100);
    format!("{seconds}.{rest:02} {seconds}.{rest:02}\n")
}

/// All of it is free, as the kernel counts in use what is the host's.
pub(crate) fn meminfo(bytes: u64) -> String {
    let all = bytes / 1024;
    let line = |(name, kib): (&str, u64)| format!("{:<16}{kib:>8} kB\n", format!("{name}:"));
    [
        ("MemTotal", all),
        ("MemFree", all),
        ("MemAvailable", all),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", 0),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", 0),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("SReclaimable", 0),
        ("SUnreclaim", 0),
    ]
    .map(line)
    .concat()
}

/// The time of the boot of a machine that is booted now.
pub(crate) fn boot_time() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_processors_are_written_as_the_kernel_does() {
        assert_eq!(range(1), "0\n");
        assert_eq!(range(4), "0-3\n");
        assert_eq!(mask(0..2), "00000003\n");
        assert_eq!(mask(33..34), "00000002,00000000\n");
    }

    #[test]
    fn cpuinfo_has_nothing_that_changes_or_that_no_instruction_tells() {
        let host = "processor\t: 0\nmodel name\t: Fast One\nmicrocode\t: 0x99\ncpu MHz\t\t: 2893.202\n\
                    apicid\t\t: 7\nflags\t\t: fpu vme\nbugs\t\t: many\nbogomips\t: 5786.40\n\nprocessor\t: 1\n";
        let shown = cpuinfo(host, 2);
        assert_eq!(shown.matches("processor\t:").count(), 2, "{shown}");
        assert_eq!(shown.matches("model name\t: Fast One\n").count(), 2);
        assert!(shown.contains("flags\t\t: fpu vme\n") && shown.contains("cpu cores\t: 2\n"));
        for hidden in ["0x99", "2893", "apicid", "bugs", "bogomips"] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
    }

    #[test]
    fn memory_and_uptime_are_the_jobs() {
        assert!(meminfo(256 << 20).starts_with("MemTotal:         262144 kB\nMemFree: "));
        assert_eq!(uptime(12_345), "123.45 123.45\n");
        assert!(stat(2, 77).contains("cpu1 0 0") && stat(2, 77).contains("\nbtime 77\n"));
    }
}
