//! What is said about settings: mistakes, the values in force, the reference.

use std::{fmt, path::Path};

use super::{
    DEFAULT_FILE, FILE_VARIABLE,
    kind::Kind,
    source::{Origin, Values},
    table::{AREAS, Preset, Setting, TABLE},
};

/// Everything that is wrong with the configuration; the process ends with exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(.0))]
pub struct ConfigErrors(Vec<Mistake>);

impl ConfigErrors {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes)
    }

    /// One message for each mistake.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

fn list(mistakes: &[Mistake]) -> String {
    let mut text = match mistakes.len() {
        1 => "the configuration has a mistake:".to_owned(),
        count => format!("the configuration has {count} mistakes:"),
    };
    for mistake in mistakes {
        text += &format!("\n- {mistake}");
    }
    text
}

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Mistake {
    subject: String,
    problem: String,
    fix: String,
    /// What the setting means.
    doc: String,
}

impl Mistake {
    /// `subject` names the setting, its value and where that comes from.
    pub(super) fn new(subject: &str, problem: &str, fix: &str) -> Self {
        Self {
            subject: subject.into(),
            problem: problem.into(),
            fix: fix.into(),
            doc: String::new(),
        }
    }

    /// The value `text` of `setting` has a problem.
    pub(super) fn of_value(setting: &Setting, text: &str, origin: &Origin, problem: &str) -> Self {
        // Control characters and whole novels stay out of the terminal.
        let text = match setting.kind.show(text).as_str() {
            "" => "\"\"".to_owned(),
            text => text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(80).collect(),
        };
        Self {
            doc: setting.doc.trim().to_owned(),
            ..Self::new(
                &format!("{} = {text} ({origin})", setting.key()),
                problem,
                &format!("use {}", setting.kind.allowed()),
            )
        }
    }

    /// The file at `path` has a problem, at `line` if that is known.
    pub(super) fn of_file(path: &Path, line: Option<usize>, problem: &str) -> Self {
        let line = line.map(|line| format!(":{line}")).unwrap_or_default();
        let fix = format!("correct it, or name another with --config or {FILE_VARIABLE}");
        Self::new(&format!("{}{line}", path.display()), problem, &fix)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, problem, fix, doc } = self;
        write!(f, "{subject} {problem}; {fix}")?;
        if !doc.is_empty() {
            write!(f, "\n  ({doc})")?;
        }
        Ok(())
    }
}

/// See [`super::Settings::effective`].
pub(super) fn effective(values: &Values) -> String {
    let mut text = String::new();
    let mut area = "";
    for (setting, value, origin) in values.shown() {
        if setting.area != area {
            area = setting.area;
            text += &format!("{}[{area}]\n", if text.is_empty() { "" } else { "\n" });
        }
        let value = match setting.kind {
            Kind::Integer { .. } | Kind::Decimal { .. } | Kind::Boolean => value,
            Kind::Choice(_) | Kind::Text(_) | Kind::Secret(_) => {
                toml::Value::String(value).to_string()
            }
        };
        text += &format!("{} = {value} # {origin}\n", setting.name);
    }
    text
}

/// The page `docs/configuration.md`, made from the table of settings.
pub fn reference() -> String {
    let mut text = format!(
        "<!-- Made by `sandfleet docs configuration`; edit worker/src/config/table.rs instead. -->

# Configuration

The worker and the client commands read one TOML file and the environment; the environment wins.

- **File**: the one that `--config` names, else `{FILE_VARIABLE}`, else `{DEFAULT_FILE}` if it exists. Each section below
  is a table in it: `slots` of the section `worker` is `slots` below `[worker]`.
- **Environment**: `SANDFLEET_<AREA>_<NAME>`, so `worker.slots` is `SANDFLEET_WORKER_SLOTS`. A variable with this prefix that
  is no setting is a mistake, except `SANDFLEET_TEST_*` and what Kubernetes sets for services (`…_SERVICE_HOST`, `…_PORT`).

All mistakes are reported at once, before anything connects, and the process ends with exit code 64.
"
    );
    for area in AREAS.iter() {
        text += &format!(
            "\n## {}\n\n{}\n\n| Setting | Default | Allowed | Meaning |\n|---|---|---|---|\n",
            area.name,
            area.doc.trim()
        );
        for setting in TABLE.iter().filter(|setting| setting.area == area.name) {
            text += &row(setting);
        }
    }
    text
}

fn row(setting: &Setting) -> String {
    let default = match &setting.default {
        Preset::Fixed(text) if text.is_empty() => "none".into(),
        Preset::Fixed(text) => format!("`{text}`"),
        Preset::Computed { described, .. } => (*described).into(),
    };
    format!(
        "| `{}` | {default} | {} | {} |\n",
        setting.key(),
        setting.kind.allowed(),
        setting.doc.trim()
    )
}
