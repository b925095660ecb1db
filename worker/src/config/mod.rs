//! The settings of the worker and of the client commands. Nothing else reads the environment or a
//! configuration file, and all mistakes are reported at once, before anything connects.
//!
//! `table` declares every setting once; the types, the checks, `docs/configuration.md` and
//! `sandfleet`'s error messages follow from it.

mod address;
mod budgets;
mod collector;
mod kind;
mod mistake;
mod report;
mod rules;
mod setting;
mod source;
mod table;
mod tenants;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests;
mod values;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

pub use address::ServiceUrl;
pub use budgets::{Budgets, unit as budget_unit};
pub use collector::SecretHeaders;
pub use kind::{Backend, BackendChoice, HostNames, LogFormat};
pub use mistake::ConfigErrors;
pub use report::reference;
pub use setting::{DEFAULT_FILE, FILE_VARIABLE};
pub use table::{
    AdminSettings, AuditSettings, ExporterSettings, ImagesSettings, JobSettings, LimitSettings,
    LogSettings, QueueSettings, SandboxSettings, Settings, StoreSettings, TracingSettings,
    WorkerSettings,
};
pub use tenants::{TenantUsers, UserNames};

use sandfleet_common::{LimitName, Limits};

use crate::admission::catalogue::Catalogue;
use mistake::Mistake;
use table::TABLE;
use values::Values;

impl LimitSettings {
    /// The most that a slot gets of each: for a program or for a compiler.
    pub fn largest(&self) -> Limits {
        let mut largest = self.max.clone();
        for name in LimitName::ALL {
            largest.set(*name, largest.get(*name).max(self.compile.get(*name)));
        }
        largest
    }
}

impl Settings {
    /// The settings from the file at `path` (or the one `SANDFLEET_CONFIG` names, or
    /// [`DEFAULT_FILE`]), overridden by the `SANDFLEET_*` variables in `environment`, which is
    /// [`std::env::vars_os`] outside tests.
    ///
    /// # Errors
    /// Every mistake in all of them.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigErrors> {
        load_with_default(path, environment, Path::new(DEFAULT_FILE))
    }

    /// The settings in force as TOML, the source of each beside it, passwords masked.
    pub fn effective(&self) -> String {
        report::effective(&self.values)
    }
}

fn load_with_default(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    default_file: &Path,
) -> Result<Settings, ConfigErrors> {
    let environment: Vec<_> = environment.into_iter().collect();
    let mut values = Values::defaults(&TABLE);
    let mut mistakes = Vec::new();

    let named = path.map(Path::to_owned).or_else(|| file_variable(&environment));
    let file = named.as_deref().unwrap_or(default_file);
    let mut file_is_readable = true;
    match fs::read_to_string(file) {
        Ok(text) => file_is_readable = values.read_file(file, &text, &mut mistakes),
        Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {}
        Err(error) => {
            file_is_readable = false;
            mistakes.push(Mistake::of_file(file, None, &format!("cannot be read: {error}")));
        }
    }
    values.read_environment(environment, &mut mistakes);
    insert_password(&mut values, "queue", &mut mistakes);
    insert_password(&mut values, "store", &mut mistakes);
    // Against defaults that the unreadable file may have replaced, the rest could be blamed wrongly.
    if file_is_readable {
        mistakes.extend(rules::contradictions(&values));
    }
    let catalogue = catalogue(&values, &mut mistakes);
    if mistakes.is_empty() {
        Ok(table::build(values, catalogue))
    } else {
        Err(ConfigErrors::new(mistakes))
    }
}

/// The built-in languages, and those of the operator's directory.
fn catalogue(values: &Values, mistakes: &mut Vec<Mistake>) -> Catalogue {
    let directory = values.sound("jobs", "languages_directory").filter(|path| !path.is_empty());
    let Some(directory) = directory else { return Catalogue::embedded() };
    Catalogue::load(Path::new(directory)).unwrap_or_else(|faults| {
        mistakes.extend(faults.iter().map(|fault| {
            let line = fault.line.map(|line| format!(":{line}")).unwrap_or_default();
            let subject = format!("{}{line}", fault.path.display());
            let fix = "correct it (jobs.languages_directory; models are in deploy/languages)";
            Mistake::new(&subject, &fault.problem, fix)
        }));
        Catalogue::embedded()
    })
}

fn file_variable(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let (_, value) = environment.iter().find(|(name, _)| name == FILE_VARIABLE)?;
    // Compose files pass variables that aren't set on as empty strings.
    (!value.is_empty()).then(|| PathBuf::from(value))
}

/// Puts the content of `<area>.password_file`, if there is one, into `<area>.url`.
fn insert_password(values: &mut Values, area: &'static str, mistakes: &mut Vec<Mistake>) {
    let Some(path) = values.sound(area, "password_file").filter(|path| !path.is_empty()) else {
        return;
    };
    match read_password(Path::new(path)) {
        Ok(password) => values.replace(area, "url", |url| address::with_password(url, &password)),
        Err(problem) => mistakes.push(values.mistake(
            area,
            "password_file",
            &problem,
            "name a file that holds the password on one line",
        )),
    }
}

fn read_password(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Editors and `echo` end the line; the password ends before that.
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err("the file is empty".into());
    }
    if password.contains(char::is_control) {
        return Err("the file holds more than one line of text".into());
    }
    Ok(password.to_owned())
}
