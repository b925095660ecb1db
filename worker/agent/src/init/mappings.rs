//! How many mappings the program's processes have. The kernel keeps a tree of them for each process, whose
//! nodes no control group counts: some 70 bytes a mapping, and more where there are gaps between them. A process
//! has `vm.max_map_count` at most, which is the whole host's and bounds no number of processes.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::standstill::Standstill;
use crate::protocol::message::{Cause, ProcessLimits};

/// The program's mappings.
#[derive(Debug, Default)]
pub(crate) struct Mappings {
    are_many: bool,
}

impl Mappings {
    /// Looks once: whether all processes together have more than they may.
    pub(crate) fn exceeded(
        &mut self,
        bounds: &ProcessLimits,
        standstill: &mut Standstill,
    ) -> Option<Cause> {
        let count = count(Path::new("/proc"), bounds.mappings, standstill);
        self.are_many = count > bounds.mappings / 4;
        (count > bounds.mappings).then_some(Cause::Mappings)
    }

    /// Whether there were so many at the last look that there may soon be too many.
    pub(crate) fn are_many(&self) -> bool {
        self.are_many
    }
}

/// How many there are in all, as far as it takes to see that they are more than `most`; 0 if they can't be.
fn count(proc: &Path, most: u64, standstill: &mut Standstill) -> u64 {
    // A mapping has a page at least, and to ask for the pages costs next to nothing.
    let processes: Vec<_> = processes(proc).map(|it| (pages(&it), it)).collect();
    if processes.iter().map(|(pages, _)| pages).sum::<u64>() <= most {
        return 0;
    }
    let mut count = 0;
    for (pages, process) in processes {
        // A process may hide its mappings, by `PR_SET_DUMPABLE`, but not its pages.
        count += lines(&process.join("maps"), most - count, standstill).unwrap_or(pages);
        if count > most || !standstill.goes_on() {
            break;
        }
    }
    count
}

/// The directories of processes but for the agent's own.
pub(crate) fn processes(proc: &Path) -> impl Iterator<Item = PathBuf> {
    let is_program = |name: &str| name.parse().is_ok_and(|pid: u32| pid > 1);
    fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter(move |entry| entry.file_name().to_str().is_some_and(is_program))
        .map(|entry| entry.path())
}

/// The size of a process's address space, in pages; 0 if it has ended.
fn pages(process: &Path) -> u64 {
    let text = fs::read_to_string(process.join("statm")).unwrap_or_default();
    text.split(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0)
}

/// How many lines a file has, or a few more than `most` if there are more.
fn lines(path: &Path, most: u64, standstill: &mut Standstill) -> io::Result<u64> {
    let (mut file, mut buffer, mut count) = (File::open(path)?, [0; 4096], 0);
    while count <= most && standstill.goes_on() {
        match file.read(&mut buffer)? {
            0 => break,
            length => {
                count += buffer[..length].iter().filter(|byte| **byte == b'\n').count() as u64
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes with so many pages and mappings; one without mappings hides them.
    fn proc(processes: &[(u64, Option<usize>)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().expect("room");
        for (number, (pages, mappings)) in processes.iter().enumerate() {
            let process = proc.path().join((number + 1).to_string());
            fs::create_dir(&process).expect("room");
            fs::write(process.join("statm"), format!("{pages} 1 1 1 0 1 0\n")).expect("room");
            if let Some(mappings) = mappings {
                fs::write(process.join("maps"), "7f00-7f01 r--p 0 00:00 0\n".repeat(*mappings))
                    .expect("room");
            }
        }
        fs::create_dir(proc.path().join("sys")).expect("room");
        proc
    }

    fn count_of(processes: &[(u64, Option<usize>)]) -> u64 {
        count(proc(processes).path(), 1000, &mut Standstill::without())
    }

    #[test]
    fn mappings_of_all_processes_count_but_the_agents_own() {
        assert_eq!(count_of(&[(9000, Some(500)), (9000, Some(400)), (9000, Some(300))]), 700);
        let many = count_of(&[(0, None), (9000, Some(600)), (9000, Some(600)), (9000, Some(5000))]);
        assert!((1001..1400).contains(&many), "{many}: no further than it has to be");
    }

    #[test]
    fn few_pages_hold_few_mappings_and_hidden_ones_count_as_pages() {
        assert_eq!(count_of(&[(0, None), (400, Some(9)), (600, Some(9))]), 0, "they can't be more");
        assert_eq!(count_of(&[(0, None), (400, None), (800, Some(9))]), 409);
        assert!(count_of(&[(0, None), (2000, None), (800, Some(9))]) >= 2000);
    }
}
