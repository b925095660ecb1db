//! A worker's own part of the tree of control groups, and what dead workers left of theirs.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::{Hierarchy, LEAF, UNIFIED_CONTROLLERS, lacking, missing, write};
use crate::{hooks::Observer, labels::Leftover, sandbox::SandboxError};

/// Directories of this name are ours; those without a lock on them belong to workers that are
/// gone.
const PREFIX: &str = "sandfleet-worker-";

/// This worker's own part of the tree. Locked while the worker lives; removed with it.
#[derive(Debug)]
pub(crate) struct WorkerCgroup {
    pub(super) hierarchy: Hierarchy,
    pub(super) name: String,
    /// Held for their locks, which the kernel gives back however this process ends.
    locks: Vec<File>,
}

impl WorkerCgroup {
    /// Makes the worker's groups below its own place.
    pub(crate) fn claim(hierarchy: Hierarchy, observer: &Observer) -> Result<Self, SandboxError> {
        let name = format!("{PREFIX}{}", uuid::Uuid::now_v7().simple());
        if let Hierarchy::Unified(place) = &hierarchy {
            if let Some(unit) = undelegated_unit(place) {
                // It would do so as soon as a single program runs out of memory.
                return Err(missing(format!(
                    "{} is a unit that systemd keeps to itself and stops when the kernel kills \
                     anything in it",
                    unit.display()
                )));
            }
            delegate(place).map_err(|error| {
                missing(format!("controllers can't be delegated in {}: {error}", place.display()))
            })?;
        }
        // Here, because a command that runs one program has no other moment for it.
        match Self::reap(&hierarchy) {
            Ok(0) => {}
            Ok(count) => {
                observer.reaped(Leftover::ControlGroup, count);
                tracing::info!(count, "removed what a dead worker had left");
            }
            Err(error) => tracing::warn!(%error, "leftovers can't be looked for"),
        }
        // Whatever fails from here on, dropping it removes what was made.
        let mut worker_cgroup = Self { hierarchy, name, locks: Vec::new() };
        for place in worker_cgroup.hierarchy.places() {
            let path = place.join(&worker_cgroup.name);
            let lock =
                lock_new(&path).map_err(|error| missing(format!("{}: {error}", path.display())))?;
            worker_cgroup.locks.push(lock);
            if worker_cgroup.hierarchy.version() == 2 {
                write(&path, "cgroup.subtree_control", &enabling())
                    .map_err(|error| missing(error.to_string()))?;
            }
        }
        Ok(worker_cgroup)
    }

    /// Whether the worker's groups still exist: something that cleans up the host may remove them.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        for place in self.hierarchy.places() {
            let path = place.join(&self.name);
            if !path.exists() {
                return Err(missing(format!("{} was removed", path.display())));
            }
        }
        Ok(())
    }

    /// Removes what workers that are gone have left; gives back how many groups those were.
    pub(crate) fn reap(hierarchy: &Hierarchy) -> io::Result<usize> {
        let (mut abandoned, mut locks) = (Vec::new(), Vec::new());
        for place in hierarchy.places() {
            for entry in fs::read_dir(place)? {
                let entry = entry?;
                if !is_workers(&entry.file_name().to_string_lossy()) || !entry.file_type()?.is_dir()
                {
                    continue;
                }
                let Ok(directory) = File::open(entry.path()) else { continue };
                if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    abandoned.push(entry.path());
                    locks.push(directory);
                }
            }
        }
        remove_all(&abandoned);
        // The locks are held until the groups are gone: a worker that has made one just now and waits
        // for its lock then sees that it is gone, and makes another.
        drop(locks);
        Ok(abandoned.iter().filter(|group| !group.exists()).count())
    }
}

impl Drop for WorkerCgroup {
    fn drop(&mut self) {
        // What still holds a process here is reaped by the next worker.
        let groups: Vec<_> =
            self.hierarchy.places().into_iter().map(|place| place.join(&self.name)).collect();
        remove_all(&groups);
    }
}

/// For how long a removal is tried at first, in steps of 5 ms: ten seconds. The kernel takes a moment to let a
/// dead process leave its group, and longer on a busy host, where it has much memory to free.
pub(crate) const FIRST_TRIES: u32 = 2000;

/// Kills what is in these groups and below, and removes them, within one deadline for all of them: what
/// can't be killed is in a group of every hierarchy of version 1. Logs what is left.
fn remove_all(groups: &[PathBuf]) {
    if remove_within(groups, FIRST_TRIES) {
        return;
    }
    for path in groups.iter().filter(|group| group.exists()) {
        let path = path.display();
        tracing::warn!(%path, "a control group could not be removed; something in it can't be killed");
    }
}

/// Kills what is in these groups and below, and removes them, in so many tries; says whether all are gone.
pub(crate) fn remove_within(groups: &[PathBuf], tries: u32) -> bool {
    for _ in 0..tries {
        // Each of them, whatever became of the one before.
        let left = groups.iter().filter(|group| !remove_once(group)).count();
        if left == 0 {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    false
}

/// Kills what is in a group and below, and removes what is empty by now; says whether all is gone.
pub(crate) fn remove_once(path: &Path) -> bool {
    if !path.exists() {
        return true;
    }
    let groups = walk(path);
    // Version 2 kills all of a group and below at once, and nothing else whatever forks or ends
    // meanwhile; kernels before 5.14 don't.
    let unkilled = if write(path, "cgroup.kill", "1").is_ok() { &[][..] } else { &groups[..] };
    for group in unkilled {
        let processes = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
    for group in groups.iter().rev() {
        let _ = fs::remove_dir(group);
    }
    !path.exists()
}

/// A group and all below it, from the top.
fn walk(path: &Path) -> Vec<PathBuf> {
    let mut groups = vec![path.to_owned()];
    let mut next = 0;
    while next < groups.len() {
        let inner = fs::read_dir(&groups[next]).into_iter().flatten().flatten();
        let directories: Vec<_> = inner
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .collect();
        groups.extend(directories);
        next += 1;
    }
    groups
}

/// Whether a group of this name was made by a worker: units and groups of others may be called
/// nearly the same.
fn is_workers(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|id| {
        id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Makes a group and locks it. Between the two it looks abandoned, and a reaper may take it away:
/// then it is made again.
fn lock_new(path: &Path) -> io::Result<File> {
    for _ in 0..20 {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let Ok(file) = File::open(path) else { continue };
        // Only a reaper can hold it, and not for long.
        let locked = flock(&file, FlockOperation::LockExclusive).is_ok();
        let still_there = fs::metadata(path).and_then(|now| {
            Ok((now.dev(), now.ino()) == (file.metadata()?.dev(), file.metadata()?.ino()))
        });
        if locked && still_there.unwrap_or(false) {
            return Ok(file);
        }
    }
    Err(io::Error::other("something keeps removing it"))
}

/// The unit of systemd that `place` is in, if systemd has marked it as started and not as given
/// away. Only root may read the marks of the first kind; of the second, which a user's own
/// systemd sets too, there are none before its version 251, and then nothing is held against it.
fn undelegated_unit(place: &Path) -> Option<&Path> {
    let marked = |group: &Path, mark: String| {
        rustix::fs::getxattr(group, mark, &mut [0; 64][..]).is_ok_and(|length| length > 0)
    };
    ["trusted", "user"].iter().find_map(|kind| {
        let unit =
            place.ancestors().find(|group| marked(group, format!("{kind}.invocation_id")))?;
        (!marked(unit, format!("{kind}.delegate"))).then_some(unit)
    })
}

/// What is written to a version 2 group so that its children get the controllers.
fn enabling() -> String {
    UNIFIED_CONTROLLERS.map(|name| format!("+{name}")).join(" ")
}

/// Version 2 gives controllers only to groups whose parent holds no process: if that is this one,
/// it moves into a leaf of its own first.
fn delegate(place: &Path) -> io::Result<()> {
    let enabled = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap_or_default();
    if lacking(&enabled).is_empty() {
        return Ok(());
    }
    let own = std::process::id().to_string();
    let here = fs::read_to_string(place.join("cgroup.procs"))?.lines().any(|line| line == own);
    // The top of the tree may hold processes beside groups.
    let leaf = place.join(LEAF);
    let moves = here && place.join("cgroup.type").exists();
    if moves {
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        write(&leaf, "cgroup.procs", &own)?;
    }
    let delegated = write(place, "cgroup.subtree_control", &enabling());
    if delegated.is_err() && moves {
        // Other processes are here too. Back to them, so that nothing of this try is left.
        let _ = write(place, "cgroup.procs", &own);
        let _ = fs::remove_dir(&leaf);
    }
    delegated
}
