//! How many record locks (`fcntl`) the program's processes have. The kernel keeps some 230 bytes for each, which no
//! control group counts.
//!
//! A lock belongs to the table of descriptors that it was set by and to a descriptor in it: closing any descriptor of
//! the same file there removes it. So every lock is in `fdinfo` of a process. The system call filter refuses the locks
//! that would not be: those of open files (`F_OFD_SETLK`), which a descriptor on its way over a socket would keep,
//! and those of a thread with a table of its own.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

use super::{mappings::processes, standstill::Standstill};
use crate::protocol::message::{Cause, ProcessLimits};

/// CPU time of the program between two looks, in microseconds: to set a lock takes more than one, most of it in the
/// kernel.
const INTERVAL_US: u64 = 50_000;

/// For so much of the program's CPU time, in microseconds, and at so many looks in a row a process has to be
/// unreadable before it counts as hidden: each is for a moment while it becomes another program, and on a host that
/// is short of processors that moment can be long.
const HIDDEN_US: u64 = 750_000;
const HIDDEN_LOOKS: u32 = 10;

/// The program's record locks.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    looked_at_us: Option<u64>,
    hidden: Option<Hidden>,
    are_many: bool,
}

/// A process whose descriptors can't be listed: by `PR_SET_DUMPABLE`, or since it may not read its own program.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    since_us: u64,
    seen_times: u32,
}

impl Locks {
    /// Looks, if the program has used enough of its CPU time since the last look: whether all its processes together
    /// have more locks than they may, or hide for about as long as it takes to set so many.
    pub(crate) fn exceeded(
        &mut self,
        used_us: Option<u64>,
        bounds: &ProcessLimits,
        standstill: &mut Standstill,
    ) -> Option<Cause> {
        self.exceeded_in(Path::new("/proc"), used_us, bounds.record_locks, standstill)
    }

    fn exceeded_in(
        &mut self,
        proc: &Path,
        used_us: Option<u64>,
        most: u64,
        standstill: &mut Standstill,
    ) -> Option<Cause> {
        // Where nothing counts it, each look is one.
        let used_us = used_us.unwrap_or_else(|| self.looked_at_us.unwrap_or(0) + INTERVAL_US);
        if used_us.saturating_sub(self.looked_at_us.unwrap_or(0)) < INTERVAL_US {
            return None;
        }
        self.looked_at_us = Some(used_us);
        self.judge(&count(proc, most, standstill), used_us, most)
    }

    fn judge(&mut self, seen: &Seen, used_us: u64, most: u64) -> Option<Cause> {
        self.hidden = seen.hidden.then(|| {
            let first = Hidden { since_us: used_us, seen_times: 0 };
            let Hidden { since_us, seen_times } = self.hidden.unwrap_or(first);
            Hidden { since_us, seen_times: seen_times + 1 }
        });
        let hides = self.hidden.is_some_and(|it| {
            it.seen_times >= HIDDEN_LOOKS && used_us.saturating_sub(it.since_us) >= HIDDEN_US
        });
        self.are_many = seen.locks > most / 8 || seen.hidden;
        (hides || seen.locks > most).then_some(Cause::Locks)
    }

    /// Whether there were so many at the last look that there may soon be too many.
    pub(crate) fn are_many(&self) -> bool {
        self.are_many
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// As far as it takes to see that they are too many.
    locks: u64,
    hidden: bool,
}

fn count(proc: &Path, most: u64, standstill: &mut Standstill) -> Seen {
    let mut seen = Seen::default();
    for process in processes(proc) {
        match locks(&process, most, standstill) {
            Ok(locks) => seen.locks += locks,
            Err(error) => seen.hidden |= error.kind() == ErrorKind::PermissionDenied,
        }
        if seen.locks > most || !standstill.goes_on() {
            break;
        }
    }
    seen
}

/// The locks of a process, by the first of its threads that has descriptors: one that has ended has none.
fn locks(process: &Path, most: u64, standstill: &mut Standstill) -> io::Result<u64> {
    if let Some(locks) = locks_of_table(&process.join("fdinfo"), most, standstill)? {
        return Ok(locks);
    }
    for thread in fs::read_dir(process.join("task"))? {
        if let Ok(Some(locks)) = locks_of_table(&thread?.path().join("fdinfo"), most, standstill) {
            return Ok(locks);
        }
    }
    Ok(0)
}

/// `None` if there is no descriptor.
fn locks_of_table(table: &Path, most: u64, standstill: &mut Standstill) -> io::Result<Option<u64>> {
    let mut locks = None;
    for descriptor in fs::read_dir(table)? {
        let so_far = locks.unwrap_or(0);
        // What was closed meanwhile has none.
        locks = Some(so_far + lines_of_locks(&descriptor?.path(), most).unwrap_or(0));
        if so_far > most || !standstill.goes_on() {
            break;
        }
    }
    Ok(locks)
}

/// How many lines of a descriptor's file tell of a lock, or a few more than `most` if there are more.
fn lines_of_locks(path: &Path, most: u64) -> io::Result<u64> {
    const LOCK: &[u8] = b"lock:";
    let (mut file, mut buffer, mut kept, mut locks) = (File::open(path)?, [0; 4096], 0, 0);
    while locks <= most {
        let length = kept + file.read(&mut buffer[kept..])?;
        if length == kept {
            break;
        }
        locks += buffer[..length].windows(LOCK.len()).filter(|at| *at == LOCK).count() as u64;
        // A word may lie across two reads.
        let start = length.saturating_sub(LOCK.len() - 1);
        kept = length - start;
        buffer.copy_within(start..length, 0);
    }
    Ok(locks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "lock:\t1: POSIX  ADVISORY  WRITE 7 00:1e:5 2 2\n";

    fn descriptor(proc: &Path, table: &str, number: u32, locks: usize) {
        let table = proc.join(table).join("fdinfo");
        fs::create_dir_all(&table).expect("room");
        let text = format!("pos:\t0\nflags:\t0100002\nmnt_id:\t7\nino:\t5\n{}", LOCK.repeat(locks));
        fs::write(table.join(number.to_string()), text).expect("room");
    }

    fn look(locks: &mut Locks, proc: &Path, used_us: u64) -> Option<Cause> {
        locks.exceeded_in(proc, Some(used_us), 1000, &mut Standstill::without())
    }

    #[test]
    fn locks_of_all_processes_and_descriptors_count_but_the_agents_own() {
        let proc = tempfile::tempdir().expect("room");
        let proc = proc.path();
        for (table, number, locks) in [("1", 3, 900), ("7", 3, 300), ("7", 4, 300), ("9", 0, 400)] {
            descriptor(proc, table, number, locks);
        }
        assert_eq!(look(&mut Locks::default(), proc, INTERVAL_US), None, "exactly as many");
        // Its first thread has ended.
        fs::create_dir_all(proc.join("11/fdinfo")).expect("room");
        fs::create_dir_all(proc.join("11/task/11/fdinfo")).expect("room");
        descriptor(proc, "11/task/12", 3, 1);
        assert_eq!(look(&mut Locks::default(), proc, INTERVAL_US), Some(Cause::Locks));
    }

    #[test]
    fn they_are_looked_at_when_there_was_time_to_set_some() {
        let proc = tempfile::tempdir().expect("room");
        let mut locks = Locks::default();
        assert_eq!(look(&mut locks, proc.path(), INTERVAL_US), None);
        descriptor(proc.path(), "7", 3, 5000);
        assert_eq!(look(&mut locks, proc.path(), 2 * INTERVAL_US - 1), None);
        assert_eq!(look(&mut locks, proc.path(), 2 * INTERVAL_US), Some(Cause::Locks));
    }

    #[test]
    fn what_hides_for_long_has_too_many() {
        let (hidden, seen) = (Seen { locks: 0, hidden: true }, Seen::default());
        let mut locks = Locks::default();
        let mut judge = |seen, used_ms: u64| locks.judge(seen, used_ms * 1000, 1000);
        assert!((1..=15).all(|look| judge(&hidden, look * 50).is_none()));
        assert_eq!(judge(&hidden, 800), Some(Cause::Locks));
        assert_eq!(judge(&seen, 850), None);
        assert_eq!(judge(&hidden, 900), None, "since then");
        assert!((1..9).all(|look| judge(&hidden, 1000 + look * 200).is_none()), "few looks");
        assert_eq!(judge(&hidden, 3000), Some(Cause::Locks));
    }
}
