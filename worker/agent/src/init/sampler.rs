//! When the counters of a running program are read. What exceeds a limit between two readings is noticed late,
//! and every reading takes processor time from programs.

use std::time::{Duration, Instant};

use rustix::thread::sched_getaffinity;

/// The shortest pause. A limit of CPU time is noticed at most this late, and most programs end before
/// the first look.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause: anything else about a running program is noticed at most this late.
const LONGEST: Duration = Duration::from_millis(100);
/// A program that used less CPU time than this since the last reading can't have changed much. It is more than
/// the error of subtracting this process's own time.
const QUIET: Duration = Duration::from_micros(50);
/// After this long the counters are read in any case.
const PATIENCE: Duration = Duration::from_secs(1);

/// The readings of one program.
#[derive(Debug)]
pub(crate) struct Sampler {
    started: Instant,
    next: Instant,
    processors: u32,
    /// The last reading, and the CPU time that other processes than this one had used by then.
    seen: Option<(Instant, Duration)>,
    /// Whether only these readings hold the program to its bounds (gVisor): then every pause is the shortest.
    alone: bool,
}

impl Sampler {
    /// For a program that has `started` and may run on so many `processors` at a time.
    pub(crate) fn since(started: Instant, processors: u32, alone: bool) -> Self {
        Self { started, next: started + SHORTEST, processors, seen: None, alone }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Whether to read the other counters: whether other processes than this one, which have used `cpu_time_us`,
    /// have run since the last reading, or that is long ago.
    pub(crate) fn are_worth_it(&mut self, now: Instant, cpu_time_us: Option<u64>) -> bool {
        let seen = cpu_time_us.map(|others| (now, Duration::from_micros(others)));
        let quiet = !self.alone && is_quiet(self.seen, seen);
        if !quiet {
            self.seen = seen;
        }
        !quiet
    }

    /// Sets the time of the next reading, after one at `now` that found `cpu_left` of the program's CPU time:
    /// the longer it runs, the longer the pause, but not beyond the moment at which it may have
    /// used up what is left on all processors.
    ///
    /// If a resource is filling up `quickly` the pause is the shortest.
    pub(crate) fn plan(&mut self, now: Instant, cpu_left: Option<Duration>, quickly: bool) {
        let pause = match self.alone || quickly {
            true => SHORTEST,
            false => pause(now - self.started, cpu_left, self.processors),
        };
        self.next = now + pause;
    }
}

fn is_quiet(seen: Option<(Instant, Duration)>, now: Option<(Instant, Duration)>) -> bool {
    let (Some((before, used_before)), Some((now, used))) = (seen, now) else { return false };
    used.saturating_sub(used_before) < QUIET && now - before < PATIENCE
}

fn pause(passed: Duration, cpu_left: Option<Duration>, processors: u32) -> Duration {
    let pause = passed.min(LONGEST);
    cpu_left.map_or(pause, |left| pause.min(left / processors.max(1))).max(SHORTEST)
}

/// How many processors this process may use, and so the program: which may give some up, but not this
/// process's.
pub(crate) fn processors() -> u32 {
    // Where they can't be counted they are many, and a limit of CPU time is looked at often.
    sched_getaffinity(None).map_or(u32::MAX, |processors| processors.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_used_no_cpu_time_is_quiet_for_a_while() {
        let start = Instant::now();
        let used = |ms, us| Some((start + Duration::from_millis(ms), Duration::from_micros(us)));
        assert!(!is_quiet(None, used(0, 0)), "the first look");
        assert!(!is_quiet(used(0, 1000), None), "no counter");
        assert!(is_quiet(used(0, 1000), used(900, 1049)));
        assert!(is_quiet(used(0, 1000), used(900, 980)), "counted a little apart");
        assert!(!is_quiet(used(0, 1000), used(20, 1050)), "it has run");
        assert!(!is_quiet(used(0, 1000), used(1000, 1000)), "long ago");
    }

    #[test]
    fn pauses_grow_and_never_pass_the_end_of_the_cpu_time() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(20), None, 2), SHORTEST);
        assert_eq!(pause(ms(60), None, 2), ms(60));
        assert_eq!(pause(ms(9000), None, 2), LONGEST);
        assert_eq!(pause(ms(9000), Some(ms(120)), 2), ms(60));
        assert_eq!(pause(ms(9000), Some(ms(120)), 4), ms(30));
        assert_eq!(pause(ms(9000), Some(ms(1)), 4), SHORTEST);
        assert_eq!(pause(ms(9000), Some(ms(9000)), u32::MAX), SHORTEST);
    }
}
