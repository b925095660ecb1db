//! Waiting for what happens, ending every process of the program and collecting them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, WaitOptions, WaitStatus, kill_process_group, wait},
};

/// How long after a kill it is tried again on what lives on.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// Waits until one of the descriptors has something or `until` has come; says which have.
pub(super) fn await_events<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    until: Instant,
) -> io::Result<[bool; N]> {
    await_events_or_room(descriptors, None, until).map(|(events, _)| events)
}

/// As [`await_events`], or until `full` has room; says whether it has, too.
pub(super) fn await_events_or_room<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    full: Option<BorrowedFd<'_>>,
    until: Instant,
) -> io::Result<([bool; N], bool)> {
    let mut waiting: Vec<PollFd<'_>> = Vec::with_capacity(N + 1);
    for descriptor in descriptors.iter().flatten() {
        waiting.push(PollFd::from_borrowed_fd(*descriptor, PollFlags::IN));
    }
    waiting.extend(full.map(|full| PollFd::from_borrowed_fd(full, PollFlags::OUT)));
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut waiting, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut events = waiting.iter().map(|waited| !waited.revents().is_empty());
    let ready = descriptors.map(|it| it.is_some() && events.next().unwrap_or(false));
    Ok((ready, events.next().unwrap_or(false)))
}

pub(super) fn drain(signals: &OwnedFd) {
    // Only says that something ended; which, wait says. The descriptor doesn't block.
    let mut buffer = [0u8; 128];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|length| length > 0) {}
}

/// Ends every process of the namespace but this one, and collects them all.
pub(super) fn end_all(
    main: Pid,
    status: &mut Option<WaitStatus>,
    signals: &OwnedFd,
) -> io::Result<()> {
    loop {
        kill_all()?;
        if reap(main, status)? == Children::None {
            return Ok(());
        }
        // Linux kills them in one step: a process that forks meanwhile is either seen or sees the
        // signal before its child exists. In gVisor the child of such a process lives on, and has
        // children of its own: once isn't enough there.
        await_events([Some(signals.as_fd())], Instant::now() + KILL_AGAIN)?;
        drain(signals);
    }
}

fn kill_all() -> io::Result<()> {
    // "Process group 1" is -1 for kill(2): every process but this one.
    match kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there are any that have not been collected.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Children {
    Some,
    None,
}

/// Collects children that ended, orphans included, and keeps the status of `main`.
pub(super) fn reap(main: Pid, status: &mut Option<WaitStatus>) -> io::Result<Children> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == main => *status = Some(ended),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Children::Some),
            Err(rustix::io::Errno::CHILD) => return Ok(Children::None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
