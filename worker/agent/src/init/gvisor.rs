//! Limits under gVisor, where no control group can be read: its kernel serves only this container, so its totals
//! of memory and processes are the program's. On a shared kernel the same files would tell of the host.

use std::{fs, path::Path, time::Duration};

use rustix::system::{Sysinfo, sysinfo};

use super::{counters::Reading, mappings::processes};
use crate::{
    protocol::message::{Cause, ProcessLimits},
    sys,
};

/// A clock tick of /proc, in microseconds: 100 a second, everywhere.
const TICK_US: u64 = 10_000;

/// Whether it has to be asked, and may be.
pub(crate) fn is_witness(bounds: &ProcessLimits, counted: &Reading) -> bool {
    bounds.is_gvisor && counted.memory_kills.is_none()
}

/// Which bound the program is beyond now that it runs for `wall_time`. Such a kernel refuses neither memory nor processes on its
/// own, so it is ended.
pub(crate) fn exceeded(bounds: &ProcessLimits, wall_time: Duration) -> Option<Cause> {
    // One system call for both. A fork bomb delays every system call of PID 1, so that reading a file for
    // each process would come too late.
    let now = sysinfo();
    if memory_in_use(&now) > bounds.memory_bytes {
        return Some(Cause::Memory);
    }
    if threads(&now) > bounds.processes {
        return Some(Cause::Processes);
    }
    let used = granted_us(cpu_time_us(), bounds, wall_time);
    (used >= bounds.cpu_time_ms.saturating_mul(1000)).then_some(Cause::CpuTime)
}

/// What a program can have had of the CPU time that such a kernel `counted` in `wall_time`. It counts a
/// thread that is ready to run as one that runs, so that eight of them on one processor seem to use eight
/// seconds a second; more than the host grants none of them has had.
pub(crate) fn granted_us(counted_us: u64, bounds: &ProcessLimits, wall_time: Duration) -> u64 {
    let most = wall_time.as_micros().saturating_mul(bounds.cpu_quota_ms.into()) / 1000;
    counted_us.min(u64::try_from(most).unwrap_or(u64::MAX))
}

/// What is not free, in bytes.
fn memory_in_use(now: &Sysinfo) -> u64 {
    now.totalram.saturating_sub(now.freeram) * u64::from(now.mem_unit)
}

/// All processes and threads but for the agent's own one.
fn threads(now: &Sysinfo) -> u64 {
    u64::from(now.procs).saturating_sub(1)
}

/// CPU time of all processes, those that have ended too, in microseconds.
fn cpu_time_us() -> u64 {
    let living = processes(Path::new("/proc"))
        .filter_map(|directory| ticks(&fs::read_to_string(directory.join("stat")).ok()?));
    living.sum::<u64>() * TICK_US + sys::children_cpu_time_us()
}

/// What a line of `/proc/PID/stat` says of the CPU time of a process and of its children that
/// have ended, in clock ticks.
fn ticks(line: &str) -> Option<u64> {
    // The second field is a name and may contain anything; times are the 14th to the 17th.
    let fields = line.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
    let times: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    (times.len() == 4).then(|| times.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_wait_for_a_processor_use_no_more_than_the_container_is_granted() {
        let bounds = |cpu_quota_ms| ProcessLimits { cpu_quota_ms, ..crate::fuzz::bounds() };
        let second = Duration::from_secs(1);
        assert_eq!(granted_us(8_000_000, &bounds(1000), second), 1_000_000);
        assert_eq!(granted_us(8_000_000, &bounds(2500), second * 2), 5_000_000);
        assert_eq!(granted_us(300_000, &bounds(1000), second), 300_000, "one that mostly sleeps");
        assert_eq!(granted_us(7, &bounds(u64::MAX), Duration::MAX), 7);
    }

    #[test]
    fn a_name_can_not_forge_the_times() {
        let line = "7 (a) 1 2 (b) R 1 7 7 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 9";
        assert_eq!(ticks(line), Some(37));
        assert_eq!(ticks("7 (a) R 1"), None);
    }
}
