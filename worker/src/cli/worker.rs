//! `sandfleet worker`: take jobs from the broker until told to stop.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{
    exit::{Exit, Failure},
    run::SandboxChoice,
    scope, terminal,
};
use crate::{
    app::{self, DrainAfter},
    config::{Backend, Settings},
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Print the settings in force, with secrets masked, and do nothing else
    #[arg(long)]
    check_config: bool,

    /// The sandbox backend [default: sandbox.backend]
    #[arg(long)]
    sandbox: Option<SandboxChoice>,

    /// Drain and exit after this time, such as 90s, 30m or 12h, so that a supervisor can restart it
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    drain_after: Option<Duration>,

    /// Drain and exit after this many jobs
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    drain_after_jobs: Option<u64>,
}

/// A number with a unit: ms, s, m or h.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("use a number and ms, s, m or h, such as 30m".into()),
    };
    let milliseconds = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_ms));
    match milliseconds {
        Some(0) => Err("0 is no time to work in".into()),
        Some(milliseconds) => Ok(Duration::from_millis(milliseconds)),
        None => Err("use a number and ms, s, m or h, such as 30m".into()),
    }
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if arguments.check_config {
        terminal::print(&terminal::lines(&settings.effective()))?;
        return Ok(Exit::Success.into());
    }
    let backend = arguments.sandbox.map_or(settings.sandbox.backend, Into::into);
    if backend == Backend::Native {
        scope::obtain(settings);
    }
    let until = DrainAfter { time: arguments.drain_after, jobs: arguments.drain_after_jobs };
    app::work(backend, settings, until).await.map_err(|error| match error {
        app::WorkError::Sandbox(error) => error.into(),
        app::WorkError::Unavailable(reason) => Exit::Unavailable.with(reason),
        app::WorkError::Memory(_) => Exit::Usage.because(error),
        app::WorkError::Stuck(reason) => Exit::Stuck.with(reason),
    })?;
    Ok(Exit::Success.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "30", "m", "-1s", "1.5h", "1d", "0s", "99999999999999999999h", "1 h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
