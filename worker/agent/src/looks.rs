//! When a running program is looked at: what only a look can tell is noticed late, and every look
//! takes processor time that no program gets.

use std::time::{Duration, Instant};

use rustix::thread::sched_getaffinity;

/// The shortest pause. A limit of CPU time is noticed at most this late, and most programs end before
/// the first look.
const SHORTEST: Duration = Duration::from_millis(20);
/// The longest pause: that late at most is anything else noticed.
const LONGEST: Duration = Duration::from_millis(100);

/// The looks at one program.
#[derive(Debug)]
pub(crate) struct Looks {
    started: Instant,
    next: Instant,
    processors: u32,
    /// Whether nobody but us holds the program to its bounds, so that no pause may be longer than it has
    /// to be.
    alone: bool,
}

impl Looks {
    /// Looks at a program that has `started` and may run on so many `processors` at a time.
    pub(crate) fn since(started: Instant, processors: u32, alone: bool) -> Self {
        Self { started, next: started + SHORTEST, processors, alone }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
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

fn pause(passed: Duration, cpu_left: Option<Duration>, processors: u32) -> Duration {
    let pause = (passed / 2).min(LONGEST);
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
    fn pauses_grow_and_never_pass_the_end_of_the_cpu_time() {
        let ms = Duration::from_millis;
        assert_eq!(pause(ms(20), None, 2), SHORTEST);
        assert_eq!(pause(ms(100), None, 2), ms(50));
        assert_eq!(pause(ms(9000), None, 2), LONGEST);
        assert_eq!(pause(ms(9000), Some(ms(120)), 2), ms(60));
        assert_eq!(pause(ms(9000), Some(ms(120)), 4), ms(30));
        assert_eq!(pause(ms(9000), Some(ms(1)), 4), SHORTEST);
        assert_eq!(pause(ms(9000), Some(ms(9000)), u32::MAX), SHORTEST);
    }
}
