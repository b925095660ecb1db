//! What was measured, and whether the plan's assumptions held.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use jiff::Timestamp;
use sandfleet_worker::cli::latency::Latencies;
use serde::Serialize;

use crate::{calibration::Calibration, costs::USE, store::Saturated};

/// Up to the utilisation that the plan uses, the median latency may be at most this many times that
/// of a single job in an idle fleet.
const LATENCY_FACTOR: f64 = 2.0;

/// The figures of one load.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    /// Results a second, from when the first job was due to the last result.
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Figures {
    /// Of jobs with these latencies, all done within `seconds`.
    pub(crate) fn of(latencies: &[f64], seconds: f64) -> Self {
        let durations: Vec<_> =
            latencies.iter().map(|latency| Duration::from_secs_f64(*latency)).collect();
        let percentiles = Latencies::from(durations);
        let ms = |share| percentiles.at(share).map_or(0.0, |at| at.as_secs_f64() * 1000.0);
        Self { rate: latencies.len() as f64 / seconds, p50_ms: ms(0.5), p99_ms: ms(0.99) }
    }
}

/// One load.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) kind: &'static str,
    pub(crate) workers: usize,
    /// As a share of `capacity`.
    pub(crate) load: f64,
    /// Jobs a second, computed from the calibration.
    pub(crate) capacity: f64,
    pub(crate) jobs: usize,
    /// Latency of a single job in an idle fleet.
    pub(crate) alone_ms: f64,
    pub(crate) measured: Figures,
    /// Processor time a job of the whole machine, other processes included.
    pub(crate) cpu_ms: f64,
}

impl Row {
    /// Whether the plan's utilisation holds here: jobs up to it take little longer than alone, and a
    /// full fleet carries at least that share of the computed capacity. In between nothing is claimed.
    fn holds(&self) -> Option<bool> {
        if self.load > 1.0 {
            return Some(self.measured.rate >= USE.value * self.capacity);
        }
        let is_planned = self.load <= USE.value;
        is_planned.then_some(self.measured.p50_ms <= LATENCY_FACTOR * self.alone_ms)
    }
}

/// All of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    at: Timestamp,
    quick: bool,
    cores: usize,
    load_before: String,
    pub(crate) calibrations: Vec<Calibration>,
    /// What Redis can do.
    pub(crate) store: Option<Saturated>,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn begin(quick: bool) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            at: Timestamp::now(),
            quick,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
            calibrations: Vec::new(),
            store: None,
            rows: Vec::new(),
        }
    }

    /// How many loads contradict the plan.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.holds() == Some(false)).count()
    }

    pub(crate) fn markdown(&self) -> String {
        let short = if self.quick { " A quick run: too few jobs to publish." } else { "" };
        let mut text = format!(
            "{:.0}.{short} {} cores; load average before: {}\n\n",
            self.at, self.cores, self.load_before
        );
        text += "| one worker, calibration | CPU ms/job | alone ms | cores for jobs | Redis a job: \
                 CPU ms, commands, bytes in, out, logged | bytes kept: result, record |\n\
                 |---|---|---|---|---|---|\n";
        for it in &self.calibrations {
            let ms = |seconds: f64| format!("{:.2}", seconds * 1000.0);
            let store = it.store;
            text += &format!(
                "| {} | {} | {} | {:.2} | {}, {:.0}, {:.0}, {:.0}, {:.0} | {:.0}, {:.0} |\n",
                it.kind,
                ms(it.cpu),
                ms(it.alone),
                it.cores,
                ms(store.cpu),
                store.commands,
                store.received,
                store.sent,
                store.logged,
                it.result_bytes,
                it.record_bytes,
            );
        }
        if let Some(it) = &self.store {
            text += &format!(
                "\nRedis, saturated: {:.0} jobs/s, {:.3} CPU ms and {:.0} commands a job.\n",
                it.rate,
                it.store.cpu * 1000.0,
                it.store.commands
            );
        }
        text += "\n| jobs | workers | load | capacity/s, computed | results/s | p50 ms, p99 ms | CPU ms/job | holds |\n\
                 |---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let measured = &row.measured;
            let holds = match row.holds() {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "–",
            };
            text += &format!(
                "| {} | {} | {:.0} % | {:.1} | {:.1} | {:.0}, {:.0} | {:.0} | {holds} |\n",
                row.kind,
                row.workers,
                row.load * 100.0,
                row.capacity,
                measured.rate,
                measured.p50_ms,
                measured.p99_ms,
                row.cpu_ms,
            );
        }
        text
    }

    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(file, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_contradicts_the_plan_is_counted() {
        let row = |load, rate, p50_ms| Row {
            kind: "print",
            workers: 1,
            load,
            capacity: 100.0,
            jobs: 100,
            alone_ms: 40.0,
            measured: Figures { rate, p50_ms, p99_ms: p50_ms },
            cpu_ms: 20.0,
        };
        // Between the planned utilisation and capacity latency is shown and not judged.
        let good = [row(0.6, 55.0, 79.0), row(0.8, 75.0, 900.0), row(2.0, 66.0, 2000.0)];
        let bad = [row(0.6, 55.0, 81.0), row(2.0, 64.0, 2000.0)];
        let mut report = Report::begin(true);
        report.rows = good.into_iter().chain(bad).collect();
        assert_eq!(report.missed(), 2, "{}", report.markdown());
        assert!(
            report
                .markdown()
                .contains("| print | 1 | 200 % | 100.0 | 64.0 | 2000, 2000 | 20 | **no** |")
        );
    }

    #[test]
    fn figures_are_of_all_jobs() {
        let figures = Figures::of(&[0.1, 0.3, 0.2], 1.5);
        assert_eq!((figures.rate, figures.p50_ms, figures.p99_ms), (2.0, 200.0, 300.0));
    }
}
