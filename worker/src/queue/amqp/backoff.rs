//! How long to wait before something is tried again that failed at the broker.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pause after what has failed so many times before: it doubles each time.
pub(super) fn pause(failures: u32) -> Duration {
    SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)
}

/// Up to half of `pause` less, so that a fleet doesn't come back all at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    // The keys of a new hash state are random, which saves a crate for one number.
    let random = RandomState::new().hash_one(0) % 1024;
    pause.mul_f64(1.0 - random as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest() {
        assert_eq!([0, 1, 2].map(pause), [1, 2, 4].map(|times| SHORTEST_PAUSE * times));
        assert_eq!([6, 100, u32::MAX].map(pause), [LONGEST_PAUSE; 3]);
        assert!((LONGEST_PAUSE / 2..=LONGEST_PAUSE).contains(&jittered(LONGEST_PAUSE)));
    }
}
