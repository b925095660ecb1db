//! The fleet sizes of `docs/scaling.md`: `cargo run -p sandfleet-tests --bin scaling -- plan`
//! computes them; `bash tests/run scaling [--quick]` measures their inputs and checks their
//! assumptions on a fleet on this machine.
#![forbid(unsafe_code)]

mod arguments;
mod calibration;
mod capacity;
mod costs;
mod measured;
mod plan;
mod report;
mod store;
mod store_use;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use sandfleet_tests::run_until_stopped;

use arguments::Arguments;

/// Where the figures are saved.
const OUTPUT: &str = "target/bench/scaling.json";

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
    ensure!(missed == 0, "{missed} of {} loads contradict the plan", report.rows.len());
    Ok(())
}
