//! Control groups, version 1 and 2: one group per slot, kept for all its jobs.
//!
//! A group per job would cost a quarter of a millisecond and, on version 1, moving a running
//! process into it disturbs the whole machine. So the slot's launcher sits in the slot's group
//! and every container is born there; between jobs the limits are rewritten and the counters are
//! read as differences.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use sandfleet_common::Limits;

use crate::sandbox::{SandboxError, policy::Policy};

/// Directories of this name are ours; those without a lock on them belong to workers that are
/// gone.
const PREFIX: &str = "sandfleet-worker-";

/// What doctor calls it.
pub(crate) const BARRIER: &str = "control groups";

const PERIOD_US: u64 = 100_000;
/// The launcher and the agent share the program's group.
const OVERHEAD_PROCESSES: u64 = 2;

/// Where a host has its controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hierarchy {
    /// One tree for all controllers; the path of our own group in it.
    Unified(PathBuf),
    /// A tree per controller; the paths of our own groups in them, in the order of
    /// [`CONTROLLERS`].
    PerController(Vec<PathBuf>),
}

/// What is needed, by version 1's names.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];

impl Hierarchy {
    /// Finds the controllers and our own place in them. `parent`, if not empty, replaces our own
    /// place, counted from the top of each tree.
    pub(crate) fn find(parent: &str) -> Result<Self, SandboxError> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| missing(format!("{path}: {error}")))
        };
        Self::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?, parent)
    }

    fn parse(mountinfo: &str, own: &str, parent: &str) -> Result<Self, SandboxError> {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let place = |controller: &str| -> Option<PathBuf> {
            let own = own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (names, path) = (parts.next()?, parts.next()?);
                names.split(',').any(|name| name == controller).then_some(path)
            })?;
            let mount = mounts.iter().find(|mount| mount.has(controller))?;
            let wanted = if parent.is_empty() { own } else { parent };
            // A container sees the part of the tree below its mount's root only.
            let below = wanted.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or(wanted);
            Some(Path::new(mount.target).join(below.trim_start_matches('/')))
        };
        let per_controller: Vec<Option<PathBuf>> =
            CONTROLLERS.iter().map(|name| place(name)).collect();
        if per_controller.iter().all(Option::is_some) {
            return Ok(Self::PerController(per_controller.into_iter().flatten().collect()));
        }
        let unified = place("").filter(|path| {
            let offered = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
            ["memory", "pids", "cpu"]
                .iter()
                .all(|name| offered.split(' ').any(|o| o.trim() == *name))
        });
        unified.map(Self::Unified).ok_or_else(|| {
            let absent: Vec<_> = CONTROLLERS
                .iter()
                .zip(&per_controller)
                .filter(|(_, found)| found.is_none())
                .map(|(name, _)| *name)
                .collect();
            missing(format!("no usable controller {} in this place", absent.join(", ")))
        })
    }

    /// `1` or `2`.
    pub(crate) fn version(&self) -> u32 {
        match self {
            Self::Unified(_) => 2,
            Self::PerController(_) => 1,
        }
    }

    fn places(&self) -> Vec<&Path> {
        match self {
            Self::Unified(path) => vec![path],
            // cpu and cpuacct are often one tree under two names.
            Self::PerController(paths) => {
                let mut places: Vec<&Path> = Vec::new();
                for path in paths.iter().map(PathBuf::as_path) {
                    let known = places.iter().any(|place| is_same(place, path));
                    if !known {
                        places.push(path);
                    }
                }
                places
            }
        }
    }
}

fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => a == b,
    }
}

fn missing(reason: String) -> SandboxError {
    let message = format!(
        "the barrier \"{BARRIER}\" can't be put up: {reason}; to go on: run as root, or \
         below a delegated control group (systemd-run --user --scope -p Delegate=yes sandfleet …), \
         or name one that this user may write to (sandbox.cgroup_parent), or use --sandbox docker"
    );
    SandboxError::Barrier { barrier: BARRIER, message }
}

struct Mount<'a> {
    root: &'a str,
    target: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, target) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let kind = right.next()?;
        let options = right.nth(1)?;
        kind.starts_with("cgroup").then_some(Self { root, target, kind, options })
    }

    /// The empty name is version 2's.
    fn has(&self, controller: &str) -> bool {
        match controller {
            "" => self.kind == "cgroup2",
            name => self.kind == "cgroup" && self.options.split(',').any(|option| option == name),
        }
    }
}

/// This worker's own part of the tree. Locked while the worker lives; removed with it.
#[derive(Debug)]
pub(crate) struct Territory {
    hierarchy: Hierarchy,
    name: String,
    /// Held for their locks, which the kernel gives back however this process ends.
    _locks: Vec<File>,
}

impl Territory {
    /// Makes the worker's groups below its own place.
    pub(crate) fn claim(hierarchy: Hierarchy) -> Result<Self, SandboxError> {
        let name = format!("{PREFIX}{}", uuid::Uuid::now_v7().simple());
        if let Hierarchy::Unified(place) = &hierarchy {
            delegate(place).map_err(|error| {
                missing(format!("controllers can't be delegated in {}: {error}", place.display()))
            })?;
        }
        let mut locks = Vec::new();
        for place in hierarchy.places() {
            let path = place.join(&name);
            let locked = fs::create_dir(&path).and_then(|()| File::open(&path)).and_then(|file| {
                flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                Ok(file)
            });
            locks.push(locked.map_err(|error| missing(format!("{}: {error}", path.display())))?);
            if hierarchy.version() == 2 {
                write(&path, "cgroup.subtree_control", "+memory +pids +cpu")
                    .map_err(|error| missing(error.to_string()))?;
            }
        }
        Ok(Self { hierarchy, name, _locks: locks })
    }

    /// Whether the worker's groups are still there: whoever cleans up a host may take them away.
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        for place in self.hierarchy.places() {
            let path = place.join(&self.name);
            if !path.exists() {
                return Err(missing(format!("somebody removed {}", path.display())));
            }
        }
        Ok(())
    }

    /// Removes what workers that are gone have left; gives back how many groups those were.
    pub(crate) fn reap(hierarchy: &Hierarchy) -> io::Result<usize> {
        let mut reaped = 0;
        for place in hierarchy.places() {
            for entry in fs::read_dir(place)? {
                let entry = entry?;
                let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
                if !ours || !entry.file_type()?.is_dir() {
                    continue;
                }
                let abandoned = File::open(entry.path()).is_ok_and(|directory| {
                    flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok()
                });
                if abandoned && remove_tree(&entry.path()) {
                    reaped += 1;
                }
            }
        }
        Ok(reaped)
    }
}

impl Drop for Territory {
    fn drop(&mut self) {
        for place in self.hierarchy.places() {
            // What still holds a process here is reaped by the next worker.
            remove_tree(&place.join(&self.name));
        }
    }
}

/// Kills what is in a group and below, and removes it; says whether it is gone. The kernel takes
/// a moment to let a dead process leave its group.
fn remove_tree(path: &Path) -> bool {
    for _ in 0..200 {
        let groups = walk(path);
        for group in &groups {
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
        if !path.exists() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    tracing::warn!(path = %path.display(), "a control group could not be removed; something in it can't be killed");
    false
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

/// Version 2 gives controllers only to groups whose parent holds no process: the worker moves
/// into a leaf of its own first.
fn delegate(place: &Path) -> io::Result<()> {
    let enabled = fs::read_to_string(place.join("cgroup.subtree_control")).unwrap_or_default();
    if ["memory", "pids", "cpu"].iter().all(|name| enabled.split_whitespace().any(|e| e == *name)) {
        return Ok(());
    }
    // The top of the tree may hold processes beside groups.
    if place.join("cgroup.type").exists() {
        let leaf = place.join("sandfleet.worker");
        match fs::create_dir(&leaf) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        write(&leaf, "cgroup.procs", &std::process::id().to_string())?;
    }
    write(place, "cgroup.subtree_control", "+memory +pids +cpu")
}

fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    let write = || File::options().write(true).open(&path)?.write_all(value.as_bytes());
    write().map_err(|error| {
        io::Error::new(error.kind(), format!("writing {value:?} to {}: {error}", path.display()))
    })
}

/// The control group of one slot.
#[derive(Debug)]
pub(crate) struct SlotGroup {
    version: u32,
    memory: PathBuf,
    pids: PathBuf,
    cpu: PathBuf,
    cpuacct: PathBuf,
    /// Open for writing too: version 2 resets the peak for the very descriptor that asks.
    peak: File,
    applied: Option<(u64, u64)>,
}

impl SlotGroup {
    /// Makes the group of slot number `slot`, for programs that may use `cpus` processors.
    pub(crate) fn make(
        territory: &Territory,
        slot: usize,
        cpus: f64,
    ) -> Result<Self, SandboxError> {
        let below = |place: &Path| place.join(&territory.name).join(format!("slot-{slot}"));
        for place in territory.hierarchy.places() {
            match fs::create_dir(below(place)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(missing(format!("{}: {error}", below(place).display())));
                }
                _ => {}
            }
        }
        let version = territory.hierarchy.version();
        let [memory, pids, cpu, cpuacct] = match &territory.hierarchy {
            Hierarchy::Unified(place) => std::array::from_fn(|_| below(place)),
            Hierarchy::PerController(places) => std::array::from_fn(|i| below(&places[i])),
        };
        let quota = ((cpus * PERIOD_US as f64) as u64).max(1000);
        let limit_cpu = || match version {
            2 => write(&cpu, "cpu.max", &format!("{quota} {PERIOD_US}")),
            _ => write(&cpu, "cpu.cfs_period_us", &PERIOD_US.to_string())
                .and_then(|()| write(&cpu, "cpu.cfs_quota_us", &quota.to_string())),
        };
        let peak = if version == 2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        let open = |file: &str| {
            let path = memory.join(file);
            File::options().read(true).write(true).open(&path).or_else(|_| File::open(&path))
        };
        let peak = limit_cpu()
            .and_then(|()| open(peak).or_else(|_| File::open("/dev/null")))
            .map_err(|error| missing(error.to_string()))?;
        Ok(Self { version, memory, pids, cpu, cpuacct, peak, applied: None })
    }

    /// Puts the launcher in.
    pub(crate) fn add(&self, process: u32) -> Result<(), SandboxError> {
        let mut groups = vec![&self.memory];
        if self.version == 1 {
            groups.extend([&self.pids, &self.cpu, &self.cpuacct]);
        }
        for group in groups {
            write(group, "cgroup.procs", &process.to_string())
                .map_err(|error| missing(error.to_string()))?;
        }
        Ok(())
    }

    /// Sets the next job's limits and starts its peak from here; gives back the memory in use
    /// now, which isn't the job's, or `None` where this kernel can't start a peak anew.
    pub(crate) fn apply(
        &mut self,
        limits: &Limits,
        policy: &Policy,
    ) -> Result<Option<u64>, SandboxError> {
        let memory = limits.memory_bytes.saturating_add(policy.overhead_bytes);
        let processes = limits.processes.saturating_add(OVERHEAD_PROCESSES);
        if self.applied != Some((memory, processes)) {
            self.set_limits(memory, processes, policy.swap)
                .map_err(|error| missing(error.to_string()))?;
            self.applied = Some((memory, processes));
        }
        let reset = if self.version == 2 { "reset" } else { "0" };
        let usage = if self.version == 2 { "memory.current" } else { "memory.usage_in_bytes" };
        let restarted = (&self.peak).write_all(reset.as_bytes()).is_ok();
        Ok(restarted.then(|| number(&self.memory.join(usage))))
    }

    fn set_limits(&self, memory: u64, processes: u64, swap: bool) -> io::Result<()> {
        write(&self.pids, "pids.max", &processes.to_string())?;
        if self.version == 2 {
            write(&self.memory, "memory.max", &memory.to_string())?;
            write(&self.memory, "memory.oom.group", "0")?;
            if !swap && self.memory.join("memory.swap.max").exists() {
                write(&self.memory, "memory.swap.max", "0")?;
            }
            return Ok(());
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
        } else if !swap && fs::read_to_string("/proc/swaps")?.lines().count() > 1 {
            return Err(io::Error::other(
                "this host has swap, and its kernel doesn't count swap per group (boot with \
                 swapaccount=1, or swapoff -a)",
            ));
        }
        write(&self.memory, plain, &memory.to_string())
    }

    /// The descriptors that the agent counts by, in the order that it expects.
    pub(crate) fn counters(&self) -> io::Result<Vec<OwnedFd>> {
        let (cpu, events) = match self.version {
            2 => (self.cpuacct.join("cpu.stat"), self.memory.join("memory.events")),
            _ => (self.cpuacct.join("cpuacct.usage"), self.memory.join("memory.oom_control")),
        };
        Ok(vec![
            File::open(cpu)?.into(),
            self.peak.as_fd().try_clone_to_owned()?,
            File::open(events)?.into(),
            File::open(self.pids.join("pids.events"))?.into(),
        ])
    }

    /// How many processes were killed here for want of memory, ever.
    pub(crate) fn memory_kills(&self) -> u64 {
        let file = if self.version == 2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.memory.join(file)).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }

    /// The processes in the group: between jobs only the launcher may be there.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.pids.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for SlotGroup {
    fn drop(&mut self) {
        let mut groups = vec![&self.memory];
        if self.version == 1 {
            groups.extend([&self.pids, &self.cpu, &self.cpuacct]);
        }
        for group in groups {
            if group.exists() {
                remove_tree(group);
            }
        }
    }
}

fn number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn version_1_is_found_in_its_trees() {
        let own = "5:cpu,cpuacct:/a\n4:memory:/b/c\n3:pids:/\n0::/\n";
        let found = Hierarchy::parse(V1, own, "").expect("complete");
        let paths = [
            "/sys/fs/cgroup/memory/b/c",
            "/sys/fs/cgroup/pids",
            "/sys/fs/cgroup/cpu,cpuacct/a",
            "/sys/fs/cgroup/cpu,cpuacct/a",
        ];
        assert_eq!(found, Hierarchy::PerController(paths.map(PathBuf::from).into()));
        assert_eq!(found.version(), 1);
    }

    #[test]
    fn a_named_parent_replaces_our_own_place() {
        let own = "5:cpu,cpuacct:/a\n4:memory:/b/c\n3:pids:/\n0::/\n";
        let found = Hierarchy::parse(V1, own, "/fleet").expect("complete");
        assert!(found.places().iter().all(|place| place.ends_with("fleet")));
    }

    #[test]
    fn a_missing_controller_is_named_with_the_ways_out() {
        let own = "5:cpu,cpuacct:/a\n3:pids:/\n0::/\n";
        let error = Hierarchy::parse(V1, own, "").expect_err("no memory").to_string();
        assert!(error.contains("controller memory"), "{error}");
        assert!(error.contains("--sandbox docker"), "{error}");
    }
}
