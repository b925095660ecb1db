//! `problem.yaml`, in both versions.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};

use super::files::PackageFiles;

/// What judging needs of `problem.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Problem {
    pub(super) name: String,
    pub(super) is_legacy: bool,
    pub(super) is_scoring: bool,
    pub(super) is_interactive: bool,
    /// Whether the package has an output validator of its own, where it says so.
    pub(super) has_validator: Option<bool>,
    /// Arguments of the output validator for all tests.
    pub(super) validator_args: Vec<String>,
    pub(super) limits: Limits,
    /// Which languages it may be solved in; nothing for all.
    pub(super) languages: Option<Vec<String>>,
}

/// Limits as they are stated.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) time_limit: Option<f64>,
    pub(super) time_resolution: Option<f64>,
    time_multipliers: Option<Multipliers>,
    time_multiplier: Option<f64>,
    #[serde(rename = "time_safety_margin")]
    _time_safety_margin: Option<f64>,
    pub(super) memory: Option<u64>,
    pub(super) output: Option<u64>,
    pub(super) code: Option<u64>,
    pub(super) compilation_time: Option<u64>,
    pub(super) compilation_memory: Option<u64>,
    pub(super) validation_time: Option<u64>,
    pub(super) validation_memory: Option<u64>,
    pub(super) validation_output: Option<u64>,
    validation_passes: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Multipliers {
    ac_to_time_limit: Option<f64>,
    time_limit_to_tle: Option<f64>,
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    /// The words of one text, as a shell would split it without quotes, or all texts.
    pub(super) fn words(self) -> Vec<String> {
        match self {
            Texts::One(text) => text.split_whitespace().map(str::to_owned).collect(),
            Texts::Many(texts) => texts,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    One(String),
    ByLanguage(BTreeMap<String, String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Current {
    #[serde(rename = "problem_format_version")]
    _version: String,
    #[serde(rename = "type")]
    kind: Option<Texts>,
    name: Option<Name>,
    #[serde(default)]
    limits: Limits,
    languages: Option<Texts>,
    constants: Option<BTreeMap<String, IgnoredAny>>,
    #[serde(rename = "uuid")]
    _uuid: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _package_version: Option<IgnoredAny>,
    #[serde(rename = "credits")]
    _credits: Option<IgnoredAny>,
    #[serde(rename = "source")]
    _source: Option<IgnoredAny>,
    #[serde(rename = "license")]
    _license: Option<IgnoredAny>,
    #[serde(rename = "rights_owner")]
    _rights_owner: Option<IgnoredAny>,
    #[serde(rename = "embargo_until")]
    _embargo_until: Option<IgnoredAny>,
    #[serde(rename = "keywords")]
    _keywords: Option<IgnoredAny>,
    #[serde(rename = "allow_file_writing")]
    _allow_file_writing: Option<bool>,
}

/// What the older version says besides is not looked at.
#[derive(Deserialize)]
struct LegacyProblem {
    name: Option<Name>,
    #[serde(rename = "type")]
    kind: Option<Texts>,
    validation: Option<String>,
    validator_flags: Option<Texts>,
    #[serde(default)]
    limits: Limits,
    languages: Option<Texts>,
}

#[derive(Deserialize)]
struct Version {
    problem_format_version: Option<String>,
}

impl Problem {
    pub(super) fn read(files: &PackageFiles) -> Result<Self, String> {
        let text = files.text("problem.yaml")?.unwrap_or_default();
        let version: Version = yaml("problem.yaml", text)?;
        let problem = match version.problem_format_version.as_deref() {
            None | Some("legacy" | "legacy-icpc") => Self::legacy(yaml("problem.yaml", text)?)?,
            Some("2025-09") => Self::current(yaml("problem.yaml", text)?)?,
            Some(other) => {
                return Err(format!(
                    "problem.yaml: problem_format_version {other:?} is not read; legacy and 2025-09 are"
                ));
            }
        };
        problem.limits.check()?;
        Ok(problem)
    }

    fn current(file: Current) -> Result<Self, String> {
        if file.constants.is_some_and(|constants| !constants.is_empty()) {
            return Err("problem.yaml: constants are not replaced here; write them out".into());
        }
        let kinds = match file.kind {
            None => Vec::new(),
            Some(Texts::One(kind)) => vec![kind],
            Some(Texts::Many(kinds)) => kinds,
        };
        Ok(Self {
            name: text_of(file.name),
            is_legacy: false,
            is_scoring: is_scoring(&kinds)?,
            is_interactive: kinds.iter().any(|kind| kind == "interactive"),
            has_validator: None,
            validator_args: Vec::new(),
            limits: file.limits,
            languages: languages(file.languages),
        })
    }

    fn legacy(file: LegacyProblem) -> Result<Self, String> {
        let kinds = file.kind.map_or_else(Vec::new, Texts::words);
        let validation = file.validation.unwrap_or_else(|| "default".into());
        let words: Vec<&str> = validation.split_whitespace().collect();
        let mut is_scoring = is_scoring(&kinds)?;
        let mut is_interactive = kinds.iter().any(|kind| kind == "interactive");
        for word in words.iter().skip(1) {
            match *word {
                "score" => is_scoring = true,
                "interactive" => is_interactive = true,
                other => {
                    return Err(format!("problem.yaml: validation: {other:?} is not offered here"));
                }
            }
        }
        let has_validator = match words.first() {
            Some(&"custom") => true,
            Some(&"default") | None => false,
            Some(other) => {
                return Err(format!(
                    "problem.yaml: validation: {other:?} is neither default nor custom"
                ));
            }
        };
        Ok(Self {
            name: text_of(file.name),
            is_legacy: true,
            is_scoring,
            is_interactive,
            has_validator: Some(has_validator),
            validator_args: file.validator_flags.map_or_else(Vec::new, Texts::words),
            limits: file.limits,
            languages: languages(file.languages),
        })
    }
}

fn is_scoring(kinds: &[String]) -> Result<bool, String> {
    let mut is_scoring = false;
    for kind in kinds {
        match kind.as_str() {
            "pass-fail" | "interactive" => {}
            "scoring" => is_scoring = true,
            other => return Err(format!("problem.yaml: type: {other:?} is not offered here")),
        }
    }
    Ok(is_scoring)
}

fn languages(languages: Option<Texts>) -> Option<Vec<String>> {
    let names = languages?.words();
    (names != ["all"]).then_some(names)
}

fn text_of(name: Option<Name>) -> String {
    match name {
        None => String::new(),
        Some(Name::One(name)) => name,
        Some(Name::ByLanguage(names)) => {
            let english = names.get("en").or_else(|| names.values().next());
            english.cloned().unwrap_or_default()
        }
    }
}

impl Limits {
    /// By how much the time limit is above what the slowest accepted submission takes.
    pub(super) fn time_factor(&self) -> f64 {
        let of_accepted = self.time_multipliers.as_ref().and_then(|it| it.ac_to_time_limit);
        of_accepted.or(self.time_multiplier).unwrap_or(2.0)
    }

    fn check(&self) -> Result<(), String> {
        if self.validation_passes.is_some() {
            return Err("problem.yaml: limits.validation_passes: problems of several passes are not offered".into());
        }
        let to_tle = self.time_multipliers.as_ref().and_then(|it| it.time_limit_to_tle);
        for (name, value) in [
            ("time_limit", self.time_limit),
            ("time_resolution", self.time_resolution),
            ("time_multiplier", self.time_multiplier),
            ("time_multipliers.ac_to_time_limit", Some(self.time_factor())),
            ("time_multipliers.time_limit_to_tle", to_tle),
        ] {
            if let Some(value) = value
                && !(value.is_finite() && value > 0.0 && value < 1e6)
            {
                return Err(format!("problem.yaml: limits.{name}: {value} is out of range"));
            }
        }
        Ok(())
    }
}

/// A file of YAML. The parser bounds nesting and what aliases expand to.
pub(super) fn yaml<T: serde::de::DeserializeOwned>(path: &str, text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        let text = error.to_string();
        format!("{path}: {}", text.lines().next().unwrap_or_default())
    })
}
