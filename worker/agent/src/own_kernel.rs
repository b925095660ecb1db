//! The container's own kernel as a witness, where no control group can be read: gVisor's knows
//! nothing but this container, so that what it says of all memory and all processes is said of
//! the program. On a shared kernel the same files would tell of the host.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    counters::Reading,
    message::{Bounds, Cause},
};

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
        (threads() > bounds.processes).then_some(Cause::Processes)
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

/// Processes and threads but for the agent's own, by what /proc shows.
fn threads() -> u64 {
    let count = |directory: &Path| fs::read_dir(directory).into_iter().flatten().count();
    let is_program = |name: &str| name.parse().is_ok_and(|pid: u32| pid > 1);
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_program))
        .map(|entry| count(&entry.path().join("task")) as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_use_is_what_is_not_free() {
        assert_eq!(memory_in_use("MemTotal:  100 kB\nMemFree:  40 kB\n"), Some(60 * 1024));
        assert_eq!(memory_in_use("MemTotal: lots\n"), None);
    }
}
