//! What becomes of a slot that is given up: its processes are killed and its groups removed, and what
//! the kernel doesn't let go keeps its user number and takes a slot out until it is gone.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{runtime::Handle, time::sleep};
use tokio_util::task::TaskTracker;

use super::cgroup::{FIRST_TRIES, remove_once, remove_within};
use crate::{
    host::processes::{self, Process},
    pauses::Pauses,
    sandbox::{capacity::Capacity, uid_pool::ReservedUser},
};

/// How long after a removal that failed it is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where slots go that are given up.
#[derive(Debug, Clone)]
pub(crate) struct Disposal {
    pub(crate) capacity: Arc<Capacity>,
    pub(crate) cleanups: TaskTracker,
}

/// The groups and the user of a slot. They are disposed of when this goes.
#[derive(Debug)]
pub(crate) struct Premises {
    groups: Vec<PathBuf>,
    user: Option<ReservedUser>,
    disposal: Disposal,
}

impl Premises {
    pub(crate) fn new(groups: Vec<PathBuf>, user: ReservedUser, disposal: Disposal) -> Self {
        Self { groups, user: Some(user), disposal }
    }
}

impl Drop for Premises {
    fn drop(&mut self) {
        let (groups, user) = (std::mem::take(&mut self.groups), self.user.take());
        match Handle::try_current() {
            Ok(_) => {
                let disposal = self.disposal.clone();
                let place = disposal.capacity.hold();
                let capacity = Arc::clone(&disposal.capacity);
                disposal.cleanups.spawn(async move {
                    dispose(groups, user, capacity).await;
                    drop(place);
                });
            }
            // The process is about to end: its next start reaps what is left.
            Err(_) => _ = remove_all(&groups),
        }
    }
}

/// Kills and removes; comes back when that is done or can't be done soon.
async fn dispose(groups: Vec<PathBuf>, user: Option<ReservedUser>, capacity: Arc<Capacity>) {
    let groups = Arc::new(groups);
    let first = Arc::clone(&groups);
    match tokio::task::spawn_blocking(move || remove_all(&first)).await {
        Ok(true) => return,
        Ok(false) => {}
        // The runtime is shutting down: the process's next start reaps what is left.
        Err(_) => return,
    }
    let lost = capacity.lose(describe(&groups));
    // Nothing that closes waits for this: it may never end.
    tokio::spawn(async move {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            sleep(pauses.next()).await;
            let again = Arc::clone(&groups);
            let removed =
                tokio::task::spawn_blocking(move || again.iter().all(|it| remove_once(it)));
            if removed.await.unwrap_or(false) {
                break;
            }
        }
        // Another slot may have the user only now.
        drop((user, lost));
    });
}

fn remove_all(groups: &[PathBuf]) -> bool {
    remove_within(groups, FIRST_TRIES)
}

/// The processes in the first of `groups`, for one line.
fn describe(groups: &[PathBuf]) -> String {
    let Some(group) = groups.first() else { return "nothing".into() };
    match processes_in(group) {
        found if found.is_empty() => format!("the control group {}", group.display()),
        found => processes::listed(&found),
    }
}

/// The processes in a group, those that can't be interrupted first.
pub(crate) fn processes_in(group: &Path) -> Vec<Process> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    let mut found: Vec<Process> =
        numbers.filter_map(|number| Process::read(Path::new("/proc"), number)).collect();
    found.sort_by_key(|process| !process.is_uninterruptible());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_group_that_can_not_be_removed_takes_a_slot_out_and_keeps_its_user_until_it_is_gone()
    {
        let root = tempfile::tempdir().expect("room");
        let group = root.path().join("slot-0");
        fs::create_dir(&group).expect("room");
        // No control group, so what is in it keeps it from being removed.
        let holder = group.join("something");
        fs::write(&holder, "").expect("room");
        let capacity = Capacity::new(1);
        let disposal = Disposal { capacity: Arc::clone(&capacity), cleanups: TaskTracker::new() };
        let base = 3_100_000_000;
        let user = ReservedUser::reserve(base, 0).expect("a number");
        drop(Premises::new(vec![group.clone()], user, disposal.clone()));
        disposal.cleanups.close();
        disposal.cleanups.wait().await;
        assert!(capacity.exhausted().await.contains("slot-0"));
        assert_eq!(ReservedUser::reserve(base, 0).expect("the next").id, base + 1);

        fs::remove_file(&holder).expect("ours");
        let place = capacity.enter();
        let place = tokio::time::timeout(Duration::from_secs(30), async {
            while capacity.lost() > 0 {
                tokio::task::yield_now().await;
            }
            place.await
        });
        assert!(place.await.expect("soon").is_ok());
        assert!(!group.exists());
        assert_eq!(ReservedUser::reserve(base, 0).expect("the first").id, base);
    }
}
