//! Processes that the kernel keeps from ending, and where in the kernel they are.

use std::{fs, path::Path};

/// A process of this host, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// Its name, cut and escaped: programs choose theirs.
    pub name: String,
    /// Its state, as in `/proc/PID/stat`.
    pub state: char,
    /// The kernel's function that it waits in, where this process may know.
    pub waits_in: Option<String>,
}

impl Process {
    /// Process `number` of the host whose /proc is `proc`; `None` if there is none.
    pub fn read(proc: &Path, number: u32) -> Option<Self> {
        let directory = proc.join(number.to_string());
        let stat = String::from_utf8_lossy(&fs::read(directory.join("stat")).ok()?).into_owned();
        // The name may contain anything, parentheses too.
        let (head, rest) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1;
        let state = rest.trim_start().chars().next()?;
        let waits_in = fs::read_to_string(directory.join("wchan")).ok();
        Some(Self {
            number,
            name: name.chars().take(32).flat_map(char::escape_default).collect(),
            state,
            waits_in: waits_in.filter(|name| !matches!(name.trim(), "" | "0")),
        })
    }

    /// Whether it waits in the kernel where no signal reaches it.
    pub fn is_uninterruptible(&self) -> bool {
        self.state == 'D'
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} ({}, state {}", self.number, self.name, self.state)?;
        match &self.waits_in {
            Some(function) => write!(f, " in {})", function.trim()),
            None => write!(f, ")"),
        }
    }
}

/// All processes of the host whose /proc is `proc` that are in uninterruptible sleep now.
pub fn uninterruptible(proc: &Path) -> Vec<Process> {
    let numbers = fs::read_dir(proc).into_iter().flatten().flatten();
    numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|number| Process::read(proc, number))
        .filter(Process::is_uninterruptible)
        .collect()
}

/// A few processes for one line of a log.
pub fn listed(processes: &[Process]) -> String {
    const SHOWN: usize = 3;
    let mut text: Vec<_> = processes.iter().take(SHOWN).map(ToString::to_string).collect();
    if processes.len() > SHOWN {
        text.push(format!("{} more", processes.len() - SHOWN));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proc(processes: &[(u32, &str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("room");
        for (number, stat, waits_in) in processes {
            let directory = root.path().join(number.to_string());
            fs::create_dir(&directory).expect("room");
            fs::write(directory.join("stat"), stat).expect("room");
            fs::write(directory.join("wchan"), waits_in).expect("room");
        }
        root
    }

    #[test]
    fn only_what_sleeps_uninterruptibly_is_found_and_shown_with_its_place() {
        let proc = proc(&[
            (7, "7 (launch) D 1 7 7", "do_seccomp"),
            (8, "8 (bash) S 1 8 8", "do_wait"),
            (9, "9 (a) D (\n) R 1 9 9", "0"),
        ]);
        let found = uninterruptible(proc.path());
        assert_eq!(listed(&found), "process 7 (launch, state D in do_seccomp)");
        let running = Process::read(proc.path(), 9).expect("it is there");
        assert_eq!(running.to_string(), "process 9 (a) D (\\n, state R)");
        assert_eq!(Process::read(proc.path(), 10), None);
    }
}
