//! What is read of a control group, from files that only look like one.

use super::{fuzz::group, *};

#[test]
fn a_kill_without_the_groups_limit_is_told_from_one_because_of_it() {
    let directory = tempfile::tempdir().expect("room");
    let set = |file: &str, text: &str| fs::write(directory.path().join(file), text).expect("room");
    let v2 = group(directory.path(), 2);
    set("memory.events", "low 0\nhigh 0\nmax 7\noom 0\noom_kill 1\noom_group_kill 0\n");
    assert_eq!(v2.memory_events(), MemoryEvents { kills: 1, limit_hits: 0 }, "the host's");
    set("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n");
    assert_eq!(v2.memory_events(), MemoryEvents { kills: 1, limit_hits: 2 });

    let v1 = group(directory.path(), 1);
    set("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
    set("memory.limit_in_bytes", "33554432\n");
    set("memory.max_usage_in_bytes", "20000000\n");
    assert_eq!(v1.memory_events(), MemoryEvents { kills: 1, limit_hits: 0 }, "the host's");
    set("memory.memsw.max_usage_in_bytes", "33554432\n");
    assert_eq!(v1.memory_events(), MemoryEvents { kills: 1, limit_hits: 1 }, "swap counts too");
    set("memory.memsw.max_usage_in_bytes", "0\n");
    set("memory.max_usage_in_bytes", "33521664\n");
    assert_eq!(v1.memory_events(), MemoryEvents { kills: 1, limit_hits: 1 }, "eight pages less");
}

#[test]
fn a_peak_of_the_groups_whole_life_is_a_jobs_only_if_it_rose() {
    let directory = tempfile::tempdir().expect("room");
    let file = directory.path().join("memory.peak");
    let set = |text: &str| fs::write(&file, text).expect("room");
    set("5000\n");
    let mut group = group(directory.path(), 2);
    group.lasting_peak = Some(LastingPeak { file: file.clone(), seen: 0 });
    fs::write(directory.path().join("memory.current"), "1000\n").expect("room");
    let apply = |group: &mut SlotCgroup| group.apply(&Limits::default(), &Policy::strict());
    assert_eq!(apply(&mut group).expect("applied"), 1000);
    assert_eq!(group.risen_peak(), None, "an earlier job's");
    set("7000\n");
    assert_eq!(group.risen_peak(), Some(7000));
    apply(&mut group).expect("applied");
    assert_eq!(group.risen_peak(), None);
}
