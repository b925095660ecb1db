//! What is written into a control group is a limit, whatever the numbers.
//!
//! `PROPTEST_CASES` says how many cases each property is tried on.

use proptest::{prelude::*, sample::select};

use super::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![select(vec![0, 1, 4095, 1 << 50, 1 << 63, u64::MAX - 1, u64::MAX]), any::<u64>()]
}

/// A group of files that only look like one.
pub(super) fn group(directory: &Path, version: u32) -> SlotCgroup {
    for file in [
        "pids.max",
        "memory.max",
        "memory.oom.group",
        "memory.swap.max",
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.current",
        "memory.usage_in_bytes",
    ] {
        fs::write(directory.join(file), "").expect("room");
    }
    let part = || directory.to_owned();
    let peak = File::options().write(true).open("/dev/null").expect("it is there");
    let (memory, pids, cpu, cpuacct) = (part(), part(), part(), part());
    SlotCgroup {
        version,
        memory,
        pids,
        cpu,
        cpuacct,
        peak,
        lasting_peak: None,
        applied: None,
        launcher_bytes: 0,
    }
}

/// Each case makes files: a quarter of them is enough.
fn fewer() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: (all.cases / 4).max(1), ..all }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn every_limit_is_written_as_a_positive_number(
        version in 1..=2u32,
        memory_bytes in number(),
        processes in number(),
    ) {
        let directory = tempfile::tempdir().expect("room");
        let mut group = group(directory.path(), version);
        let limits = Limits { memory_bytes, processes, ..Limits::default() };
        group.apply(&limits, &Policy::strict()).expect("files can be written");
        let written = |file: &str| {
            let text = fs::read_to_string(directory.path().join(file)).expect("it is there");
            text.parse::<u64>().ok()
        };
        let memory = if version == 2 { "memory.max" } else { "memory.limit_in_bytes" };
        for (file, asked) in [(memory, memory_bytes), ("pids.max", processes)] {
            let found = written(file);
            prop_assert!(found.is_some_and(|found| found > 0 && found >= asked), "{file}: {found:?}");
        }
        match version {
            2 => prop_assert_eq!(written("memory.swap.max"), Some(0)),
            _ => prop_assert_eq!(written("memory.memsw.limit_in_bytes"), written(memory)),
        }
        // The files are no group's to remove.
        group.memory = directory.path().join("none");
        (group.pids, group.cpu, group.cpuacct) =
            (group.memory.clone(), group.memory.clone(), group.memory.clone());
    }
}
