//! The command line.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// What to measure, and where to save it.
pub(crate) struct Arguments {
    /// Fewer jobs and rounds: to see that it works, not to publish.
    pub(crate) quick: bool,
    /// Only the groups whose name contains one of these.
    pub(crate) only: Vec<String>,
    /// Where the JSON and the chart go.
    pub(crate) output: PathBuf,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
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
