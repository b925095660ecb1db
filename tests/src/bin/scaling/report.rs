//! Measured beside predicted, and whether that is near enough.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;
use jiff::Timestamp;
use sandfleet_worker::latency::Latencies;
use serde::Serialize;

use crate::{measured::Calibration, store::Saturated};

/// How far the rate may be off: chosen as more than shared cores do to a quiet run, and less than
/// what the plan's other assumptions are worth.
const RATE_TOLERANCE: f64 = 0.15;
/// How far the median latency may be off. Near its capacity a queue magnifies: on two cores that are
/// used to 80 %, one that needs 10 % more processor time a job waits 36 % longer.
const P50_TOLERANCE: f64 = 0.35;

/// A run's figures, measured or simulated.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    /// Results a second, from the first job's turn to the last result.
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
    /// As a share of what the fleet carries.
    pub(crate) load: f64,
    /// Jobs a second as they were due.
    pub(crate) offered: f64,
    pub(crate) jobs: usize,
    pub(crate) measured: Figures,
    pub(crate) predicted: Figures,
    /// Processor time a job, whoever used it: others' work shows here.
    pub(crate) cpu_ms: f64,
    pub(crate) predicted_cpu_ms: f64,
    /// Share of the cores that the model says are used.
    pub(crate) used: f64,
    /// How many jobs the model says are there at a time, in the mean.
    pub(crate) present: f64,
}

impl Row {
    fn rate_error(&self) -> f64 {
        self.predicted.rate / self.measured.rate - 1.0
    }

    fn p50_error(&self) -> f64 {
        self.predicted.p50_ms / self.measured.p50_ms - 1.0
    }

    fn is_near(&self) -> bool {
        self.rate_error().abs() <= RATE_TOLERANCE && self.p50_error().abs() <= P50_TOLERANCE
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

    /// How many loads came out otherwise than predicted.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_near()).count()
    }

    pub(crate) fn markdown(&self) -> String {
        let short = if self.quick { " A quick run: too few jobs to publish." } else { "" };
        let mut text = format!(
            "{:.0}.{short} {} cores; load average before: {}\n\n",
            self.at, self.cores, self.load_before
        );
        text += "| one worker, calibration | CPU ms/job | of it in the slot, outside, after | \
                 alone ms | cores for jobs | Redis a job: CPU ms, commands, bytes in, out, logged \
                 | bytes kept: result, record |\n|---|---|---|---|---|---|---|\n";
        for it in &self.calibrations {
            let ms = |seconds: f64| format!("{:.2}", seconds * 1000.0);
            let (work, store) = (it.work, it.store);
            text += &format!(
                "| {} | {} | {}, {}, {} | {} | {:.2} | {}, {:.0}, {:.0}, {:.0}, {:.0} | {:.0}, \
                 {:.0} |\n",
                it.kind,
                ms(work.cpu()),
                ms(work.slot_cpu),
                ms(work.outside_cpu),
                ms(work.aside_cpu),
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
                "\nRedis, asked all the time: {:.0} jobs/s, {:.3} CPU ms and {:.0} commands a job.\n",
                it.rate,
                it.store.cpu * 1000.0,
                it.store.commands
            );
        }
        text += "\n| jobs | workers | load | offered/s | jobs/s: measured, predicted | p50 ms: \
                 measured, predicted | p99 ms: measured, predicted | CPU ms/job: measured, predicted | near |\n\
                 |---|---|---|---|---|---|---|---|---|\n";
        for row in &self.rows {
            let Row { measured, predicted, .. } = row;
            text += &format!(
                "| {} | {} | {:.0} % | {:.1} | {:.1}, {:.1} ({:+.0} %) | {:.0}, {:.0} ({:+.0} %) | \
                 {:.0}, {:.0} | {:.0}, {:.0} | {} |\n",
                row.kind,
                row.workers,
                row.load * 100.0,
                row.offered,
                measured.rate,
                predicted.rate,
                row.rate_error() * 100.0,
                measured.p50_ms,
                predicted.p50_ms,
                row.p50_error() * 100.0,
                measured.p99_ms,
                predicted.p99_ms,
                row.cpu_ms,
                row.predicted_cpu_ms,
                if row.is_near() { "yes" } else { "**no**" },
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
    fn a_prediction_that_is_off_is_told_from_one_that_is_near() {
        let figures = |rate, p50_ms| Figures { rate, p50_ms, p99_ms: p50_ms };
        let row = |predicted| Row {
            kind: "print",
            workers: 1,
            load: 0.6,
            offered: 60.0,
            jobs: 100,
            measured: figures(60.0, 100.0),
            predicted,
            cpu_ms: 20.0,
            predicted_cpu_ms: 20.0,
            used: 0.6,
            present: 3.0,
        };
        let near = [figures(60.0, 100.0), figures(52.0, 70.0), figures(68.0, 130.0)];
        let off = [figures(50.0, 100.0), figures(70.0, 100.0), figures(60.0, 60.0)];
        assert!(near.into_iter().all(|predicted| row(predicted).is_near()));
        assert!(!off.into_iter().any(|predicted| row(predicted).is_near()));
        let mut report = Report::begin(true);
        report.rows = off.into_iter().chain(near).map(row).collect();
        assert_eq!(report.missed(), 3);
        assert!(report.markdown().contains("60.0, 52.0 (-13 %)"), "{}", report.markdown());
    }

    #[test]
    fn figures_are_of_all_jobs() {
        let figures = Figures::of(&[0.1, 0.3, 0.2], 1.5);
        assert_eq!((figures.rate, figures.p50_ms, figures.p99_ms), (2.0, 200.0, 300.0));
    }
}
