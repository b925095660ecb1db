//! What programs that measure have in common.

use std::{fs, future::Future, io, process::ExitCode, time::Duration};

use anyhow::{Result, anyhow};
use sandfleet_worker::shutdown;

/// Runs a measuring program until it is done or interrupted; errors are printed on
/// stderr, after `name`. Dropping the run takes away all that it has made.
pub async fn run_until_stopped(name: &str, run: impl Future<Output = Result<()>>) -> ExitCode {
    let ended = tokio::select! {
        ended = run => ended,
        () = shutdown::stop_signal() => Err(anyhow!("interrupted")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::from(70)
        }
    }
}

/// Processor time that was not idle since the machine started, of all processes.
///
/// # Errors
/// If /proc can't be read.
pub fn busy_time() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq; what comes then is counted in these or stolen.
    let busy: u64 = [0, 1, 2, 5, 6].into_iter().filter_map(|index| fields.get(index)).sum();
    // The kernel counts in hundredths of a second for every reader of this file.
    Ok(Duration::from_millis(busy * 10))
}

/// The one in the middle; of an even number the mean of the two.
pub fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    Some(if figures.len() % 2 == 1 { upper } else { (figures[middle - 1] + upper) / 2.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
