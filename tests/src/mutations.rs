//! What the mutation suite removes, one thing at a time.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The files that list them, from the top of the checkout.
const LISTS: [&str; 2] = ["tests/hostile/mutations.json", "tests/tests/chaos/mutations.json"];

/// The removal of a barrier or a rule, and the programs or tests that have to fail without it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// What is removed.
    pub barrier: String,
    /// `native`, `docker` or `gvisor`.
    pub runtime: String,
    /// How.
    pub edits: Vec<Edit>,
    /// Entries of the corpus, of which at least one has to fail.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Which tests are built for `test`; all if there is none.
    pub binary: Option<String>,
    /// Tests, as an expression of nextest's, of which at least one has to fail.
    pub test: Option<String>,
}

impl Mutation {
    /// All of them, for the checkout at `top`.
    ///
    /// # Errors
    /// If a list can't be read.
    pub fn all(top: &Path) -> anyhow::Result<Vec<Self>> {
        let mut mutations = Vec::new();
        for list in LISTS {
            let text = fs::read_to_string(top.join(list)).context(list)?;
            let mut listed: Vec<Self> = serde_json::from_str(&text).context(list)?;
            mutations.append(&mut listed);
        }
        Ok(mutations)
    }
}

/// A change of the source.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The file, from the top of the checkout.
    pub file: String,
    find: String,
    replace: String,
}

impl Edit {
    /// What `tests/census/run` takes away, all at once.
    ///
    /// # Errors
    /// If the list can't be read.
    pub fn of_the_census(top: &Path) -> anyhow::Result<Vec<Self>> {
        let list = "tests/census/unbounded.json";
        let text = fs::read_to_string(top.join(list)).context(list)?;
        serde_json::from_str(&text).context(list)
    }

    /// The file's text in the tree at `top`, with the change made.
    ///
    /// # Errors
    /// If the snippet doesn't occur exactly once there, or the change changes nothing.
    pub fn apply(&self, top: &Path) -> anyhow::Result<String> {
        let Self { file, find, replace } = self;
        let text = fs::read_to_string(top.join(file)).with_context(|| file.clone())?;
        let found = text.matches(find.as_str()).count();
        ensure!(found == 1, "{file} has {found} places that read {find:?}, not one");
        let mutated = text.replacen(find.as_str(), replace, 1);
        ensure!(mutated != text, "{file}: {find:?} is replaced by itself");
        Ok(mutated)
    }
}
