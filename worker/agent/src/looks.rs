//! When a running program is looked at: what only a look can tell is noticed late, and every look
//! takes processor time that no program gets.

use std::time::{Duration, Instant};

use rustix::{
    thread::sched_getaffinity,
    time::{ClockId, clock_gettime},
};

/// The shortest pause. A limit of CPU time is noticed at most this late, and most programs end before
/// the first look.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause: that late at most is anything else noticed.
const LONGEST: Duration = Duration::from_millis(100);
/// With less CPU time than this nothing was done that would have to be looked at.
const QUIET: Duration = Duration::from_micros(100);

/// The looks at one program.
#[derive(Debug)]
pub(crate) struct Looks {
    started: Instant,
    next: Instant,
    processors: u32,
    /// What others than this process had used when something was looked at.
    seen: Option<Duration>,
    /// Whether nobody but us holds the program to its bounds, so that no pause may be longer than it has
    /// to be.
    alone: bool,
}

impl Looks {
    /// Looks at a program that has `started` and may run on so many `processors` at a time.
    pub(crate) fn since(started: Instant, processors: u32, alone: bool) -> Self {
        Self { started, next: started + SHORTEST, processors, seen: None, alone }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Whether there is anything to look at: whether others than this process have run since there last
    /// was, if all together have used `cpu_time_us`.
    pub(crate) fn are_worth_it(&mut self, cpu_time_us: Option<u64>) -> bool {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let own = Duration::try_from(own).unwrap_or_default();
        let others = cpu_time_us.map(|all| Duration::from_micros(all).saturating_sub(own));
        let quiet = is_quiet(self.seen, others);
        if !quiet {
            self.seen = others;
        }
        !quiet
    }

    /// Says when the next is due, after one at `now` that found `cpu_left` of the program's CPU time:
    /// the longer it runs, the longer it is left alone, but not beyond the moment at which it may have
    /// used up what is left on all processors that there are.
    pub(crate) fn plan(&mut self, now: Instant, cpu_left: Option<Duration>) {
        let pause = match self.alone {
            true => SHORTEST,
            false => pause(now - self.started, cpu_left, self.processors),
        };
        self.next = now + pause;
    }
}

fn is_quiet(seen: Option<Duration>, now: Option<Duration>) -> bool {
    seen.zip(now).is_some_and(|(seen, now)| now.saturating_sub(seen) < QUIET)
}

fn pause(passed: Duration, cpu_left: Option<Duration>, processors: u32) -> Duration {
    let pause = passed.min(LONGEST);
    cpu_left.map_or(pause, |left| pause.min(left / processors.max(1))).max(SHORTEST)
}

/// How many processors this process may use. A program may change that of its own user's processes, and this is
/// one: so it has to be asked before there is a program.
pub(crate) fn processors() -> u32 {
    // Where they can't be counted they are many, and a limit of CPU time is looked at often.
    sched_getaffinity(None).map_or(u32::MAX, |processors| processors.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_used_no_cpu_time_is_quiet() {
        let us = |us| Some(Duration::from_micros(us));
        assert!(!is_quiet(None, us(0)), "the first look");
        assert!(!is_quiet(us(1000), None), "nobody counts");
        assert!(is_quiet(us(1000), us(1099)));
        assert!(!is_quiet(us(1000), us(1100)));
        assert!(is_quiet(us(1000), us(950)), "counted a little apart");
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
