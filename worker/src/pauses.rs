//! How long to wait before something that failed is tried again.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Pauses that double up to the longest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    /// Begins with `first`.
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first.min(longest), longest }
    }

    /// Leaves out the pauses of so many failures before.
    pub(crate) fn after(self, failures: u32) -> Self {
        let next = self.next.saturating_mul(2_u32.saturating_pow(failures));
        Self::new(next, self.longest)
    }

    /// How long to wait now; the next time twice as long.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        *self = self.after(1);
        pause
    }
}

/// Up to half of `pause` less, so that a fleet doesn't come back all at once.
pub(crate) fn jittered(pause: Duration) -> Duration {
    // The keys of a new hash state are random, which saves a crate for one number.
    let random = RandomState::new().hash_one(0) % 1024;
    pause.mul_f64(1.0 - random as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest() {
        let (first, longest) = (Duration::from_millis(200), Duration::from_secs(10));
        let fresh = Pauses::new(first, longest);
        let mut pauses = fresh;
        for (failures, times) in [1, 2, 4, 8, 16, 32, 50, 50].into_iter().enumerate() {
            let pause = pauses.next();
            assert_eq!(pause, first * times);
            assert_eq!(fresh.after(failures as u32).next(), pause, "{failures}");
        }
        assert_eq!([100, u32::MAX].map(|failures| fresh.after(failures).next()), [longest; 2]);
        assert!((longest / 2..=longest).contains(&jittered(longest)));
    }
}
