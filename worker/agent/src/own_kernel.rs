//! The container's own kernel as a witness, where no control group can be read: gVisor's knows
//! nothing but this container, so that what it says of all memory and all processes is said of
//! the program. On a shared kernel the same files would tell of the host.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use crate::{
    counters::Reading,
    message::{Bounds, Cause},
    system,
};

/// A clock tick of /proc, in microseconds: 100 a second, everywhere.
const TICK_US: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct OwnKernel {
    memory: File,
}

impl OwnKernel {
    /// The witness, if there is one and it is needed.
    pub(crate) fn to_ask(bounds: &Bounds, counted: &Reading) -> Option<Self> {
        if !bounds.own_kernel || counted.memory_kills.is_some() {
            return None;
        }
        Some(Self { memory: File::open("/proc/meminfo").ok()? })
    }

    /// Which bound the program is beyond now. Such a kernel refuses neither memory nor processes
    /// on its own, so it is ended.
    pub(crate) fn exceeded(&self, bounds: &Bounds) -> Option<Cause> {
        if self.memory_in_use()? > bounds.memory_bytes {
            return Some(Cause::Memory);
        }
        if threads() > bounds.processes {
            return Some(Cause::Processes);
        }
        (cpu_time_us() >= bounds.cpu_time_ms.saturating_mul(1000)).then_some(Cause::CpuTime)
    }

    fn memory_in_use(&self) -> Option<u64> {
        let mut buffer = [0; 1024];
        let length = self.memory.read_at(&mut buffer, 0).ok()?;
        memory_in_use(std::str::from_utf8(&buffer[..length]).ok()?)
    }
}

/// What `/proc/meminfo` says is not free, in bytes.
fn memory_in_use(text: &str) -> Option<u64> {
    let kibibytes = |name| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some(kibibytes("MemTotal")?.saturating_sub(kibibytes("MemFree")?) * 1024)
}

/// Directories of /proc that are processes, but for the agent.
fn programs() -> impl Iterator<Item = PathBuf> {
    let is_program = |name: &str| name.parse().is_ok_and(|pid: u32| pid > 1);
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(move |entry| entry.file_name().to_str().is_some_and(is_program))
        .map(|entry| entry.path())
}

/// CPU time of all processes, those that have ended too, in microseconds.
fn cpu_time_us() -> u64 {
    let living =
        programs().filter_map(|directory| ticks(&fs::read_to_string(directory.join("stat")).ok()?));
    living.sum::<u64>() * TICK_US + system::children_cpu_time_us()
}

/// What a line of `/proc/PID/stat` says of the CPU time of a process and of its children that
/// have ended, in clock ticks.
fn ticks(line: &str) -> Option<u64> {
    // The second field is a name and may contain anything; times are the 14th to the 17th.
    let fields = line.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    let times: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    (times.len() == 4).then(|| times.iter().sum())
}

/// Processes and threads but for the agent's own, by what /proc shows.
fn threads() -> u64 {
    let count = |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().count() as u64;
    programs().map(|directory| count(directory.join("task"))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_free() {
        assert_eq!(memory_in_use("MemTotal:  100 kB\nMemFree:  40 kB\n"), Some(60 * 1024));
        assert_eq!(memory_in_use("MemTotal: lots\n"), None);
    }

    #[test]
    fn a_name_can_not_forge_the_times() {
        let line = "7 (a) 1 2 (b) R 1 7 7 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 9";
        assert_eq!(ticks(line), Some(37));
        assert_eq!(ticks("7 (a) R 1"), None);
    }
}
