//! Interpreters that are started ahead, and which programs may start from one.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An interpreter to be started ahead.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Warm {
    pub(super) name: String,
    /// It fits programs whose text has one of these words; without any it fits all.
    #[serde(default)]
    pub(super) words: Vec<String>,
    /// What it loads.
    #[serde(default)]
    pub(super) imports: Vec<String>,
    /// What it runs once after that, as a program would, so that the first time is behind it.
    #[serde(default)]
    pub(super) rehearsal: String,
    /// How many programs may start from one.
    #[serde(default = "many")]
    pub(super) max_programs: u32,
    /// Environment variables while it loads that.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
}

/// How an interpreter is started ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmStart {
    /// What plans call it.
    pub name: String,
    /// The command, as of a program without arguments.
    pub command: Vec<String>,
    /// The name of the file that programs are in.
    pub program: String,
    /// The whole environment while it starts.
    pub environment: Vec<(String, String)>,
    /// Those variables that programs don't have.
    pub own_variables: Vec<String>,
    /// What it loads.
    pub imports: Vec<String>,
    /// What it runs after that.
    pub rehearsal: String,
    /// How many programs may start from it before another takes its place.
    pub max_programs: u32,
    /// Whether it is copied once for a program, and not twice; see `sandbox.warm_vfork`.
    pub vfork: bool,
}

/// Programs that start from one interpreter share the secret of their hashes and the layout of their
/// memory: so each serves for so many only.
fn many() -> u32 {
    10_000
}

/// Where an interpreter, and what it loads, look for what their user has (packages, fonts, settings) when they
/// start: a program that brings something there starts cold.
const START_DIRECTORIES: [&str; 3] = [".config/", ".fonts/", ".local/"];

/// Endings of modules that are compiled.
const COMPILED: [&str; 2] = ["pyc", "so"];

/// What every ZIP archive has near its end. An interpreter looks for it before it runs a file, and so before
/// it is copied.
const END_OF_ARCHIVE: &str = "PK\u{5}\u{6}";

/// Environment variables, by their beginnings, that an interpreter and what it loads look at when they
/// start: a program that brings one starts cold.
const START_VARIABLES: [&str; 24] = [
    "PYTHON",
    "LD_",
    "LC_",
    "LANG",
    "TZ",
    "HOME",
    "TMPDIR",
    "MALLOC_",
    "OPENBLAS_",
    "OMP_",
    "MKL_",
    "MPL",
    "GLIBC_",
    "PANDAS_",
    "NPY_",
    "NUMPY_",
    "MATPLOTLIB",
    "XDG_",
    "TMP",
    "TEMP",
    "BLIS_",
    "SETUPTOOLS_",
    "JE_",
    "ARROW_",
];

/// Files in the working directory that what an interpreter loads looks at when it is loaded.
const START_FILES: [&str; 1] = ["matplotlibrc"];

/// The interpreters that programs of a language start from, its own or another one's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shared {
    pub(super) owner: String,
    pub(super) warm: Vec<Warm>,
    /// Endings of the files that may be modules.
    pub(super) endings: Vec<String>,
    pub(super) file: String,
}

impl Shared {
    /// The warm interpreter that a program may start from, as one that is in `file` and brings `files`
    /// and the variables `added`. It must not see that it isn't the first.
    pub(super) fn warm_start(
        &self,
        file: &str,
        files: &[(String, Vec<u8>)],
        added: &BTreeMap<String, String>,
    ) -> Option<String> {
        let is_seen = |name: &String| START_VARIABLES.iter().any(|seen| name.starts_with(seen));
        let is_looked_for = |(name, _): &(String, Vec<u8>)| is_looked_for(name);
        if file != self.file || added.keys().any(is_seen) || files.iter().any(is_looked_for) {
            return None;
        }
        let (_, text) = files.iter().find(|(name, _)| name == file)?;
        let brings_modules = files.iter().any(|(name, _)| self.is_loaded(file, name));
        let text = std::str::from_utf8(text).ok()?;
        if text.contains(END_OF_ARCHIVE) {
            return None;
        }
        let fits = |warm: &&Warm| {
            let is_meant =
                warm.words.is_empty() || warm.words.iter().any(|word| text.contains(word));
            is_meant && (warm.imports.is_empty() || !brings_modules)
        };
        self.warm.iter().find(fits).map(|warm| format!("{}/{}", self.owner, warm.name))
    }

    /// Whether no interpreter looks at any of `files` before it runs `file`.
    pub(super) fn starts_beside(&self, file: &str, files: &[(String, Vec<u8>)]) -> bool {
        !files.iter().any(|(name, _)| is_looked_for(name) || self.is_loaded(file, name))
    }

    /// Whether the file `name` beside the program's `file` may stand in for something that is loaded already: a module
    /// of the job's own comes first.
    fn is_loaded(&self, file: &str, name: &str) -> bool {
        let mut endings = self.endings.iter().map(String::as_str).chain(COMPILED);
        let has = |ending: &str| name.strip_suffix(ending).is_some_and(|it| it.ends_with('.'));
        (name != file && endings.any(has)) || START_FILES.contains(&name)
    }
}

fn is_looked_for(name: &str) -> bool {
    START_DIRECTORIES.iter().any(|start| name.starts_with(start))
}
