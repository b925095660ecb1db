//! The container's own counters: what all its processes used together.

use std::{
    cell::Cell,
    fs::File,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::fs::FileExt,
    path::Path,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// The files of one control group, open for reading. A counter that this host or runtime doesn't
/// offer is absent, and then nothing is said about it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    cpu: Option<File>,
    memory_peak: Option<File>,
    memory_used: Option<File>,
    memory_events: Option<File>,
    /// Version 1 only: the limit, and the peak of memory and swap together.
    memory_limit: Option<File>,
    swap_peak: Option<File>,
    process_events: Option<File>,
    sampled: Sampled,
}

/// The use of memory where nothing keeps its peak: what was seen when the counters were read.
#[derive(Debug, Default)]
struct Sampled {
    first: Cell<Option<u64>>,
    most: Cell<u64>,
}

/// What the kernel charges a group with at a time: 64 pages, the largest of common sizes.
pub const CHARGE_BYTES: u64 = 64 * 4096;

/// What the counters say at one moment.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) cpu_time_us: Option<u64>,
    pub(crate) memory_kills: Option<u64>,
    /// Version 2's count.
    pub(crate) memory_limit_hits: Option<u64>,
    /// Of version 1: whether the limit was reached since the peak was last started anew.
    pub(crate) was_at_memory_limit: Option<bool>,
    pub(crate) processes_refused: Option<u64>,
}

impl Counters {
    /// Takes over files that the worker opened: CPU time, peak memory, memory in
    /// use, memory events, limit of memory, peak of memory and swap, process events.
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Self {
        let mut files = descriptors.into_iter().map(File::from);
        Self {
            cpu: files.next(),
            memory_peak: files.next(),
            memory_used: files.next(),
            memory_events: files.next(),
            memory_limit: files.next(),
            swap_peak: files.next(),
            process_events: files.next(),
            sampled: Sampled::default(),
        }
    }

    /// Opens those that a container runtime mounts into the container, version 2 or 1.
    pub(crate) fn open_mounted() -> Self {
        let open = |names: &[&str]| {
            names.iter().find_map(|name| File::open(Path::new("/sys/fs/cgroup").join(name)).ok())
        };
        Self {
            cpu: open(&["cpu.stat", "cpuacct/cpuacct.usage", "cpu,cpuacct/cpuacct.usage"]),
            memory_peak: open(&["memory.peak", "memory/memory.max_usage_in_bytes"]),
            memory_used: open(&["memory.current", "memory/memory.usage_in_bytes"]),
            memory_events: open(&["memory.events", "memory/memory.oom_control"]),
            memory_limit: open(&["memory/memory.limit_in_bytes"]),
            swap_peak: open(&["memory/memory.memsw.max_usage_in_bytes"]),
            process_events: open(&["pids.events", "pids/pids.events"]),
            sampled: Sampled::default(),
        }
    }

    /// The descriptors behind the counters, in the order in which they are taken over.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        [
            &self.cpu,
            &self.memory_peak,
            &self.memory_used,
            &self.memory_events,
            &self.memory_limit,
            &self.swap_peak,
            &self.process_events,
        ]
        .into_iter()
        .flatten()
        .map(AsRawFd::as_raw_fd)
        .collect()
    }

    pub(crate) fn read(&self) -> Reading {
        self.sample();
        let events = read(&self.memory_events);
        let events = |name| events.as_deref().and_then(|text| field(text, name));
        Reading {
            cpu_time_us: self.cpu_time_us(),
            memory_kills: events("oom_kill"),
            memory_limit_hits: events("oom"),
            was_at_memory_limit: self.was_at_memory_limit(),
            processes_refused: read(&self.process_events).and_then(|text| field(&text, "max")),
        }
    }

    /// CPU time of all processes so far but this one: what PID 1 has to do, on a host that is short of
    /// memory for one, is not the program's.
    pub(crate) fn cpu_time_us(&self) -> Option<u64> {
        let all = read(&self.cpu).and_then(|text| cpu_time_us(&text))?;
        Some(all.saturating_sub(own_cpu_time_us()))
    }

    /// The highest use of memory so far, in bytes. Where the kernel keeps no peak of this job alone it
    /// is the most that was seen, and at least what `largest_process` bytes come to beside what was in
    /// use before.
    pub(crate) fn memory_peak_bytes(&self, largest_process: u64) -> Option<u64> {
        number(&self.memory_peak).or_else(|| {
            let at_least = self.sampled.first.get()?.saturating_add(largest_process);
            Some(self.sampled.most.get().max(at_least))
        })
    }

    /// Version 1 counts what its limits refused (`failcnt`), but newer kernels leave that at 0. At a kill
    /// because of the limit, less than the largest charge was left of it.
    fn was_at_memory_limit(&self) -> Option<bool> {
        let limit = number(&self.memory_limit)?;
        let peak = number(&self.memory_peak).max(number(&self.swap_peak))?;
        Some(peak.saturating_add(CHARGE_BYTES) >= limit)
    }

    fn sample(&self) {
        if number(&self.memory_peak).is_some() {
            return;
        }
        if let Some(used) = number(&self.memory_used) {
            let Sampled { first, most } = &self.sampled;
            first.set(first.get().or(Some(used)));
            most.set(most.get().max(used));
        }
    }
}

fn own_cpu_time_us() -> u64 {
    let own = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
    own.as_micros() as u64
}

fn number(file: &Option<File>) -> Option<u64> {
    read(file)?.trim().parse().ok()
}

fn read(file: &Option<File>) -> Option<String> {
    let mut buffer = [0; 1024];
    let length = file.as_ref()?.read_at(&mut buffer, 0).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Version 2 counts microseconds in a field, version 1 nanoseconds as the only number.
fn cpu_time_us(text: &str) -> Option<u64> {
    field(text, "usage_usec").or_else(|| text.trim().parse::<u64>().ok().map(|ns| ns / 1000))
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::protocol::launcher::COUNTER_FILES;

    #[test]
    fn both_cgroup_versions_are_understood() {
        assert_eq!(cpu_time_us("usage_usec 1500\nuser_usec 1000\n"), Some(1500));
        assert_eq!(cpu_time_us("1500000\n"), Some(1500));
        assert_eq!(cpu_time_us("garbage"), None);
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(v1, "oom_kill"), Some(3));
        assert_eq!(field("low 0\nmax 7\noom_kill 2\noom_group_kill 1\n", "oom_kill"), Some(2));
    }

    /// A control group that is a directory: files hold what a test puts into them.
    struct Group(tempfile::TempDir);

    impl Group {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("room"))
        }

        fn set(&self, file: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(file);
            fs::write(&path, text).expect("written");
            path
        }

        fn counters(&self, files: [&str; COUNTER_FILES]) -> Counters {
            let open = |name: &str| match self.0.path().join(name) {
                path if path.is_file() => File::open(path).expect("there").into(),
                _ => File::open("/dev/null").expect("there").into(),
            };
            Counters::from_descriptors(files.map(open).into())
        }
    }

    #[test]
    fn the_time_of_this_process_is_not_the_programs() {
        let group = Group::new();
        while own_cpu_time_us() < 100_000 {
            std::hint::black_box(0);
        }
        let path =
            group.set("cpu.stat", &format!("usage_usec {}\n", own_cpu_time_us() + 2_000_000));
        let counters = group.counters(["cpu.stat", "", "", "", "", "", ""]);
        let counted = counters.cpu_time_us().expect("it is there");
        assert!((1_900_000..=2_000_000).contains(&counted), "{counted}");
        fs::write(path, "usage_usec 10\n").expect("written");
        assert_eq!(counters.cpu_time_us(), Some(0), "counted a little apart");
    }

    #[test]
    fn what_the_groups_own_limit_did_is_told_from_what_the_host_did() {
        let group = Group::new();
        group.set("memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 3\noom_group_kill 0\n");
        let counters = group.counters(["", "", "", "memory.events", "", "", ""]);
        let reading = counters.read();
        assert_eq!((reading.memory_kills, reading.memory_limit_hits), (Some(3), Some(2)));

        group.set("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        group.set("limit", "33554432\n");
        let at_limit = |peak: u64, swap_peak: u64| {
            group.set("peak", &format!("{peak}\n"));
            group.set("swap_peak", &format!("{swap_peak}\n"));
            let v1 = ["", "peak", "", "memory.oom_control", "limit", "swap_peak", ""];
            let reading = group.counters(v1).read();
            assert_eq!((reading.memory_kills, reading.memory_limit_hits), (Some(1), None));
            reading.was_at_memory_limit
        };
        assert_eq!(at_limit(33_554_432, 33_554_432), Some(true));
        assert_eq!(at_limit(33_521_664, 0), Some(true), "eight pages less");
        assert_eq!(at_limit(16 << 20, 33_554_432), Some(true), "with swap");
        assert_eq!(at_limit(20 << 20, 20 << 20), Some(false), "the host's");
        let unknown = group.counters(["", "", "", "memory.oom_control", "", "", ""]);
        assert_eq!(unknown.read().was_at_memory_limit, None);
    }

    #[test]
    fn a_peak_that_the_kernel_does_not_keep_is_the_most_that_was_seen() {
        let group = Group::new();
        group.set("memory.current", "1000\n");
        let counters = group.counters(["", "", "memory.current", "", "", "", ""]);
        counters.read();
        assert_eq!(counters.memory_peak_bytes(0), Some(1000));
        group.set("memory.current", "50000\n");
        counters.read();
        group.set("memory.current", "2000\n");
        counters.read();
        assert_eq!(counters.memory_peak_bytes(10), Some(50_000));
        assert_eq!(counters.memory_peak_bytes(70_000), Some(71_000), "it was there before");

        group.set("memory.peak", "60000\n");
        let kept = group.counters(["", "memory.peak", "memory.current", "", "", "", ""]);
        kept.read();
        assert_eq!(kept.memory_peak_bytes(70_000), Some(60_000), "what the kernel keeps is right");
        let nothing = group.counters([""; COUNTER_FILES]);
        nothing.read();
        assert_eq!(nothing.memory_peak_bytes(70_000), None, "one process is not the job");
    }
}
