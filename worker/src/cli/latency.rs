//! How long things took, kept exactly: a sorted array and no buckets.

use std::time::Duration;

/// Durations of one kind, for percentiles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latencies(Vec<Duration>);

impl From<Vec<Duration>> for Latencies {
    fn from(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }
}

impl Latencies {
    /// The smallest of them that at least `share` (0 to 1) of all are not longer than; `None` if
    /// there are none.
    pub fn at(&self, share: f64) -> Option<Duration> {
        // The nearest rank: always one that was really seen, never a mean of two. The small step
        // down is for products such as 0.07 * 100, which is a little more than 7.
        let rank = (share * self.0.len() as f64 - 1e-9).ceil().max(1.0) as usize;
        self.0.get(rank.min(self.0.len()).checked_sub(1)?).copied()
    }

    /// The longest.
    pub fn max(&self) -> Option<Duration> {
        self.0.last().copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl Iterator<Item = u64>) -> Latencies {
        milliseconds.map(Duration::from_millis).collect::<Vec<_>>().into()
    }

    #[test]
    fn a_percentile_is_the_nearest_rank_of_what_was_seen() {
        let hundred = of((1..=100).rev());
        for (share, expected) in [(0.0, 1), (0.01, 1), (0.07, 7), (0.5, 50), (0.99, 99), (1.0, 100)]
        {
            assert_eq!(hundred.at(share), Some(Duration::from_millis(expected)), "{share}");
        }
        // One more than all but the longest: the next one.
        assert_eq!(hundred.at(0.991), hundred.max());
        assert_eq!(of([5, 1, 3].into_iter()).at(0.5), Some(Duration::from_millis(3)));
        assert_eq!(of([5, 1].into_iter()).at(0.999), Some(Duration::from_millis(5)));
        assert_eq!(hundred.count(), 100);
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Latencies::default().at(0.5), None);
        assert_eq!(Latencies::default().max(), None);
    }
}
