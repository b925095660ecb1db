//! The host's memory: whether it is enough for what its jobs may hold, and whether it is short now.

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sandfleet_common::Limits;
use tracing::{info, warn};

use crate::{config::Settings, sandbox::policy::Policy};

/// What a job may make the kernel hold beside what its limit counts (docs/hardening.md).
const UNCOUNTED_BYTES: u64 = 64 << 20;

/// For how long a host counts as short after its kernel has killed a job for want of memory.
const AFTER_A_KILL: Duration = Duration::from_secs(10);

/// How often a host that is short is looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes as people say them.
fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// What `slots` jobs at these limits may hold at a time, with what runs beside each.
pub fn needed(slots: usize, limits: &Limits) -> u64 {
    let each = limits
        .memory_bytes
        .saturating_add(Policy::strict().overhead_bytes)
        .saturating_add(UNCOUNTED_BYTES)
        // In the worker, on their way to the store.
        .saturating_add(limits.output_bytes.saturating_mul(2))
        .saturating_add(limits.artifact_bytes);
    each.saturating_mul(slots as u64)
}

/// Memory that could be used on the host whose /proc is `proc`, without swap: what is free, and what
/// the kernel would take back from its caches.
pub fn available(proc: &Path) -> Option<u64> {
    let text = fs::read_to_string(proc.join("meminfo")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Whether this host has the memory for jobs at these `limits` in all slots; one sentence with the
/// figures if it hasn't.
///
/// # Errors
/// That sentence.
pub fn reserve(proc: &Path, settings: &Settings, limits: &Limits) -> Result<String, String> {
    let slots = settings.worker.slots;
    let needed = needed(slots, limits);
    let Some(available) = available(proc) else {
        return Err("this host doesn't say how much memory is available (/proc/meminfo)".into());
    };
    let figures = format!(
        "{slots} jobs at memory_bytes = {} may hold {}, with output and artifacts on their way; {} \
         are available",
        mib(limits.memory_bytes),
        mib(needed),
        mib(available)
    );
    if available >= needed {
        return Ok(figures);
    }
    Err(format!("{figures}; lower worker.slots or limits.max.memory_bytes, or add memory"))
}

/// The memory of the host that a worker's programs run on, where that is this one.
#[derive(Debug)]
pub struct HostMemory {
    proc: PathBuf,
    /// Below this the host is short; 0 if it never is.
    least_available: u64,
    /// Jobs that the kernel killed though they were within their limits.
    kills: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_kill: Option<Instant>,
    is_short: bool,
    looked_at: Option<Instant>,
}

impl HostMemory {
    /// That of the host whose /proc is `proc`, which is short with less than so many bytes.
    pub fn new(proc: impl Into<PathBuf>, least_available: u64) -> Self {
        Self {
            proc: proc.into(),
            least_available,
            kills: AtomicU64::new(0),
            state: Mutex::default(),
        }
    }

    /// Notes that the kernel killed a job that was within its limits.
    pub fn note_kill(&self) {
        self.kills.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        (state.last_kill, state.looked_at) = (Some(Instant::now()), None);
    }

    /// How many jobs the kernel killed though they were within their limits.
    pub fn kills(&self) -> u64 {
        self.kills.load(Ordering::Relaxed)
    }

    /// Whether there is enough for another job.
    ///
    /// # Errors
    /// One sentence with the figures if there isn't.
    pub fn check(&self) -> Result<(), String> {
        let shortage = self.shortage();
        let mut state = self.state();
        state.looked_at = Some(Instant::now());
        if state.is_short != shortage.is_some() {
            state.is_short = shortage.is_some();
            match &shortage {
                Some(reason) => {
                    warn!(reason, "the host is short of memory: no more jobs are taken")
                }
                None => info!("the host has memory again: jobs are taken"),
            }
        }
        shortage.map_or(Ok(()), Err)
    }

    /// Whether there is enough for another job, as of not long ago: for each job's way.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.state();
        if state.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL) {
            return !state.is_short;
        }
        drop(state);
        self.check().is_ok()
    }

    fn shortage(&self) -> Option<String> {
        let least = self.least_available;
        if least == 0 {
            return None;
        }
        let is_recent = |at: Instant| at.elapsed() < AFTER_A_KILL;
        if self.state().last_kill.is_some_and(is_recent) {
            let seconds = AFTER_A_KILL.as_secs();
            return Some(format!(
                "the host ran out of memory: in the last {seconds} s its kernel killed a job that was \
                 within its limits; lower worker.slots or limits.max.memory_bytes, or add memory"
            ));
        }
        // A host that doesn't say it isn't held against it: its jobs have their own limits.
        let available = available(&self.proc).filter(|available| *available < least)?;
        Some(format!(
            "the host is short of memory: {} available, worker.min_available_bytes is {}; it takes no \
             jobs until it has more",
            mib(available),
            mib(least)
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
