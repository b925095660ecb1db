//! Processes, their parents and their commands.

use std::{fs, path::PathBuf};

use rustix::process::Pid;

/// The children of `process`, a number or `self`; none if it is gone.
pub fn children_of(process: &str) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    let numbers = lists.flat_map(|list| {
        let list = list.unwrap_or_default();
        list.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<i32>>()
    });
    numbers.filter_map(Pid::from_raw).collect()
}

/// What `process`, a number, runs from; nothing if it is gone.
pub fn file_of(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/exe")).ok()
}
