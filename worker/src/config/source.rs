//! Reads values from the file and from the environment.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    kind::Kind,
    mistake::Mistake,
    setting::{FILE_VARIABLE, PREFIX, Setting},
    table::{AREAS, TABLE},
    values::{Origin, Values},
};

impl Values {
    /// Takes over what the file at `path` says, and whether it could be read at all.
    pub(super) fn read_file(
        &mut self,
        path: &Path,
        text: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> bool {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map(|span| line_of(text, span.start));
            mistakes.push(Mistake::of_file(
                path,
                line,
                &format!("is not TOML: {}", error.message()),
            ));
        }
        // What a parser recovers from broken lines isn't what was meant.
        if errors.is_empty() {
            for (key, content) in in_order(table.get_ref()) {
                self.read_area(&File { path, text }, key.get_ref(), key, content, mistakes);
            }
        }
        errors.is_empty()
    }

    fn read_area(
        &mut self,
        file: &File<'_>,
        key: &str,
        written: &Key<'_>,
        content: &Spanned<DeValue<'_>>,
        mistakes: &mut Vec<Mistake>,
    ) {
        let place = file.place(written.span().start);
        let known = AREAS.iter().any(|area| area.name == key);
        let holds_areas = AREAS.iter().any(|area| area.name.starts_with(&format!("{key}.")));
        match content.get_ref() {
            DeValue::Table(areas) if holds_areas => {
                for (name, content) in in_order(areas) {
                    let key = format!("{key}.{}", name.get_ref());
                    self.read_area(file, &key, name, content, mistakes);
                }
            }
            DeValue::Table(settings) if known => {
                for (name, value) in in_order(settings) {
                    let Some(at) = self.position(key, name.get_ref()) else {
                        let key = format!("{key}.{}", name.get_ref());
                        let place = file.place(name.span().start);
                        mistakes.push(unknown(&key, Some(&place), suggest_key(&key)));
                        continue;
                    };
                    let text = text_of(&TABLE[at], file, value);
                    self.set(at, text, Origin::File(file.place(value.span().start)), mistakes);
                }
            }
            _ if known => mistakes.push(Mistake::new(
                &format!("{key} ({place})"),
                "is an area, not a setting",
                &format!("write [{key}] and its settings below"),
            )),
            DeValue::Table(_) => {
                mistakes.push(unknown(&format!("[{key}]"), Some(&place), suggest_area(key)));
            }
            _ => mistakes.push(unknown(key, Some(&place), suggest_key(key))),
        }
    }

    /// Takes over what the variables say, over what the file said.
    pub(super) fn read_environment(
        &mut self,
        environment: Vec<(OsString, OsString)>,
        mistakes: &mut Vec<Mistake>,
    ) {
        let mut ours: Vec<(String, OsString)> = environment
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX) && name != FILE_VARIABLE)
            .filter(|(name, _)| !name.starts_with("SANDFLEET_TEST_"))
            .collect();
        ours.sort();
        for (name, value) in ours {
            match TABLE.iter().position(|setting| setting.variable() == name) {
                Some(at) => {
                    let text = value
                        .into_string()
                        .map_err(|value| (value.to_string_lossy().into_owned(), "is not UTF-8"));
                    self.set(at, text, Origin::Environment(name), mistakes);
                }
                None if is_service_link(&name, &value) => {}
                None => mistakes.push(unknown(&name, None, suggest_variable(&name))),
            }
        }
    }
}

type Key<'i> = Spanned<DeString<'i>>;

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    /// `path:line` of the byte at `offset`.
    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path.display(), line_of(self.text, offset))
    }
}

/// The entries as they stand in the file; the parser sorts them by name.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The text of a value in the file, if its type is the setting's; else how it is written there.
fn text_of(
    setting: &Setting,
    file: &File<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Result<String, (String, &'static str)> {
    let written = || file.text.get(value.span()).unwrap_or_default().to_owned();
    match (&setting.kind, value.get_ref()) {
        (Kind::Integer { .. } | Kind::Decimal { .. }, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string())
                .map_err(|_| (written(), "is out of range"))
        }
        (Kind::Decimal { .. }, DeValue::Float(number)) => Ok(number.as_str().to_owned()),
        (Kind::Boolean, DeValue::Boolean(truth)) => Ok(truth.to_string()),
        (Kind::Choice(_) | Kind::Text(_) | Kind::Secret(_), DeValue::String(text)) => {
            Ok(text.to_string())
        }
        (Kind::Choice(_) | Kind::Text(_) | Kind::Secret(_), _) => {
            Err((written(), "is not text in quotes"))
        }
        (_, DeValue::String(_)) => Err((written(), "is text in quotes")),
        _ => Err((written(), "is of the wrong type")),
    }
}

/// Whether Kubernetes made the variable for a service called `sandfleet` or `sandfleet-…`; that is no
/// mistake in the configuration.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let starts_with_digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT") && value.to_string_lossy().contains("://")
        || name.rsplit_once("_PORT_").is_some_and(|(_, rest)| starts_with_digit(rest))
}

/// Something that is no setting. Its value isn't shown: it may be a password under a misspelt name.
fn unknown(name: &str, place: Option<&str>, suggestion: Option<String>) -> Mistake {
    let subject = match place {
        Some(place) => format!("{name} ({place})"),
        None => format!("{name} (environment)"),
    };
    let fix = match suggestion {
        Some(known) => format!("did you mean {known}?"),
        None => "remove it; `sandfleet docs configuration` lists what there is".into(),
    };
    Mistake::new(&subject, "is no setting", &fix)
}

fn suggest_area(unknown: &str) -> Option<String> {
    nearest(unknown, AREAS.iter().map(|area| (area.name.to_owned(), format!("[{}]", area.name))))
}

fn suggest_key(unknown: &str) -> Option<String> {
    let candidates = |s: &Setting| [(s.key(), s.key()), (s.name.to_owned(), s.key())];
    nearest(unknown, TABLE.iter().flat_map(candidates))
}

fn suggest_variable(unknown: &str) -> Option<String> {
    // The prefix is right, and would make everything look alike.
    let rest = unknown.trim_start_matches(PREFIX).to_ascii_lowercase();
    let candidates = |s: &Setting| {
        [(format!("{}_{}", s.area, s.name), s.variable()), (s.name.to_owned(), s.variable())]
    };
    nearest(&rest, TABLE.iter().flat_map(candidates))
}

/// What belongs to the candidate most like `text`, if one is like it at all.
fn nearest(text: &str, candidates: impl Iterator<Item = (String, String)>) -> Option<String> {
    candidates
        .map(|(candidate, known)| (strsim::normalized_damerau_levenshtein(text, &candidate), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}
