//! The control group of one slot: its limits and its counters.

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use sandfleet_agent::init::counters::CHARGE_BYTES;
use sandfleet_common::Limits;

use super::{Hierarchy, WorkerCgroup, missing, write};
use crate::sandbox::{SandboxError, policy::Policy};

const PERIOD_US: u64 = 100_000;
/// Version 1: the limit, and the peak of memory and swap together, which has the same limit.
const LIMIT: &str = "memory.limit_in_bytes";
const PEAK: &str = "memory.max_usage_in_bytes";
const SWAP_PEAK: &str = "memory.memsw.max_usage_in_bytes";
/// The launcher and the agent share the program's group.
const OVERHEAD_PROCESSES: u64 = 2;

/// What happened in a group for want of memory, ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemoryEvents {
    /// Processes that were killed, because of the group's limit or the host's.
    pub(crate) kills: u64,
    /// How often the group's own limit was reached; on version 1, whether it was since the last
    /// [`apply`](SlotCgroup::apply).
    pub(crate) limit_hits: u64,
}

/// A peak that can't be started anew. It tells a job's only where that is higher than all before it.
#[derive(Debug)]
struct LastingPeak {
    file: PathBuf,
    seen: u64,
}

/// The control group of one slot.
#[derive(Debug)]
pub(crate) struct SlotCgroup {
    version: u32,
    memory: PathBuf,
    pids: PathBuf,
    cpu: PathBuf,
    cpuacct: PathBuf,
    /// Open for writing too: version 2 resets the peak for the very descriptor that asks.
    peak: File,
    /// Version 2 before Linux 6.12: the highest use of memory in all of the group's life.
    lasting_peak: Option<LastingPeak>,
    applied: Option<(u64, u64)>,
    /// What a launcher holds that is a copy of an interpreter.
    launcher_bytes: u64,
}

impl SlotCgroup {
    /// Makes the group of slot number `slot`, for programs that may use `cpus` processors.
    pub(crate) fn make(
        worker_cgroup: &WorkerCgroup,
        slot: usize,
        cpus: f64,
    ) -> Result<Self, SandboxError> {
        let below = |place: &Path| place.join(&worker_cgroup.name).join(format!("slot-{slot}"));
        for place in worker_cgroup.hierarchy.places() {
            match fs::create_dir(below(place)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(missing(format!("{}: {error}", below(place).display())));
                }
                _ => {}
            }
        }
        let version = worker_cgroup.hierarchy.version();
        let [memory, pids, cpu, cpuacct] = match &worker_cgroup.hierarchy {
            Hierarchy::Unified(place) => std::array::from_fn(|_| below(place)),
            Hierarchy::PerController(places) => std::array::from_fn(|i| below(&places[i])),
        };
        let quota = ((cpus * PERIOD_US as f64) as u64).max(1000);
        let limit_cpu = || match version {
            2 => write(&cpu, "cpu.max", &format!("{quota} {PERIOD_US}")),
            _ => write(&cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())
                .and_then(|()| write(&cpu, "cpu.cfs_quota_us", &quota.to_string())),
        };
        limit_cpu().map_err(|error| missing(error.to_string()))?;
        let (peak, lasting_peak) =
            open_peak(&memory, version).map_err(|error| missing(error.to_string()))?;
        Ok(Self {
            version,
            memory,
            pids,
            cpu,
            cpuacct,
            peak,
            lasting_peak,
            applied: None,
            launcher_bytes: 0,
        })
    }

    /// Its directories, one in each hierarchy; it doesn't remove them itself.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.memory.clone()];
        if self.version == 1 {
            directories.extend([&self.pids, &self.cpu, &self.cpuacct].map(PathBuf::clone));
        }
        directories
    }

    /// Puts the launcher in.
    pub(crate) fn add(&self, process: u32) -> Result<(), SandboxError> {
        for group in self.directories() {
            write(&group, "cgroup.procs", &process.to_string())
                .map_err(|error| missing(error.to_string()))?;
        }
        Ok(())
    }

    /// Sets the next job's limits and starts its peak from here; gives back the memory in use
    /// now, which isn't the job's.
    pub(crate) fn apply(&mut self, limits: &Limits, policy: &Policy) -> Result<u64, SandboxError> {
        let overhead = policy.overhead_bytes.saturating_add(self.launcher_bytes);
        let memory = limits.memory_bytes.saturating_add(overhead);
        let processes = limits.processes.saturating_add(OVERHEAD_PROCESSES);
        if self.applied != Some((memory, processes)) {
            self.set_limits(memory, processes, policy.swap)
                .map_err(|error| SandboxError::failed("setting a container's limits", error))?;
            self.applied = Some((memory, processes));
        }
        match &mut self.lasting_peak {
            Some(peak) => peak.seen = number(&peak.file),
            None => (&self.peak)
                .write_all(reset_word(self.version).as_bytes())
                .and_then(|()| self.forget_swap_peak())
                .map_err(|error| SandboxError::failed("starting a container's peak anew", error))?,
        }
        Ok(self.memory_used())
    }

    fn forget_swap_peak(&self) -> io::Result<()> {
        let path = self.memory.join(SWAP_PEAK);
        match File::options().write(true).open(path) {
            Ok(mut peak) => peak.write_all(reset_word(1).as_bytes()),
            // Of version 2 there is none, nor where version 1 doesn't count swap.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The highest use of memory since the last [`apply`](Self::apply), where this kernel's peak can't
    /// be started anew and tells it all the same.
    pub(crate) fn risen_peak(&self) -> Option<u64> {
        let LastingPeak { file, seen } = self.lasting_peak.as_ref()?;
        Some(number(file)).filter(|now| now > seen)
    }

    /// All memory in use, with what the kernel keeps for the group and may take back.
    pub(crate) fn memory_used(&self) -> u64 {
        let usage = if self.version == 2 { "memory.current" } else { "memory.usage_in_bytes" };
        number(&self.memory.join(usage))
    }

    fn set_limits(&self, memory: u64, processes: u64, swap: bool) -> io::Result<()> {
        write(&self.pids, "pids.max", &processes.to_string())?;
        if self.version == 2 {
            write(&self.memory, "memory.max", &memory.to_string())?;
            write(&self.memory, "memory.oom.group", "0")?;
            if swap {
                return Ok(());
            }
            return match self.memory.join("memory.swap.max").exists() {
                true => write(&self.memory, "memory.swap.max", "0"),
                false => refuse_uncounted_swap(),
            };
        }
        let (plain, with_swap) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        let counts_swap = self.memory.join(with_swap).exists();
        // Memory alone may never be above memory and swap together, on the way neither.
        let shrinks = self.applied.is_some_and(|(before, _)| memory < before);
        if shrinks {
            write(&self.memory, plain, &memory.to_string())?;
        }
        if counts_swap && !swap {
            let widen = self.applied.is_none();
            if widen {
                write(&self.memory, plain, &memory.to_string())?;
            }
            write(&self.memory, with_swap, &memory.to_string())?;
        } else if !swap {
            refuse_uncounted_swap()?;
        }
        write(&self.memory, plain, &memory.to_string())
    }

    /// The descriptors that the agent counts by, in the order that it expects.
    pub(crate) fn counters(&self) -> io::Result<Vec<OwnedFd>> {
        let (cpu, used, events) = match self.version {
            2 => ("cpu.stat", "memory.current", "memory.events"),
            _ => ("cpuacct.usage", "memory.usage_in_bytes", "memory.oom_control"),
        };
        let [limit, swap_peak] =
            [LIMIT, SWAP_PEAK].map(|name| match File::open(self.memory.join(name)) {
                // Version 2 has neither, and version 1 not the second where it doesn't count swap.
                Err(error) if error.kind() == io::ErrorKind::NotFound => File::open("/dev/null"),
                opened => opened,
            });
        Ok(vec![
            File::open(self.cpuacct.join(cpu))?.into(),
            self.peak.as_fd().try_clone_to_owned()?,
            File::open(self.memory.join(used))?.into(),
            File::open(self.memory.join(events))?.into(),
            limit?.into(),
            swap_peak?.into(),
            File::open(self.pids.join("pids.events"))?.into(),
        ])
    }

    /// What happened here for want of memory, ever.
    pub(crate) fn memory_events(&self) -> MemoryEvents {
        let file = if self.version == 2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.memory.join(file)).unwrap_or_default();
        let field = |name: &str| {
            let value =
                |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
            text.lines().find_map(value).unwrap_or(0)
        };
        let limit_hits = match self.version {
            2 => field("oom"),
            // At a kill because of the limit, less than the largest charge was left of it.
            _ => {
                let peak = [PEAK, SWAP_PEAK].map(|name| number(&self.memory.join(name)));
                let highest = peak[0].max(peak[1]).saturating_add(CHARGE_BYTES);
                u64::from(highest >= number(&self.memory.join(LIMIT)))
            }
        };
        MemoryEvents { kills: field("oom_kill"), limit_hits }
    }

    /// Memory that can't be taken back by just dropping it: of processes and of files in memory.
    pub(crate) fn memory_held(&self) -> u64 {
        let text = fs::read_to_string(self.memory.join("memory.stat")).unwrap_or_default();
        let own = if self.version == 2 { "anon " } else { "rss " };
        text.lines()
            .filter_map(|line| line.strip_prefix(own).or_else(|| line.strip_prefix("shmem ")))
            .filter_map(|number| number.trim().parse::<u64>().ok())
            .sum()
    }

    /// Takes what is held now for the launcher's own: it isn't part of any job.
    pub(crate) fn settle(&mut self) {
        self.launcher_bytes = self.memory_held();
    }

    /// What the launcher holds.
    pub(crate) fn launcher_bytes(&self) -> u64 {
        self.launcher_bytes
    }

    /// The processes in the group: between jobs only the launcher may be there.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.pids.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// The peak to be started anew for each job; where this kernel can't do that, nothing, and the peak of
/// the group's whole life, if there is one.
fn open_peak(memory: &Path, version: u32) -> io::Result<(File, Option<LastingPeak>)> {
    let name = if version == 2 { "memory.peak" } else { PEAK };
    let path = memory.join(name);
    let open = || {
        let mut peak = File::options().read(true).write(true).open(&path)?;
        peak.write_all(reset_word(version).as_bytes()).map(|()| peak)
    };
    match open() {
        Ok(peak) => Ok((peak, None)),
        Err(_) => Ok((File::open("/dev/null")?, Some(LastingPeak { file: path, seen: 0 }))),
    }
}

/// What is written to a peak to start it anew.
fn reset_word(version: u32) -> &'static str {
    if version == 2 { "reset" } else { "0" }
}

/// Swap that no group counts would be memory beyond every limit.
fn refuse_uncounted_swap() -> io::Result<()> {
    match fs::read_to_string("/proc/swaps")?.lines().count() {
        // The first line is the table's head.
        0 | 1 => Ok(()),
        _ => Err(io::Error::other(
            "this host has swap, and its kernel doesn't count swap per group (boot with \
             swapaccount=1, or swapoff -a)",
        )),
    }
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}
