//! Processes that no signal ends: what version 1's freezer holds dies only when it is let go.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use uuid::Uuid;

const FREEZER: &str = "/sys/fs/cgroup/freezer";

/// Processes that are held. They go on, or die of what was sent to them meanwhile, when this goes.
#[derive(Debug)]
pub struct Frozen(PathBuf);

impl Frozen {
    /// Whether this host has that freezer. Version 2's lets what it holds be killed.
    pub fn is_offered() -> bool {
        Path::new(FREEZER).join("cgroup.procs").exists()
    }

    /// Holds `processes`.
    ///
    /// # Panics
    /// If they can't be held.
    pub fn hold(processes: &[u32]) -> Self {
        let group = Path::new(FREEZER).join(format!("test-{}", Uuid::now_v7().simple()));
        fs::create_dir(&group).expect("we are root");
        let frozen = Self(group);
        for process in processes {
            frozen.write("cgroup.procs", &process.to_string());
        }
        frozen.write("freezer.state", "FROZEN");
        frozen.wait("FROZEN");
        frozen
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    fn wait(&self, state: &str) {
        let give_up = Instant::now() + Duration::from_secs(10);
        let now = || fs::read_to_string(self.0.join("freezer.state")).unwrap_or_default();
        while now().trim() != state {
            assert!(Instant::now() < give_up, "not {state} but {}", now());
            thread::yield_now();
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let give_up = Instant::now() + Duration::from_secs(10);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < give_up {
            let left = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
            for process in left.lines() {
                let _ = fs::write(Path::new(FREEZER).join("cgroup.procs"), process);
            }
            thread::yield_now();
        }
    }
}
