//! Rounds: every lane has its turn in each, so that what disturbs the machine disturbs all.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use sandfleet_tests::{TestCgroup, median};
use sandfleet_worker::cli::latency::Latencies;
use serde::Serialize;

use super::{
    machine::Spent,
    subject::{Burst, Subject},
};

/// What is compared with the other lanes of its group.
pub(crate) struct Lane {
    pub(crate) name: String,
    pub(crate) subject: Arc<dyn Subject>,
    /// How many jobs it does in a round.
    pub(crate) jobs: usize,
    pub(crate) concurrency: usize,
    /// Which of the results have to say that they are warm.
    pub(crate) warm: Warm,
}

/// Lanes that are compared; the first is what the others are compared with.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) lanes: Vec<Lane>,
    /// Lanes that can't be measured here, and why not.
    pub(crate) absent: Vec<(String, String)>,
    pub(crate) rounds: usize,
}

/// What was measured of a lane.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) lane: String,
    pub(crate) concurrency: usize,
    pub(crate) jobs: usize,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Jobs a second: the median of the rounds.
    pub(crate) rate: f64,
    /// CPU time of a job in milliseconds, [`Spent::own`] and [`Spent::machine`].
    pub(crate) cpu_ms: f64,
    pub(crate) machine_cpu_ms: f64,
    /// Jobs a second as a share of the first lane's in the same round: the median, and all.
    pub(crate) ratio: f64,
    pub(crate) ratios: Vec<f64>,
    /// p50 beyond the first lane's in the same round: the median. p99 beyond: of all rounds.
    pub(crate) added_p50_ms: Option<f64>,
    pub(crate) added_p99_ms: Option<f64>,
    /// Why there are no figures, or why they aren't what they should be.
    pub(crate) problem: Option<String>,
}

/// All bursts of a lane, and what they spent.
/// How long interpreters may take to get warm before it is measured without them, and said so.
pub(crate) const GETS_WARM: Duration = Duration::from_secs(60);

/// Which results of a lane have to say that they are warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warm {
    None,
    /// Of a process that starts with each burst, and whose first programs start cold.
    Most,
    All,
}

impl Warm {
    fn least(self, jobs: usize) -> usize {
        match self {
            Warm::None => 0,
            Warm::Most => jobs * 9 / 10,
            Warm::All => jobs,
        }
    }
}

#[derive(Default)]
struct Seen {
    bursts: Vec<Burst>,
    spent: Spent,
    problem: Option<String>,
}

impl Group {
    pub(crate) async fn measure(&self, test_cgroup: &TestCgroup) -> Vec<Row> {
        let mut seen: Vec<Seen> = self.lanes.iter().map(|_| Seen::default()).collect();
        // Slots, caches and connections are made by the first jobs, once.
        for (lane, seen) in self.lanes.iter().zip(&mut seen) {
            seen.problem = lane.prepare().await.err().map(|error| format!("{error:#}"));
        }
        for round in 0..self.rounds {
            eprintln!("{}: round {} of {}", self.name, round + 1, self.rounds);
            let mut order: Vec<usize> = (0..self.lanes.len()).collect();
            // Whoever comes after another may find the machine warmer, or still tidying up.
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let (lane, seen) = (&self.lanes[index], &mut seen[index]);
                if seen.problem.is_none()
                    && let Err(error) = lane.turn(seen, test_cgroup).await
                {
                    seen.problem = Some(format!("{error:#}"));
                }
            }
        }
        let rows = self.lanes.iter().zip(&seen).map(|(lane, its)| self.row(lane, its, &seen[0]));
        let absent = self.absent.iter().map(|(lane, why)| Row {
            group: self.name.into(),
            lane: lane.clone(),
            problem: Some(why.clone()),
            ..Row::default()
        });
        rows.chain(absent).collect()
    }

    fn row(&self, lane: &Lane, seen: &Seen, first: &Seen) -> Row {
        let mut row = Row {
            group: self.name.into(),
            lane: lane.name.clone(),
            concurrency: lane.concurrency,
            jobs: lane.jobs * seen.bursts.len(),
            problem: seen.problem.clone(),
            ..Row::default()
        };
        if row.problem.is_some() || seen.bursts.is_empty() {
            return row;
        }
        let warm: usize = seen.bursts.iter().map(|burst| burst.warm).sum();
        if warm < lane.warm.least(row.jobs) {
            row.problem = Some(format!("NOT WARM: {warm} of {} results say warm", row.jobs));
        }
        let rate = |burst: &Burst| lane.jobs as f64 / burst.wall.as_secs_f64();
        row.rate = median(seen.bursts.iter().map(rate).collect()).unwrap_or(0.0);
        row.cpu_ms = milliseconds(seen.spent.own) / row.jobs as f64;
        row.machine_cpu_ms = milliseconds(seen.spent.machine) / row.jobs as f64;
        row.p50_ms = percentile(&seen.bursts, 0.5);
        row.p99_ms = percentile(&seen.bursts, 0.99);
        let pairs = || seen.bursts.iter().zip(&first.bursts);
        let base_jobs = self.lanes[0].jobs as f64;
        row.ratios =
            pairs().map(|(its, base)| rate(its) / (base_jobs / base.wall.as_secs_f64())).collect();
        row.ratio = median(row.ratios.clone()).unwrap_or(0.0);
        let added = pairs().filter_map(|(its, base)| {
            let p50 = |burst| percentile(std::slice::from_ref(burst), 0.5);
            Some(p50(its)? - p50(base)?)
        });
        row.added_p50_ms = median(added.collect());
        row.added_p99_ms =
            row.p99_ms.zip(percentile(&first.bursts, 0.99)).map(|(its, base)| its - base);
        row
    }
}

impl Lane {
    /// First jobs, which are not measured; a lane that is to be warm gets warm.
    async fn prepare(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let jobs = self.jobs.min(4 * self.concurrency);
            let first = self.subject.burst(jobs, self.concurrency).await?;
            if self.warm != Warm::All || first.warm == jobs || began.elapsed() > GETS_WARM {
                return Ok(());
            }
        }
    }

    async fn turn(&self, seen: &mut Seen, test_cgroup: &TestCgroup) -> Result<()> {
        let (processes, other) = self.subject.also();
        let test_cgroup = other.unwrap_or(test_cgroup);
        let before = Spent::until_now(test_cgroup, &processes);
        let burst = self.subject.burst(self.jobs, self.concurrency).await?;
        let spent = Spent::until_now(test_cgroup, &processes).since(before);
        seen.spent.own += spent.own;
        seen.spent.machine += spent.machine;
        seen.bursts.push(burst);
        Ok(())
    }
}

/// In milliseconds, of all jobs of these bursts together.
fn percentile(bursts: &[Burst], share: f64) -> Option<f64> {
    let all: Vec<Duration> = bursts.iter().flat_map(|burst| burst.latencies.clone()).collect();
    Latencies::from(all).at(share).map(milliseconds)
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
