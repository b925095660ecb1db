//! Control groups, version 1 and 2: one group per slot, kept for all its jobs.
//!
//! A group per job would cost a quarter of a millisecond and, on version 1, moving a running
//! process into it disturbs the whole machine. So the slot's launcher sits in the slot's group
//! and every container is born there; between jobs the limits are rewritten and the counters are
//! read as differences.

mod slot_cgroup;
mod worker_cgroup;

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

pub(crate) use slot_cgroup::{MemoryEvents, SlotCgroup};
pub(crate) use worker_cgroup::{FIRST_TRIES, WorkerCgroup, remove_once, remove_within};

use crate::{
    host::limits::{self, Need},
    sandbox::SandboxError,
};

/// What doctor calls it.
pub(crate) const BARRIER: &str = "control groups";

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

/// What is needed of version 2.
const UNIFIED_CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The group that a worker moves itself into, where version 2 asks for that: below the place that
/// it works in.
const LEAF: &str = "sandfleet.worker";

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
        let unified = place("").map(out_of_leaf);
        let not_offered = unified.as_deref().map(not_offered).unwrap_or_default();
        if let Some(place) = unified.as_ref().filter(|_| not_offered.is_empty()) {
            return Ok(Self::Unified(place.clone()));
        }
        let absent: Vec<_> = CONTROLLERS
            .iter()
            .zip(&per_controller)
            .filter(|(_, found)| found.is_none())
            .map(|(name, _)| *name)
            .collect();
        Err(missing(match unified {
            Some(place) if absent.len() == CONTROLLERS.len() => format!(
                "{} isn't offered {} (see cgroup.controllers there; systemd before version 252 \
                 keeps cpu to itself until Delegate=cpu memory pids is set for user@.service)",
                place.display(),
                not_offered.join(", "),
            ),
            _ => format!("no usable controller {} in this place", absent.join(", ")),
        }))
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

/// The place that a worker works in, also once it has moved itself into its leaf there.
fn out_of_leaf(own: PathBuf) -> PathBuf {
    match own.parent() {
        Some(above) if own.ends_with(LEAF) => above.to_owned(),
        _ => own,
    }
}

/// What a version 2 group would need for its children and hasn't got.
fn not_offered(place: &Path) -> Vec<&'static str> {
    lacking(&fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default())
}

/// Which controllers a list of version 2 lacks.
fn lacking(list: &str) -> Vec<&'static str> {
    let listed = |name: &&str| list.split_whitespace().any(|other| other == *name);
    UNIFIED_CONTROLLERS.into_iter().filter(|name| !listed(name)).collect()
}

fn is_same(a: &Path, b: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => a == b,
    }
}

fn missing(reason: String) -> SandboxError {
    let number = limits::error_number(&reason);
    if let Some(limit) = number.and_then(|number| limits::reached(Need::ControlGroup, number)) {
        return SandboxError::Barrier {
            barrier: BARRIER,
            reason: format!("the barrier \"{BARRIER}\" can't be installed: {reason}: {limit}"),
            fix: limit.fix.into(),
        };
    }
    let scope = match rustix::process::geteuid().is_root() {
        true => {
            "run in a scope of your own (systemd-run --scope -p Delegate=yes sandfleet …) or, as a \
             service, with Delegate=yes in its unit"
        }
        false => {
            "run as root, or in a delegated scope (systemd-run --user --scope -p Delegate=yes \
             sandfleet …; without a login session it takes loginctl enable-linger first)"
        }
    };
    SandboxError::Barrier {
        barrier: BARRIER,
        reason: format!("the barrier \"{BARRIER}\" can't be installed: {reason}"),
        fix: format!(
            "{scope}, or, started below it, name a group that this user may write to \
             (sandbox.cgroup_parent), or use --sandbox docker"
        ),
    }
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

fn write(directory: &Path, file: &str, value: &str) -> io::Result<()> {
    let path = directory.join(file);
    let write = || File::options().write(true).open(&path)?.write_all(value.as_bytes());
    write().map_err(|error| {
        io::Error::new(error.kind(), format!("writing {value:?} to {}: {error}", path.display()))
    })
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
    fn a_worker_in_its_leaf_works_in_the_place_above() {
        let place = PathBuf::from("/sys/fs/cgroup/own.scope");
        assert_eq!(out_of_leaf(place.clone()), place);
        assert_eq!(out_of_leaf(place.join(LEAF)), place);
    }

    #[test]
    fn what_a_list_of_controllers_lacks_is_named() {
        assert_eq!(lacking("cpuset cpu io memory pids\n"), [""; 0]);
        assert_eq!(lacking("cpuset memory pids\n"), ["cpu"]);
        assert_eq!(lacking(""), UNIFIED_CONTROLLERS);
    }

    #[test]
    fn a_missing_controller_is_named_with_the_ways_out() {
        let own = "5:cpu,cpuacct:/a\n3:pids:/\n0::/\n";
        let error = Hierarchy::parse(V1, own, "").expect_err("no memory").to_string();
        assert!(error.contains("controller memory"), "{error}");
        assert!(error.contains("--sandbox docker"), "{error}");
    }
}
