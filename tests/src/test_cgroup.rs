//! A control group of a test's own, below which the workers of that test make theirs.

use std::{
    fs, io,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

/// One directory in every hierarchy of control groups that sandboxes need. What is in them at the
/// end is killed and removed, also when the test fails.
#[derive(Debug)]
pub struct TestCgroup {
    name: String,
    directories: Vec<PathBuf>,
    /// Where this process was: on version 2 a sandbox moves it into the control group.
    home: Option<PathBuf>,
}

impl TestCgroup {
    /// A control group that nothing else uses.
    ///
    /// # Panics
    /// If this host has no control groups that we may make.
    pub fn fresh() -> Self {
        let name = format!("test-{}", Uuid::now_v7().simple());
        let mounts = mounts();
        let per_controller: Vec<_> = ["memory", "pids", "cpu", "cpuacct"]
            .iter()
            .filter_map(|controller| mounts.iter().find(|mount| mount.has(controller)))
            .map(|mount| mount.target.clone())
            .collect();
        let (trees, home) = if per_controller.len() == 4 {
            (per_controller, None)
        } else {
            let unified = mounts.iter().find(|mount| mount.kind == "cgroup2");
            let tree = unified.expect("this host has control groups").target.clone();
            // Whoever set the host up has usually done it already.
            let _ = fs::write(tree.join("cgroup.subtree_control"), "+memory +pids +cpu");
            let own = fs::read_to_string("/proc/self/cgroup").expect("/proc is there");
            let own = own.trim_end().rsplit(':').next().unwrap_or_default();
            let home = tree.join(own.trim_start_matches('/'));
            (vec![tree], Some(home))
        };
        let mut directories: Vec<PathBuf> = Vec::new();
        for tree in trees {
            let directory = tree.join(&name);
            // cpu and cpuacct are often one tree under two names.
            match fs::create_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
                    directories.push(directory);
                }
            }
        }
        Self { name, directories, home }
    }

    /// Its path as `sandbox.cgroup_parent` takes it.
    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    /// Its directories, one in every hierarchy.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Lets `user` make groups in it.
    ///
    /// # Panics
    /// If that isn't ours to give.
    pub fn give_to(&self, user: u32) {
        for directory in &self.directories {
            chown(directory, Some(user), Some(user)).expect("we are root");
            for file in ["cgroup.procs", "cgroup.subtree_control"] {
                match chown(directory.join(file), Some(user), Some(user)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
                    _ => {}
                }
            }
        }
    }

    fn clear(&self) -> bool {
        let me = std::process::id();
        let mut all_gone = true;
        for directory in &self.directories {
            let groups = groups_below(directory);
            for process in groups.iter().flat_map(|group| processes_in(group)) {
                if process == me {
                    if let Some(home) = &self.home {
                        let _ = fs::write(home.join("cgroup.procs"), me.to_string());
                    }
                } else if let Some(pid) = Pid::from_raw(process as i32) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            for group in groups.iter().rev() {
                let _ = fs::remove_dir(group);
            }
            all_gone &= !directory.exists();
        }
        all_gone
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(10);
        while !self.clear() {
            if Instant::now() >= end {
                let sentence = format!("control groups {} are left behind", self.name);
                // A second panic would hide the first.
                match thread::panicking() {
                    true => return eprintln!("{sentence}"),
                    false => panic!("{sentence}"),
                }
            }
            // A dead process takes a moment to leave its group.
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A group and all below it, from the top.
pub(crate) fn groups_below(top: &Path) -> Vec<PathBuf> {
    let mut groups = vec![top.to_owned()];
    let mut next = 0;
    while next < groups.len() {
        // It may vanish while we look.
        let entries = fs::read_dir(&groups[next]).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let inner: Vec<_> = inner.map(|entry| entry.path()).collect();
        groups.extend(inner);
        next += 1;
    }
    groups
}

/// The processes in a group, not in those below it.
pub(crate) fn processes_in(group: &Path) -> Vec<u32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

struct Mount {
    target: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    fn has(&self, controller: &str) -> bool {
        self.kind == "cgroup" && self.options.split(',').any(|option| option == controller)
    }
}

fn mounts() -> Vec<Mount> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let parse = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        Some(Mount {
            target: left.split(' ').nth(4)?.into(),
            kind: right.next()?.to_owned(),
            options: right.nth(1)?.to_owned(),
        })
    };
    text.lines().filter_map(parse).collect()
}
