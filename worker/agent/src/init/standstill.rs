//! Stops the program while its objects are counted, if that takes long: it would make more meanwhile.

use std::time::{Duration, Instant};

use rustix::{
    process::{Pid, Signal, kill_process_group},
    time::{ClockId, clock_gettime},
};

/// CPU time of this process from which a count takes long. What a normal program has is counted in a small part of it.
const LONG: Duration = Duration::from_millis(20);

/// One look at the program, which stops it if it takes long, and has it go on at its end.
#[derive(Debug)]
pub(crate) struct Standstill {
    deadline: Option<Instant>,
    /// The CPU time of this process at which the program is stopped, and again if it is still counted then: one of its
    /// processes may have had others continue before it stopped.
    stop_at: Duration,
    has_stopped_it: bool,
}

impl Standstill {
    /// For a look that is given up at the `deadline`.
    pub(crate) fn until(deadline: Instant) -> Self {
        let stop_at = own_cpu_time().saturating_add(LONG);
        Self { deadline: Some(deadline), stop_at, has_stopped_it: false }
    }

    /// Whether the count goes on: to be called between its steps.
    pub(crate) fn goes_on(&mut self) -> bool {
        let now = own_cpu_time();
        if now > self.stop_at {
            signal_all(Signal::STOP);
            self.has_stopped_it = true;
            self.stop_at = now.saturating_add(LONG);
        }
        self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Whether it took long.
    pub(crate) fn has_stopped_it(&self) -> bool {
        self.has_stopped_it
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        if self.has_stopped_it {
            signal_all(Signal::CONT);
        }
    }
}

/// Everything in the namespace but this process: "process group 1" is -1 for kill(2).
fn signal_all(signal: Signal) {
    // There may be no process left.
    let _ = kill_process_group(Pid::INIT, signal);
}

fn own_cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
impl Standstill {
    /// A look that stops nothing: not in a namespace of its own, that would be everything on the machine.
    pub(crate) fn without() -> Self {
        Self { deadline: None, stop_at: Duration::MAX, has_stopped_it: false }
    }
}
