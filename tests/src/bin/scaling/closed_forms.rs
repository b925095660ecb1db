//! The model against what queueing theory knows exactly.

use crate::model::{Arrival, Fleet, Outcome, Random, Work, capacity, even, poisson, simulate};

const JOBS: usize = 200_000;
const ENOUGH: f64 = 1e9;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn is_near(found: f64, expected: f64, tolerance: f64) {
    assert!((found / expected - 1.0).abs() < tolerance, "{found}, expected {expected}");
}

/// Poisson arrivals at `rate`, each with the work that `draw` makes.
fn stream(rate: f64, jobs: usize, mut draw: impl FnMut(&mut Random) -> Work) -> Vec<Arrival> {
    let mut random = Random(7);
    let dues = poisson(rate, jobs, &mut random);
    dues.into_iter().map(|due| Arrival { due, work: draw(&mut random) }).collect()
}

fn all_at(dues: Vec<f64>, work: Work) -> Vec<Arrival> {
    dues.into_iter().map(|due| Arrival { due, work }).collect()
}

/// The share of jobs that have to wait for one of `servers` that are offered `load`.
fn erlang_c(servers: usize, load: f64) -> f64 {
    // By way of Erlang's B, which has a simple recurrence.
    let blocked = (1..=servers).fold(1.0, |b, k| load * b / (k as f64 + load * b));
    let used = load / servers as f64;
    blocked / (1.0 - used * (1.0 - blocked))
}

#[test]
fn slots_with_exponential_holding_times_are_erlangs() {
    let half = erlang_c(1, 0.5);
    assert!((half - 0.5).abs() < 1e-12, "one server is busy for its share of the time: {half}");
    for (slots, rate) in [(1, 0.7), (3, 2.0), (16, 13.0)] {
        let arrivals = stream(rate, JOBS, |random| Work {
            slot_wait: random.exponential(1.0),
            ..Work::default()
        });
        let outcome = simulate(Fleet { slots, cores: ENOUGH }, &arrivals);
        let holding: Vec<f64> = arrivals.iter().map(|arrival| arrival.work.slot_wait).collect();
        let waited = mean(&outcome.latencies) - mean(&holding);
        is_near(waited, erlang_c(slots, rate) / (slots as f64 - rate), 0.05);
    }
}

#[test]
fn a_shared_core_delays_by_its_use_whatever_the_distribution() {
    // M/G/1 with processor sharing: the mean depends on the mean of the work alone.
    let (rate, used) = (1.0, 0.7);
    let fleet = Fleet { slots: usize::MAX, cores: 1.0 };
    let steady = |_: &mut Random| Work { slot_cpu: used, ..Work::default() };
    let exponential =
        |random: &mut Random| Work { slot_cpu: random.exponential(used), ..Work::default() };
    // Half in one place and half in another is the same work.
    let parted =
        |_: &mut Random| Work { outside_cpu: used / 2.0, slot_cpu: used / 2.0, ..Work::default() };
    for outcome in [
        simulate(fleet, &stream(rate, JOBS, steady)),
        simulate(fleet, &stream(rate, JOBS, exponential)),
    ] {
        is_near(mean(&outcome.latencies), used / (1.0 - used), 0.05);
        is_near(outcome.busy / outcome.ended, used, 0.02);
    }
    let parted = simulate(fleet, &stream(rate, JOBS, parted));
    is_near(parted.busy / parted.ended, used, 0.02);
}

#[test]
fn shared_cores_with_exponential_work_are_erlangs_too() {
    let (cores, rate) = (2, 1.6);
    let arrivals =
        stream(rate, JOBS, |random| Work { slot_cpu: random.exponential(1.0), ..Work::default() });
    let outcome = simulate(Fleet { slots: usize::MAX, cores: cores as f64 }, &arrivals);
    let expected = 1.0 + erlang_c(cores, rate) / (cores as f64 - rate);
    is_near(mean(&outcome.latencies), expected, 0.05);
}

#[test]
fn evenly_spaced_jobs_never_wait_below_capacity_and_ever_longer_above() {
    let work = Work { slot_wait: 2.0, outside_wait: 0.5, ..Work::default() };
    let fleet = Fleet { slots: 1, cores: 1.0 };
    let below = simulate(fleet, &all_at(even(0.4, 1000), work));
    assert!(below.latencies.iter().all(|latency| (latency - work.alone()).abs() < 1e-9));
    // Every second one comes, every two seconds one goes: the n-th has waited n seconds.
    let above = simulate(fleet, &all_at(even(1.0, 1000), work));
    for (number, latency) in above.latencies.iter().enumerate() {
        assert!((latency - work.alone() - number as f64).abs() < 1e-6, "{number}: {latency}");
    }
}

#[test]
fn littles_law_holds_and_no_work_is_lost() {
    let arrivals = stream(20.0, 10_000, |random| Work {
        outside_cpu: random.exponential(0.01),
        outside_wait: 0.005,
        slot_cpu: random.exponential(0.04),
        slot_wait: random.exponential(0.1),
        aside_cpu: random.exponential(0.01),
    });
    let Outcome { latencies, busy, population, ended } =
        simulate(Fleet { slots: 16, cores: 1.5 }, &arrivals);
    // How many there are is how many come times how long they stay.
    let come = arrivals.len() as f64 / ended;
    is_near(population / ended, come * mean(&latencies), 1e-6);
    is_near(busy, arrivals.iter().map(|arrival| arrival.work.cpu()).sum(), 1e-6);
    let shortest = arrivals.iter().map(|arrival| arrival.work.alone());
    assert!(shortest.zip(&latencies).all(|(least, latency)| *latency > least - 1e-9));
}

#[test]
fn what_a_fleet_carries_is_limited_by_slots_or_by_cores() {
    let sleeper = Work { slot_cpu: 0.01, slot_wait: 0.5, aside_cpu: 0.005, ..Work::default() };
    let printer = Work { outside_cpu: 0.01, slot_cpu: 0.04, ..Work::default() };
    let fleet = |slots| Fleet { slots, cores: 2.0 };
    assert_eq!(capacity(fleet(16), sleeper), 16.0 / 0.51);
    assert_eq!(capacity(fleet(256), sleeper), 2.0 / 0.015);
    assert_eq!(capacity(fleet(16), printer), 40.0);
    for (slots, work) in [(16, sleeper), (256, sleeper), (16, printer), (1, printer)] {
        let most = capacity(fleet(slots), work);
        // Programs that all sleep equally long fall into step, and then cores idle while all sleep.
        let mut random = Random(3);
        let mut arrivals = all_at(even(2.0 * most, 40_000), work);
        for arrival in &mut arrivals {
            let asleep = arrival.work.slot_wait;
            arrival.work.slot_wait = if asleep > 0.0 { random.exponential(asleep) } else { 0.0 };
        }
        let outcome = simulate(fleet(slots), &arrivals);
        is_near(arrivals.len() as f64 / outcome.ended, most, 0.04);
    }
}
