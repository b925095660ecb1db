//! Files of a native container that say what the job has: memory, processes, the time since the container was
//! started. PID 1 writes them before the program starts, since a container is started before its job is known.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::fs::FileExt,
    },
};

use rustix::time::{ClockId, clock_gettime};

use crate::{container::machine, protocol::message::RunRequest};

/// How many there are.
pub(crate) const JOB_FILES: usize = 4;

pub(crate) struct JobFiles {
    meminfo: File,
    memory_max: File,
    pids_max: File,
    uptime: File,
    /// When the container was started, by the clock that no namespace changes, in hundredths of a second.
    pub(crate) started: u64,
}

/// Now, by that clock.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 100 + now.tv_nsec.unsigned_abs() / 10_000_000
}

impl JobFiles {
    /// Of descriptors in the order of [`JobFiles::descriptors`].
    pub(crate) fn new(descriptors: [OwnedFd; JOB_FILES], started: u64) -> Self {
        let [meminfo, memory_max, pids_max, uptime] = descriptors.map(File::from);
        Self { meminfo, memory_max, pids_max, uptime, started }
    }

    pub(crate) fn descriptors(&self) -> [RawFd; JOB_FILES] {
        [&self.meminfo, &self.memory_max, &self.pids_max, &self.uptime].map(AsRawFd::as_raw_fd)
    }

    pub(crate) fn write(&self, request: &RunRequest) -> io::Result<()> {
        let memory = request.memory_bytes;
        replace(&self.meminfo, &machine::meminfo(memory))?;
        replace(&self.memory_max, &format!("{memory}\n"))?;
        replace(&self.pids_max, &format!("{}\n", request.bounds.processes))?;
        self.go_on()
    }

    /// Lets time go by in /proc/uptime. Between two calls it stands still, so it is ahead: `ps` shows nonsense of a
    /// process that started later than now.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        let up = now().saturating_sub(self.started) + AHEAD;
        // In one piece and never shorter than before: a reader finds the whole of one text.
        self.uptime.write_all_at(machine::uptime(up).as_bytes(), 0)
    }
}

/// By how much the shown uptime is ahead, in hundredths of a second: the program is looked at several times meanwhile.
const AHEAD: u64 = 50;

/// Replaces what a file says.
pub(crate) fn replace(file: &File, text: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all_at(text.as_bytes(), 0)
}
