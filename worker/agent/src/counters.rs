//! The container's own counters: what all its processes used together.

use std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    os::unix::fs::FileExt,
    path::Path,
};

/// The files of one control group, open for reading. A counter that this host or runtime doesn't
/// offer is absent, and then nothing is said about it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    cpu: Option<File>,
    memory_peak: Option<File>,
    memory_events: Option<File>,
    process_events: Option<File>,
}

/// The order in which the native sandbox hands its descriptors over.
pub const COUNTER_FILES: usize = 4;

/// What the counters say at one moment.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) cpu_time_us: Option<u64>,
    pub(crate) memory_kills: Option<u64>,
    pub(crate) processes_refused: Option<u64>,
}

impl Counters {
    /// Takes the files over from whoever opened them outside: CPU time, peak memory, memory
    /// events, process events.
    pub(crate) fn from_descriptors(descriptors: Vec<OwnedFd>) -> Self {
        let mut files = descriptors.into_iter().map(File::from);
        Self {
            cpu: files.next(),
            memory_peak: files.next(),
            memory_events: files.next(),
            process_events: files.next(),
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
            memory_events: open(&["memory.events", "memory/memory.oom_control"]),
            process_events: open(&["pids.events", "pids/pids.events"]),
        }
    }

    /// The descriptors behind the counters.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        [&self.cpu, &self.memory_peak, &self.memory_events, &self.process_events]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect()
    }

    pub(crate) fn read(&self) -> Reading {
        Reading {
            cpu_time_us: self.cpu_time_us(),
            memory_kills: read(&self.memory_events).and_then(|text| field(&text, "oom_kill")),
            processes_refused: read(&self.process_events).and_then(|text| field(&text, "max")),
        }
    }

    /// CPU time of all processes so far, this one too.
    pub(crate) fn cpu_time_us(&self) -> Option<u64> {
        read(&self.cpu).and_then(|text| cpu_time_us(&text))
    }

    /// The highest use of memory so far, in bytes.
    pub(crate) fn memory_peak_bytes(&self) -> Option<u64> {
        read(&self.memory_peak)?.trim().parse().ok()
    }
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
    use super::*;

    #[test]
    fn both_cgroup_versions_are_understood() {
        assert_eq!(cpu_time_us("usage_usec 1500\nuser_usec 1000\n"), Some(1500));
        assert_eq!(cpu_time_us("1500000\n"), Some(1500));
        assert_eq!(cpu_time_us("garbage"), None);
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(v1, "oom_kill"), Some(3));
        assert_eq!(field("low 0\nmax 7\noom_kill 2\noom_group_kill 1\n", "oom_kill"), Some(2));
    }
}
