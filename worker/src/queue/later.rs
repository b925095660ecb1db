//! The delays of messages that are put off: in which of the `later` queues they wait, and how long they have
//! waited.

use std::time::Duration;

use sandfleet_transport::LATER;

/// Up to how many times a message waits in each queue but the last: about 1 s, then 20 s.
const TIMES: [u32; LATER.len() - 1] = [5, 25];

/// In which of the queues for that a message waits that was put off so many times before.
pub(in crate::queue) fn step(put_off: u32) -> usize {
    TIMES.iter().position(|times| put_off < *times).unwrap_or(TIMES.len())
}

/// How long a message has waited at least that was put off so many times.
pub fn waited(put_off: u32) -> Duration {
    let mut from = 0;
    let mut waited = Duration::ZERO;
    for (delay, to) in LATER.iter().zip(TIMES.into_iter().chain([u32::MAX])) {
        let times = put_off.min(to) - from;
        waited = waited.saturating_add(delay.saturating_mul(times));
        from = put_off.min(to);
    }
    waited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_off_waits_longer_and_longer() {
        let mut sum = Duration::ZERO;
        for put_off in 0..100 {
            assert_eq!(waited(put_off), sum, "{put_off}");
            sum += LATER[step(put_off)];
        }
        assert_eq!([step(0), step(4), step(5), step(24), step(25)], [0, 0, 1, 1, 2]);
        assert!(waited(u32::MAX) > Duration::from_secs(86_400 * 365));
    }
}
