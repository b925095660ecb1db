//! What jobs have asked for lately, and so how many containers should wait for the next ones.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::sandbox::docker::spec::ContainerKey;

/// As many containers of a shape wait as were asked for in this time.
const LATELY: Duration = Duration::from_secs(30);

/// One waits for so long after the last that was asked for.
const REMEMBERED: Duration = Duration::from_secs(300);

/// A shape that was asked for only once may never be again: jobs that each ask for a new shape must not have
/// a container made in vain each time.
const CONVINCING: usize = 2;

/// Shapes that are remembered.
const KEYS: usize = 64;

/// Which shapes were asked for, and when.
pub(super) struct Demand {
    /// The most containers that may wait together.
    size: usize,
    /// The shape that was asked for last comes first; of each, the last times, oldest first.
    asked: VecDeque<(ContainerKey, VecDeque<Instant>)>,
}

impl Demand {
    pub(super) fn new(size: usize) -> Self {
        Self { size, asked: VecDeque::new() }
    }

    /// A job asked for a container of this shape.
    pub(super) fn note(&mut self, key: &ContainerKey, now: Instant) {
        let known = self.asked.iter().position(|(known, _)| known == key);
        let known = known.and_then(|at| self.asked.remove(at));
        let mut times = known.map_or_else(VecDeque::new, |(_, times)| times);
        times.push_back(now);
        if times.len() > self.size.max(CONVINCING) {
            times.pop_front();
        }
        self.asked.push_front((key.clone(), times));
        self.asked.truncate(KEYS);
    }

    /// How many containers of each shape should wait: in turns, until all have what they want or
    /// there are enough. Shapes that none should wait for are left out.
    pub(super) fn targets(&self, now: Instant) -> Vec<(ContainerKey, usize)> {
        let mut targets: Vec<(ContainerKey, usize)> = Vec::new();
        let mut left = self.size;
        for turn in 0..self.size {
            for (key, times) in &self.asked {
                if left == 0 {
                    return targets;
                }
                if wanted(times, now) <= turn {
                    continue;
                }
                match targets.iter_mut().find(|(target, _)| target == key) {
                    Some((_, count)) => *count += 1,
                    None => targets.push((key.clone(), 1)),
                }
                left -= 1;
            }
        }
        targets
    }
}

fn wanted(times: &VecDeque<Instant>, now: Instant) -> usize {
    let within = |time: Duration| times.iter().filter(|at| now.duration_since(**at) < time).count();
    match within(REMEMBERED) {
        CONVINCING.. => within(LATELY).max(1),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use sandfleet_common::Limits;

    use super::*;

    fn key(processes: u64) -> ContainerKey {
        ContainerKey::of(&"".into(), &Limits { processes, ..Limits::default() })
    }

    #[test]
    fn as_many_wait_as_were_asked_for_lately_and_no_more_than_allowed() {
        let (mut demand, begun) = (Demand::new(4), Instant::now());
        let asked =
            |demand: &mut Demand, times| (0..times).for_each(|_| demand.note(&key(1), begun));
        asked(&mut demand, 1);
        assert_eq!(demand.targets(begun), [], "once is no demand");
        asked(&mut demand, 2);
        assert_eq!(demand.targets(begun), [(key(1), 3)]);
        asked(&mut demand, 9);
        assert_eq!(demand.targets(begun), [(key(1), 4)]);
        assert_eq!(demand.targets(begun + LATELY), [(key(1), 1)], "a while later");
        assert_eq!(demand.targets(begun + REMEMBERED), [], "not asked for any more");
    }

    #[test]
    fn a_shape_in_demand_leaves_room_for_others() {
        let (mut demand, now) = (Demand::new(4), Instant::now());
        for (processes, times) in [(1, 9), (2, 2), (3, 1)] {
            (0..times).for_each(|_| demand.note(&key(processes), now));
        }
        assert_eq!(demand.targets(now), [(key(2), 2), (key(1), 2)]);
    }

    #[test]
    fn a_flood_of_shapes_that_come_once_has_nothing_made_for_it() {
        let (mut demand, now) = (Demand::new(4), Instant::now());
        (0..1000).for_each(|processes| demand.note(&key(processes), now));
        assert_eq!(demand.targets(now), []);
        assert!(demand.asked.len() <= KEYS);
    }

    #[test]
    fn nothing_waits_in_a_pool_without_places() {
        let (mut demand, now) = (Demand::new(0), Instant::now());
        (0..9).for_each(|_| demand.note(&key(1), now));
        assert_eq!(demand.targets(now), []);
    }
}
