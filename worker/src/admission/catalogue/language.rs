//! One language: what its programs are called, how they are compiled and started.

use std::collections::BTreeMap;

use sandfleet_common::{Limits, LimitsRequest};
use serde::Deserialize;

use super::warm::{Shared, Warm, WarmStart};

/// What every program finds in its environment.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/box"),
    ("TMPDIR", "/tmp"),
    ("USER", "sandbox"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
];

/// Where a program that a job made is, and no language's own.
const SCRATCH: &str = "/box/";

/// One language: a file of `deploy/languages`, or of the operator's `languages.directory`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Other names by which a job may ask for it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// File name endings by which the command line recognises it.
    pub endings: Vec<String>,
    /// What the program's file is called when the job doesn't say.
    pub file: String,
    /// How it is started; `{file}`, `{args}` and what follows from the job's limits are replaced.
    pub(super) command: Vec<String>,
    /// How it is compiled before, if it is.
    pub compile: Option<Compile>,
    /// Environment variables that it needs.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Limits of jobs that ask for none, where they differ from those of all languages.
    #[serde(default)]
    pub limits: LimitsRequest,
    /// Artifacts of a job that asks for none.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Whether its interpreter may keep what it prints where PID 1 can read it.
    #[serde(default)]
    pub pending_output: bool,
    /// Environment variables by which its programs write their stdout line by line, for jobs that ask for it. Without
    /// any they do so, or need not: what they print is read before it is written.
    #[serde(default)]
    line_buffered: BTreeMap<String, String>,
    /// Interpreters that may be started ahead; the first that fits a program is its own.
    #[serde(default)]
    pub(super) warm: Vec<Warm>,
    /// The language whose warm interpreters its programs start from, instead of some of its own.
    pub(super) warm_like: Option<String>,
    #[serde(skip)]
    pub(super) shared: Option<Shared>,
    /// The image that it is in, where its sandbox has images.
    #[serde(default = "base")]
    pub image: String,
    /// What shows its version, on stdout or stderr.
    #[serde(default)]
    pub version: Vec<String>,
    /// The Debian packages of the host's release that it is in, for a sandbox without images.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Files that have to be there besides its programs, by absolute paths.
    #[serde(default)]
    needs: Vec<String>,
    /// A program that prints `Hello, world!` and a line feed.
    #[serde(default)]
    pub hello: String,
    /// Whether its programs are in the sandbox, as far as that is known.
    #[serde(skip, default = "yes")]
    pub is_installed: bool,
}

fn base() -> String {
    "base".to_owned()
}

fn yes() -> bool {
    true
}

/// How a language is compiled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compile {
    /// The compiler's command; `{file}` and what follows from its limits are replaced.
    pub(super) command: Vec<String>,
    /// Globs of the files that it makes.
    pub made: Vec<String>,
    /// Environment variables that it needs besides the language's.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Limits that differ from those of all compilers.
    #[serde(default)]
    pub limits: LimitsRequest,
}

/// What a container gives, for the languages that must be told.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processors that it may keep busy.
    pub cpus: u64,
}

impl Bounds {
    /// Before there is a job: what is started then is told of none, since its text says nothing of them.
    pub(super) const UNKNOWN: Self = Self { memory_bytes: 0, cpus: 1 };
    /// What is replaced in commands and variables.
    pub(super) const NAMES: [&str; 2] = ["{memory_bytes}", "{cpus}"];

    /// Those of a container with `limits` that may keep `cpus` processors busy.
    pub fn of(limits: &Limits, cpus: f64) -> Self {
        Self { memory_bytes: limits.memory_bytes, cpus: cpus.ceil().max(1.0) as u64 }
    }

    fn inserted(self, text: &str) -> String {
        // Few texts name them, and every job has some twenty.
        if !text.contains('{') {
            return text.to_owned();
        }
        text.replace("{memory_bytes}", &self.memory_bytes.to_string())
            .replace("{cpus}", &self.cpus.to_string())
    }
}

impl Language {
    /// The command that runs `file` with `arguments`.
    pub fn command(&self, file: &str, arguments: &[String], bounds: Bounds) -> Vec<String> {
        replaced(&self.command, file, arguments, bounds)
    }

    /// The whole environment of a program whose job adds `added`.
    pub fn environment(
        &self,
        added: &BTreeMap<String, String>,
        bounds: Bounds,
    ) -> Vec<(String, String)> {
        environment([&self.environment, added], bounds)
    }

    /// As [`environment`](Self::environment), of a program that writes line by line.
    pub fn line_buffered_environment(
        &self,
        added: &BTreeMap<String, String>,
        bounds: Bounds,
    ) -> Vec<(String, String)> {
        let mut added = added.clone();
        for (name, value) in &self.line_buffered {
            // A library that the job loads first is loaded beside.
            let others = added.get(name).map_or_else(String::new, |others| format!(":{others}"));
            added.insert(name.clone(), format!("{value}{others}"));
        }
        self.environment(&added, bounds)
    }

    /// The command that compiles `file` and its environment, if it is compiled.
    pub fn compiler(&self, file: &str, bounds: Bounds) -> Option<Compiler> {
        let compile = self.compile.as_ref()?;
        Some(Compiler {
            command: replaced(&compile.command, file, &[], bounds),
            environment: environment([&self.environment, &compile.environment], bounds),
        })
    }

    /// Whether its programs can have arguments.
    pub fn takes_arguments(&self) -> bool {
        self.command.iter().any(|part| part == "{args}")
    }

    /// Whether how it is started depends on the limits of a job.
    pub(super) fn depends_on_bounds(&self) -> bool {
        let texts = self.command.iter().chain(self.environment.values());
        texts.into_iter().any(|text| Bounds::NAMES.iter().any(|name| text.contains(name)))
    }

    /// The programs and other files that it can't do without, by absolute paths.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let compiler = self.compile.as_ref().and_then(|compile| compile.command.first());
        let files = compiler.into_iter().chain(self.command.first()).chain(&self.needs);
        files.map(String::as_str).filter(|file| !file.starts_with(SCRATCH))
    }

    /// The interpreters of its own that may be started ahead.
    pub(super) fn warm_starts(&self, name: &str) -> Vec<WarmStart> {
        self.warm.iter().map(|warm| self.start_of(name, warm)).collect()
    }

    /// Whether some of its programs start from a warm interpreter where the sandbox has such.
    pub fn has_warm(&self) -> bool {
        self.shared.is_some()
    }

    fn start_of(&self, language: &str, warm: &Warm) -> WarmStart {
        WarmStart {
            name: format!("{language}/{}", warm.name),
            command: self.command(&self.file, &[], Bounds::UNKNOWN),
            program: self.file.clone(),
            environment: self.environment(&warm.environment, Bounds::UNKNOWN),
            own_variables: warm.environment.keys().cloned().collect(),
            imports: warm.imports.clone(),
            rehearsal: warm.rehearsal.clone(),
            max_programs: warm.max_programs,
            vfork: true,
        }
    }

    /// Its interpreters, as programs of languages start from them that name it `owner`.
    pub(super) fn shared_as(&self, owner: &str) -> Shared {
        let (warm, endings) = (self.warm.clone(), self.endings.clone());
        Shared { owner: owner.to_owned(), warm, endings, file: self.file.clone() }
    }

    /// The warm interpreter that a program may start from, as one that is in `file` and brings `files`
    /// and the variables `added`.
    pub fn warm_start(
        &self,
        file: &str,
        files: &[(String, Vec<u8>)],
        added: &BTreeMap<String, String>,
    ) -> Option<String> {
        self.shared.as_ref()?.warm_start(file, files, added)
    }

    /// Whether a program in `file` that may start from a warm interpreter still may, when it brings these files too.
    pub fn starts_warm_beside(&self, file: &str, files: &[(String, Vec<u8>)]) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.starts_beside(file, files))
    }
}

/// How one program is compiled.
#[derive(Debug)]
pub struct Compiler {
    /// The command.
    pub command: Vec<String>,
    /// Its whole environment: neither the job's variables nor its limits, which are its program's.
    pub environment: Vec<(String, String)>,
}

/// What every program has and what these add, of which only the first is the catalogue's own.
fn environment(added: [&BTreeMap<String, String>; 2], bounds: Bounds) -> Vec<(String, String)> {
    let [own, others] = added;
    let mut all: BTreeMap<String, String> =
        ENVIRONMENT.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    all.extend(own.iter().map(|(name, value)| (name.clone(), bounds.inserted(value))));
    all.extend(others.iter().map(|(name, value)| (name.clone(), value.clone())));
    all.into_iter().collect()
}

/// `command` with the file, the arguments and the bounds in it.
fn replaced(command: &[String], file: &str, arguments: &[String], bounds: Bounds) -> Vec<String> {
    let mut replaced = Vec::with_capacity(command.len() + arguments.len());
    for part in command {
        match part.as_str() {
            // With a directory before it, a name like `-c` is no option.
            "{file}" if file.starts_with('-') => replaced.push(format!("./{file}")),
            "{file}" => replaced.push(file.to_owned()),
            "{args}" => replaced.extend_from_slice(arguments),
            _ => replaced.push(bounds.inserted(part)),
        }
    }
    replaced
}
