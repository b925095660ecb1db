//! Every figure that the project promises, in one run: `cargo run --release -p sandfleet-tests
//! --bin bench [-- --quick] [--only TEXT]... [--output DIRECTORY]`.
//!
//! `bash tests/run bench` starts the services first; without them the rows that need them are
//! named as skipped. What is measured and how is in `docs/performance.md`.
#![forbid(unsafe_code)]

mod chart;
mod data;
mod fleet;
mod goals;
mod groups;
mod machine;
mod memory;
mod native;
mod peers;
mod report;
mod rounds;
mod subject;
mod workers;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use sandfleet_tests::{TestCgroup, run_until_stopped};

use machine::Machine;
use report::Report;

/// What was asked for.
pub(crate) struct Arguments {
    /// Fewer jobs and rounds: to see that it works, not to publish.
    pub(crate) quick: bool,
    /// Only the groups whose name contains one of these.
    pub(crate) only: Vec<String>,
    /// Where the JSON and the chart go.
    output: PathBuf,
}

impl Arguments {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut parsed =
            Self { quick: false, only: Vec::new(), output: PathBuf::from("target/bench") };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().with_context(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--quick" => parsed.quick = true,
                "--only" => parsed.only.push(value()?),
                "--output" => parsed.output = value()?.into(),
                other => bail!("{other}: use --quick, --only TEXT, --output DIRECTORY"),
            }
        }
        Ok(parsed)
    }

    /// `full`, or `quick` in the short form.
    pub(crate) fn choose(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    pub(crate) fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| group.contains(text))
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    run_until_stopped("bench", run()).await
}

async fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let program = groups::build_program()?;
    let test_cgroup = TestCgroup::fresh();
    let machine = Machine::look();
    let rows = groups::measure(&arguments, &test_cgroup, &program).await?;
    let report = Report::of(machine, arguments.quick, rows);
    println!("{}", report.markdown());
    report.save(&arguments.output)?;
    println!("\nsaved: {}", arguments.output.join("bench.{json,md,svg}").display());
    Ok(())
}
