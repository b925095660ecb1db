//! A fleet as a queueing model, run event by event.
//!
//! Jobs arrive when they are due, whatever became of earlier ones. Outside of a slot a job takes
//! processor time (the producer's, the broker's, the store's) and waits for round trips; then it
//! waits its turn in one queue for one of the fleet's slots; in the slot it takes processor time and
//! waits (a program that sleeps); then its result is there, and what is cleaned up after it takes
//! processor time once more, for which nobody waits. Processor time is shared evenly by all who
//! want some at the moment, and nobody can use more than one core.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
};

use serde::Serialize;

/// What takes the jobs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Fleet {
    /// Jobs at a time, of all workers together.
    pub(crate) slots: usize,
    /// Processor seconds a second; not always whole, since others may use some.
    pub(crate) cores: f64,
}

/// What a job asks for, all in seconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Work {
    /// Processor time before it has a slot.
    pub(crate) outside_cpu: f64,
    /// Waiting before it has a slot: round trips.
    pub(crate) outside_wait: f64,
    /// Processor time in its slot.
    pub(crate) slot_cpu: f64,
    /// Waiting in its slot: sleep.
    pub(crate) slot_wait: f64,
    /// Processor time after its result.
    pub(crate) aside_cpu: f64,
}

impl Work {
    /// Processor time altogether, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.outside_cpu + self.slot_cpu + self.aside_cpu
    }

    /// How long it takes where nobody else is, in seconds.
    #[cfg(test)]
    pub(crate) fn alone(&self) -> f64 {
        self.outside_cpu + self.outside_wait + self.slot_cpu + self.slot_wait
    }
}

/// The most that a fleet can do of equal jobs, in jobs a second: as many as fit into its slots, or
/// as many as its cores can pay for.
pub(crate) fn capacity(fleet: Fleet, work: Work) -> f64 {
    let by_slots = fleet.slots as f64 / (work.slot_cpu + work.slot_wait);
    by_slots.min(fleet.cores / work.cpu())
}

/// A job and when it is due, in seconds from the begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) due: f64,
    pub(crate) work: Work,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For each job from when it was due until its result, in seconds.
    pub(crate) latencies: Vec<f64>,
    /// Processor seconds that were used.
    pub(crate) busy: f64,
    /// The integral of the number of jobs without a result, in seconds.
    pub(crate) population: f64,
    /// When all was done, in seconds.
    pub(crate) ended: f64,
}

/// Where a job goes on when a computation or a wait of its is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Due,
    Outside,
    Arrived,
    InSlot,
    Done,
    Gone,
}

#[derive(Debug, PartialEq)]
struct Event {
    at: f64,
    job: usize,
    step: Step,
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        // Of two at one time the older job goes first: every run is the same run.
        self.at.total_cmp(&other.at).then((self.job, self.step).cmp(&(other.job, other.step)))
    }
}

struct Run<'a> {
    fleet: Fleet,
    arrivals: &'a [Arrival],
    now: f64,
    /// What everyone who computes has been given so far. Since all are given the same, whoever
    /// begins at `given` and needs `d` is done at `given + d`, whoever comes and goes meanwhile.
    given: f64,
    computing: BinaryHeap<Reverse<Event>>,
    waiting: BinaryHeap<Reverse<Event>>,
    queue: VecDeque<usize>,
    free: usize,
    open: usize,
    outcome: Outcome,
}

/// Runs all `arrivals` through `fleet`, to the end of the last.
pub(crate) fn simulate(fleet: Fleet, arrivals: &[Arrival]) -> Outcome {
    let due = |(job, arrival): (usize, &Arrival)| {
        Reverse(Event { at: arrival.due, job, step: Step::Due })
    };
    let mut run = Run {
        fleet,
        arrivals,
        now: 0.0,
        given: 0.0,
        computing: BinaryHeap::new(),
        waiting: arrivals.iter().enumerate().map(due).collect(),
        queue: VecDeque::new(),
        free: fleet.slots,
        open: 0,
        outcome: Outcome { latencies: vec![0.0; arrivals.len()], ..Outcome::default() },
    };
    while let Some((job, step)) = run.next() {
        run.go_on(job, step);
    }
    run.outcome.ended = run.now;
    run.outcome
}

impl Run<'_> {
    /// How much everyone who computes is given in a second.
    fn share(&self) -> f64 {
        (self.fleet.cores / self.computing.len() as f64).min(1.0)
    }

    /// Moves the clock to what happens next.
    fn next(&mut self) -> Option<(usize, Step)> {
        let computed = self.computing.peek().map(|Reverse(event)| {
            // Never before now, whatever the last bits say.
            self.now + ((event.at - self.given) / self.share()).max(0.0)
        });
        let waited = self.waiting.peek().map(|Reverse(event)| event.at);
        let (at, from_computing) = match (computed, waited) {
            (Some(computed), Some(waited)) if computed <= waited => (computed, true),
            (Some(computed), None) => (computed, true),
            (_, Some(waited)) => (waited, false),
            (None, None) => return None,
        };
        let passed = at - self.now;
        if !self.computing.is_empty() {
            let share = self.share();
            self.given += share * passed;
            self.outcome.busy += share * passed * self.computing.len() as f64;
        }
        self.outcome.population += passed * self.open as f64;
        self.now = at;
        let events = if from_computing { &mut self.computing } else { &mut self.waiting };
        events.pop().map(|Reverse(event)| (event.job, event.step))
    }

    fn go_on(&mut self, job: usize, step: Step) {
        let work = self.arrivals[job].work;
        match step {
            Step::Due => {
                self.open += 1;
                self.compute(job, work.outside_cpu, Step::Outside);
            }
            Step::Outside => self.wait(job, work.outside_wait, Step::Arrived),
            Step::Arrived => {
                self.queue.push_back(job);
                self.fill();
            }
            Step::InSlot => self.wait(job, work.slot_wait, Step::Done),
            Step::Done => {
                self.outcome.latencies[job] = self.now - self.arrivals[job].due;
                self.open -= 1;
                self.free += 1;
                self.compute(job, work.aside_cpu, Step::Gone);
                self.fill();
            }
            Step::Gone => {}
        }
    }

    /// Gives free slots to those who wait.
    fn fill(&mut self) {
        while self.free > 0
            && let Some(job) = self.queue.pop_front()
        {
            self.free -= 1;
            self.compute(job, self.arrivals[job].work.slot_cpu, Step::InSlot);
        }
    }

    fn compute(&mut self, job: usize, seconds: f64, step: Step) {
        match seconds > 0.0 {
            true => self.computing.push(Reverse(Event { at: self.given + seconds, job, step })),
            false => self.wait(job, 0.0, step),
        }
    }

    fn wait(&mut self, job: usize, seconds: f64, step: Step) {
        self.waiting.push(Reverse(Event { at: self.now + seconds, job, step }));
    }
}

/// Random numbers of our own (splitmix64): the measured run and the simulated one, today's and the
/// next version's, get the very same arrivals, which the standard library's hasher doesn't promise
/// and for which a crate would be much.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Exponentially distributed around `mean`.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        // From 53 bits, and never 0, of which there is no logarithm.
        let uniform = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        -mean * uniform.ln()
    }
}

/// When `jobs` are due that come by themselves, `rate` a second: a Poisson process.
pub(crate) fn poisson(rate: f64, jobs: usize, random: &mut Random) -> Vec<f64> {
    let mut at = 0.0;
    (0..jobs)
        .map(|_| {
            at += random.exponential(1.0 / rate);
            at
        })
        .collect()
}

/// When `jobs` are due that come evenly spaced, `rate` a second.
pub(crate) fn even(rate: f64, jobs: usize) -> Vec<f64> {
    (0..jobs).map(|job| job as f64 / rate).collect()
}
