//! Whose turn it is among the queues of one worker.

use sandfleet_common::Priority;

/// So many interactive jobs in a row, and a batch job may go first once: what is always waiting
/// must not starve what may wait.
const STREAK: usize = 7;

/// Interactive before batch, but not for ever; within a priority, each queue in turn.
pub(super) struct Scheduler {
    priorities: Vec<Priority>,
    streak: usize,
    /// Which queue of each priority was taken from last: interactive, batch.
    last: [usize; 2],
}

impl Scheduler {
    /// Scheduler among queues of these priorities.
    pub(super) fn new(priorities: Vec<Priority>) -> Self {
        // So that the first queue is the first to be asked.
        let last = [priorities.len(); 2];
        Self { priorities, streak: 0, last }
    }

    /// Those of the queues that are `asked` at all, by their indices, in the order in which they
    /// are to be asked, and for how many jobs at most.
    pub(super) fn order(&self, asked: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
        let batch_first = self.streak >= STREAK;
        let in_turn = |priority: Priority| {
            let last = self.last[class(priority)];
            let queues = || (0..self.priorities.len()).filter(|i| self.priorities[*i] == priority);
            let after = queues().filter(move |index| *index > last);
            after.chain(queues().filter(move |index| *index <= last)).collect::<Vec<_>>()
        };
        let (mut order, mut last) = (in_turn(Priority::Interactive), in_turn(Priority::Batch));
        if batch_first {
            std::mem::swap(&mut order, &mut last);
        }
        order.append(&mut last);
        let most = |index: usize| match (self.priorities[index], batch_first) {
            // Its one chance, and then it is the others' turn again.
            (Priority::Batch, true) => 1,
            // Asked last, so no other queue waits.
            (Priority::Batch, false) => usize::MAX,
            (Priority::Interactive, true) => STREAK,
            (Priority::Interactive, false) => STREAK - self.streak,
        };
        let asked = order.into_iter().filter(|index| asked(*index));
        asked.map(|index| (index, most(index))).collect()
    }

    /// A job was taken from this queue.
    pub(super) fn took(&mut self, index: usize) {
        self.last[class(self.priorities[index])] = index;
        // After a full streak batch was asked first: whatever was taken, batch had its chance.
        let again = self.priorities[index] == Priority::Interactive && self.streak < STREAK;
        self.streak = if again { self.streak + 1 } else { 0 };
    }
}

fn class(priority: Priority) -> usize {
    match priority {
        Priority::Interactive => 0,
        Priority::Batch => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Batch, Interactive};

    /// Takes `count` jobs where every queue always has one.
    fn take(scheduler: &mut Scheduler, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| {
                let (index, _) = scheduler.order(|_| true)[0];
                scheduler.took(index);
                index
            })
            .collect()
    }

    #[test]
    fn batch_gets_every_eighth_turn_when_both_have_jobs() {
        let taken = take(&mut Scheduler::new(vec![Interactive, Batch]), 800);
        assert_eq!(taken.iter().filter(|index| **index == 1).count(), 100);
        assert_eq!(taken[..8], [0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn taking_several_at_a_time_changes_no_share() {
        let mut scheduler = Scheduler::new(vec![Interactive, Batch]);
        let mut taken = [0, 0];
        while taken[0] + taken[1] < 800 {
            let (index, most) = scheduler.order(|_| true)[0];
            for _ in 0..most.min(5) {
                scheduler.took(index);
                taken[index] += 1;
            }
        }
        assert_eq!(taken[1], 100);
    }

    #[test]
    fn queues_of_one_priority_share_evenly() {
        let taken = take(&mut Scheduler::new(vec![Interactive, Batch, Interactive, Batch]), 800);
        for index in 0..4 {
            let share = taken.iter().filter(|taken| **taken == index).count();
            let fair = if index % 2 == 0 { 350 } else { 50 };
            assert!(share.abs_diff(fair) <= fair / 4, "queue {index} had {share} turns");
        }
    }

    #[test]
    fn a_queue_that_comes_and_goes_has_its_turn_at_once() {
        let mut scheduler = Scheduler::new(vec![Interactive; 5]);
        let flooded = |scheduler: &mut Scheduler, asked: &[usize]| {
            let (index, _) = scheduler.order(|index| asked.contains(&index))[0];
            scheduler.took(index);
            index
        };
        for newcomer in [1, 2, 3, 4, 1] {
            assert_eq!(flooded(&mut scheduler, &[0]), 0);
            assert_eq!(flooded(&mut scheduler, &[0, newcomer]), newcomer);
        }
    }

    #[test]
    fn an_empty_batch_queue_costs_one_question_in_eight() {
        let mut scheduler = Scheduler::new(vec![Interactive, Batch]);
        let asked_in_vain = (0..80)
            .filter(|_| {
                let (first, _) = scheduler.order(|_| true)[0];
                scheduler.took(0);
                first == 1
            })
            .count();
        assert_eq!(asked_in_vain, 10);
    }
}
