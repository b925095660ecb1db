//! Limits that refuse a request and leave the program running: whether they were reached. The kernel counts no
//! refusals of these, so the use is sampled; what rises and falls between two samples is missed.

use std::{fs, io, path::Path};

use rustix::fs::statvfs;

use crate::{container::scratch::WORKING_DIRECTORY, protocol::message::ProcessLimits};

#[derive(Debug, Default)]
pub(crate) struct SoftLimits {
    pub(crate) scratch_full: bool,
    pub(crate) scratch_files_used_up: bool,
    pub(crate) open_files_used_up: bool,
}

impl SoftLimits {
    /// Samples once; a limit that was seen reached stays so.
    pub(crate) fn look(&mut self, bounds: &ProcessLimits) {
        self.look_at_files();
        self.open_files_used_up = self.open_files_used_up || most_open_files() >= bounds.open_files;
    }

    /// Samples only what outlasts the program.
    pub(crate) fn look_at_files(&mut self) {
        for directory in [WORKING_DIRECTORY, "/tmp"] {
            // The scratch space has a size and a number of files; on other file systems zero means unlimited.
            let Ok(facts) = statvfs(directory) else { continue };
            self.scratch_full |= facts.f_blocks > 0 && facts.f_bfree == 0;
            self.scratch_files_used_up |= facts.f_files > 0 && facts.f_ffree == 0;
        }
    }
}

/// The most files that one process has open now.
fn most_open_files() -> u64 {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let is_process =
        |name: &std::ffi::OsStr| name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
    processes
        .flatten()
        .filter(|entry| is_process(&entry.file_name()))
        .filter_map(|entry| open_files(&entry.path().join("fd")).ok())
        .max()
        .unwrap_or(0)
}

/// From Linux 6.2 on the directory of a process's descriptors says how many there are by its size;
/// before, it says 0 and has to be read.
fn open_files(directory: &Path) -> io::Result<u64> {
    match fs::metadata(directory)?.len() {
        0 => Ok(fs::read_dir(directory)?.count() as u64),
        count => Ok(count),
    }
}
