//! Mistakes in the configuration.

use std::{fmt, path::Path};

use super::setting::{FILE_VARIABLE, Setting};

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
    pub(super) fn of_value(
        setting: &Setting,
        text: &str,
        origin: impl fmt::Display,
        problem: &str,
    ) -> Self {
        // Control characters and long texts stay out of the terminal.
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
