//! Every figure that the project promises, in one run: `cargo run --release -p sandfleet-tests
//! --bin bench [-- --quick] [--only TEXT]... [--output DIRECTORY]`.
//!
//! `bash tests/run bench` starts the services first; without them the rows that need them are
//! named as skipped. What is measured and how is in `docs/performance/method.md`.
#![forbid(unsafe_code)]

mod arguments;
mod chart;
mod data;
mod evaluation;
mod fleet;
mod goals;
mod groups;
mod lanes;
mod machine;
mod memory;
mod native;
mod peers;
mod printing;
mod program;
mod report;
mod rounds;
mod subject;
mod workers;

use std::process::ExitCode;

use anyhow::Result;
use sandfleet_tests::{TestCgroup, run_until_stopped};

use arguments::Arguments;
use machine::Machine;
use report::Report;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    run_until_stopped("bench", run()).await
}

async fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let program = program::build()?;
    let test_cgroup = TestCgroup::fresh();
    let machine = Machine::look();
    let rows = groups::measure(&arguments, &test_cgroup, &program).await?;
    let report = Report::of(machine, arguments.quick, rows);
    println!("{}", report.markdown());
    report.save(&arguments.output)?;
    println!("\nsaved: {}", arguments.output.join("bench.{json,md,svg}").display());
    Ok(())
}
