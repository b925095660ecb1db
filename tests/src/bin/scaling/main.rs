//! What a fleet carries, foretold by a model that is checked against a fleet on this machine:
//! `bash tests/run scaling [--quick]`; and what large fleets need: `cargo run -p sandfleet-tests
//! --bin scaling -- plan`. What it means is in `docs/scaling.md`.
#![forbid(unsafe_code)]

#[cfg(test)]
mod closed_forms;
mod costs;
mod host;
mod measured;
mod model;
mod plan;
mod report;
mod store;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, bail, ensure};
use sandfleet_tests::run_until_stopped;

/// Where the figures go.
const OUTPUT: &str = "target/bench/scaling.json";

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Fewer jobs and loads: to see that it works, not to publish.
    pub(crate) quick: bool,
    /// Only what large fleets need.
    plan: bool,
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut parsed = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--quick" => parsed.quick = true,
                "plan" => parsed.plan = true,
                other => bail!("{other}: use plan, or --quick"),
            }
        }
        Ok(parsed)
    }

    /// `full`, or `quick` in the short form.
    pub(crate) fn choose(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    run_until_stopped("scaling", run()).await
}

async fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    if arguments.plan {
        print!("{}", plan::markdown());
        return Ok(());
    }
    let own = std::env::current_exe()?;
    let program = own.parent().context("a program is in a directory")?.join("sandfleet");
    ensure!(program.exists(), "{} is missing: build it", program.display());
    let Some(report) = measured::measure(&arguments, &program).await? else {
        println!("skipped: no RabbitMQ and Redis to measure; use `bash tests/run scaling`");
        return Ok(());
    };
    println!("{}", report.markdown());
    report.save(Path::new(OUTPUT))?;
    println!("saved: {OUTPUT}");
    let missed = report.missed();
    ensure!(missed == 0, "{missed} of {} loads came out otherwise", report.rows.len());
    Ok(())
}
