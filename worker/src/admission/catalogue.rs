//! The catalogue: which languages there are and how a program of each is started. Jobs name a
//! language; what that means is the operator's.

use std::collections::BTreeMap;

use sandfleet_common::LimitsRequest;
use serde::Deserialize;

/// What every program finds in its environment.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/box"),
    ("TMPDIR", "/tmp"),
    ("USER", "sandbox"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
];

/// All languages, by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<String, Language>);

/// One language.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// File name endings by which the command line recognises it.
    pub endings: Vec<String>,
    /// What the program's file is called when the job doesn't say.
    pub file: String,
    /// How it is started; `{file}` and `{args}` are replaced.
    command: Vec<String>,
    /// How it is compiled before, if it is.
    pub compile: Option<Compile>,
    /// Environment variables that it needs.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Whether its interpreter may keep what it prints where PID 1 can read it.
    #[serde(default)]
    pub pending_output: bool,
    /// Environment variables by which its programs write their stdout line by line, for jobs that ask for it. Without
    /// any they do so, or need not: what they print is read before it is written.
    #[serde(default)]
    line_buffered: BTreeMap<String, String>,
    /// Interpreters that may be started ahead; the first that fits a program is its own.
    #[serde(default)]
    warm: Vec<Warm>,
}

/// How a language is compiled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compile {
    /// The compiler's command; `{file}` is replaced.
    command: Vec<String>,
    /// Globs of the files that it makes.
    pub made: Vec<String>,
    /// Limits that differ from those of all compilers.
    #[serde(default)]
    pub limits: LimitsRequest,
}

impl Compile {
    /// The command that compiles `file`.
    pub fn command(&self, file: &str) -> Vec<String> {
        replaced(&self.command, file, &[])
    }
}

/// An interpreter to be started ahead.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Warm {
    name: String,
    /// It fits programs whose text has one of these words; without any it fits all.
    #[serde(default)]
    words: Vec<String>,
    /// What it loads.
    #[serde(default)]
    imports: Vec<String>,
    /// What it runs once after that, as a program would, so that the first time is behind it.
    #[serde(default)]
    rehearsal: String,
    /// How many programs may start from one.
    #[serde(default = "many")]
    max_programs: u32,
    /// Environment variables while it loads that.
    #[serde(default)]
    environment: BTreeMap<String, String>,
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
const START_VARIABLES: [&str; 22] = [
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
];

/// Files in the working directory that what an interpreter loads looks at when it is loaded.
const START_FILES: [&str; 1] = ["matplotlibrc"];

impl Catalogue {
    /// The built-in catalogue.
    ///
    /// # Panics
    /// Never: a test reads the same text.
    pub fn embedded() -> Self {
        toml::from_str(include_str!("catalogue.toml")).expect("the built-in catalogue is valid")
    }

    /// The language called `name`.
    ///
    /// # Errors
    /// Says which languages there are.
    pub fn find(&self, name: &str) -> Result<&Language, String> {
        self.0.get(name).ok_or_else(|| {
            let shown: String = name.chars().take(40).collect();
            format!("language: {shown:?} is not offered; use one of {}", self.names().join(", "))
        })
    }

    /// The name of the language whose files end like `file`.
    pub fn guess(&self, file: &str) -> Option<&str> {
        let (_, ending) = file.rsplit_once('.')?;
        let matches = |(_, language): &(&String, &Language)| {
            language.endings.iter().any(|known| known == ending)
        };
        self.0.iter().find(matches).map(|(name, _)| name.as_str())
    }

    /// All interpreters that may be started ahead.
    pub fn warm_starts(&self) -> Vec<WarmStart> {
        let starts = self.0.iter().flat_map(|(name, language)| {
            language.warm.iter().map(move |warm| language.start_of(name, warm))
        });
        starts.collect()
    }

    /// All names.
    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Language {
    /// The command that runs `file` with `arguments`.
    pub fn command(&self, file: &str, arguments: &[String]) -> Vec<String> {
        replaced(&self.command, file, arguments)
    }

    /// The whole environment of a program whose job adds `added`.
    pub fn environment(&self, added: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut all: BTreeMap<&str, &str> = ENVIRONMENT.into();
        all.extend(self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// As [`environment`](Self::environment), of a program that writes line by line.
    pub fn line_buffered_environment(
        &self,
        added: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let mut added = added.clone();
        for (name, value) in &self.line_buffered {
            // A library that the job loads first is loaded beside.
            let others = added.get(name).map_or_else(String::new, |others| format!(":{others}"));
            added.insert(name.clone(), format!("{value}{others}"));
        }
        self.environment(&added)
    }
}

/// `command` with the file and the arguments in it.
fn replaced(command: &[String], file: &str, arguments: &[String]) -> Vec<String> {
    let mut replaced = Vec::with_capacity(command.len() + arguments.len());
    for part in command {
        match part.as_str() {
            // With a directory before it, a name like `-c` is no option.
            "{file}" if file.starts_with('-') => replaced.push(format!("./{file}")),
            "{file}" => replaced.push(file.to_owned()),
            "{args}" => replaced.extend_from_slice(arguments),
            _ => replaced.push(part.clone()),
        }
    }
    replaced
}

impl Language {
    fn start_of(&self, language: &str, warm: &Warm) -> WarmStart {
        WarmStart {
            name: format!("{language}/{}", warm.name),
            command: self.command(&self.file, &[]),
            program: self.file.clone(),
            environment: self.environment(&warm.environment),
            own_variables: warm.environment.keys().cloned().collect(),
            imports: warm.imports.clone(),
            rehearsal: warm.rehearsal.clone(),
            max_programs: warm.max_programs,
            vfork: true,
        }
    }

    /// The warm interpreter that a program may start from, as one that is in `file` and brings `files`
    /// and the variables `added`. It must not see that it isn't the first.
    pub fn warm_start(
        &self,
        language: &str,
        file: &str,
        files: &[(String, Vec<u8>)],
        added: &BTreeMap<String, String>,
    ) -> Option<String> {
        if self.warm.is_empty() {
            return None;
        }
        let is_seen = |name: &String| START_VARIABLES.iter().any(|seen| name.starts_with(seen));
        let is_looked_for = |(name, _): &(String, Vec<u8>)| {
            START_DIRECTORIES.iter().any(|start| name.starts_with(start))
        };
        if file != self.file || added.keys().any(is_seen) || files.iter().any(is_looked_for) {
            return None;
        }
        let (_, text) = files.iter().find(|(name, _)| name == file)?;
        // A module of the job's own comes before one that is loaded already.
        let is_module = |name: &str| {
            let mut endings = self.endings.iter().map(String::as_str).chain(COMPILED);
            let has = |ending: &str| name.strip_suffix(ending).is_some_and(|it| it.ends_with('.'));
            name != file && endings.any(has)
        };
        let brings_modules =
            files.iter().any(|(name, _)| is_module(name) || START_FILES.contains(&name.as_str()));
        let text = std::str::from_utf8(text).ok()?;
        if text.contains(END_OF_ARCHIVE) {
            return None;
        }
        let fits = |warm: &&Warm| {
            let is_meant =
                warm.words.is_empty() || warm.words.iter().any(|word| text.contains(word));
            is_meant && (warm.imports.is_empty() || !brings_modules)
        };
        self.warm.iter().find(fits).map(|warm| format!("{language}/{}", warm.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_can_be_found_and_started() {
        let catalogue = Catalogue::embedded();
        for name in catalogue.names() {
            let language = catalogue.find(name).expect("its own name");
            assert_eq!(catalogue.guess(&language.file), Some(name));
            let command = language.command("-c", &["x y".into()]);
            assert!(command[0].starts_with('/'), "{command:?}");
            assert_eq!(command.last().map(String::as_str), Some("x y"));
            let compile = language.compile.as_ref();
            let reads_file = compile.map_or(command, |compile| compile.command("-c"));
            assert!(reads_file[0].starts_with('/') && reads_file.contains(&"./-c".into()));
            assert!(compile.is_none_or(|compile| !compile.made.is_empty()));
        }
        assert!(catalogue.find("Python\0").expect_err("unknown").contains("python"));
    }

    #[test]
    fn what_is_looked_at_before_the_copy_makes_a_cold_start() {
        let catalogue = Catalogue::embedded();
        let python = catalogue.find("python").expect("built in");
        let start = |text: &[u8], brought: &str| {
            let files = [("main.py".to_owned(), text.to_vec()), (brought.to_owned(), Vec::new())];
            python.warm_start("python", "main.py", &files, &BTreeMap::new())
        };
        assert_eq!(start(b"import pandas", "in.txt").as_deref(), Some("python/data"));
        assert_eq!(start(b"print()", "mine.so").as_deref(), Some("python/plain"));
        for module in ["mine.py", "mine.pyc", "mine.abi3.so", "a/mine.py", "matplotlibrc"] {
            assert_eq!(start(b"import pandas", module).as_deref(), Some("python/plain"));
        }
        for place in [".local/lib/a", ".fonts/a.ttf", ".config/a"] {
            assert_eq!(start(b"print()", place), None, "{place}");
        }
        for text in [&b"PK\x05\x06"[..], b"\xa7\x0d\x0d\x0a"] {
            assert_eq!(start(text, "in.txt"), None, "{text:?}");
        }
    }

    #[test]
    fn a_job_can_replace_a_variable_but_not_lose_one() {
        let catalogue = Catalogue::embedded();
        let python = catalogue.find("python").expect("built in");
        let environment = python.environment(&[("LANG".into(), "de".into())].into());
        assert!(environment.contains(&("LANG".into(), "de".into())));
        assert!(environment.contains(&("HOME".into(), "/box".into())));
    }
}
