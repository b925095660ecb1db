use super::*;

fn proc(available_mib: u64) -> tempfile::TempDir {
    let proc = tempfile::tempdir().expect("room");
    set(proc.path(), available_mib);
    proc
}

fn set(proc: &Path, available_mib: u64) {
    let kib = available_mib << 10;
    let text = format!("MemTotal:  9999999 kB\nMemFree:  1 kB\nMemAvailable:  {kib} kB\n");
    fs::write(proc.join("meminfo"), text).expect("room");
}

#[test]
fn a_host_is_short_below_the_bound_and_by_itself_no_more_above_it() {
    let proc = proc(1000);
    let memory = HostMemory::new(proc.path(), 256 << 20);
    assert_eq!(memory.check(), Ok(()));
    set(proc.path(), 255);
    let reason = memory.check().expect_err("it is short");
    assert!(reason.contains("255 MiB available"), "{reason}");
    assert!(reason.contains("worker.min_available_bytes is 256 MiB"), "{reason}");
    set(proc.path(), 256);
    assert_eq!(memory.check(), Ok(()));
    set(proc.path(), 0);
    assert_eq!(HostMemory::new(proc.path(), 0).check(), Ok(()), "switched off");
    assert_eq!(HostMemory::new("/nowhere", 1).check(), Ok(()), "unknown");
}

#[test]
fn a_host_that_killed_a_job_is_short_for_a_while_whatever_is_available_then() {
    let proc = proc(100_000);
    let memory = HostMemory::new(proc.path(), 1);
    memory.note_kill();
    assert_eq!(memory.kills(), 1);
    assert!(memory.check().expect_err("just now").contains("ran out of memory"));
    memory.state().last_kill = Instant::now().checked_sub(AFTER_A_KILL);
    assert_eq!(memory.check(), Ok(()));
}

#[test]
fn what_the_slots_may_hold_is_named_with_the_settings_if_it_is_not_there() {
    let mut settings = Settings::load(None, Vec::new()).expect("the defaults");
    settings.worker.slots = 4;
    settings.limits.max.memory_bytes = 1 << 30;
    let (short, enough) = (proc(4096), proc(9000));
    let reason = reserve(short.path(), &settings, &settings.limits.max).expect_err("not enough");
    for part in
        ["4 jobs", "memory_bytes = 1024 MiB", "4096 MiB are available", "limits.max.memory_bytes"]
    {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(reserve(enough.path(), &settings, &settings.limits.max).is_ok());
    assert_eq!(needed(usize::MAX, &settings.limits.max), u64::MAX, "no number turns into little");
}
