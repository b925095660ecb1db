//! The command line.

use anyhow::{Result, bail};

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Fewer jobs and loads: a check that it works, no figures to publish.
    pub(crate) quick: bool,
    /// Print the tables and measure nothing.
    pub(crate) plan: bool,
}

impl Arguments {
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
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
