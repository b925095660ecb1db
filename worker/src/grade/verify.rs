//! What the submissions in a package have to get, and whether they did.

use std::collections::{BTreeMap, BTreeSet};

use sandfleet_common::{JobResult, Status, Verdict};
use serde::{Deserialize, de::IgnoredAny};

use super::{files::PackageFiles, problem::yaml};

/// Verdicts as packages know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// Accepted.
    Ac,
    /// Wrong answer.
    Wa,
    /// Time limit exceeded.
    Tle,
    /// Run-time error, a memory limit and too much output among them.
    Rte,
}

/// What a submission has to get.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    permitted: BTreeSet<Outcome>,
    required: BTreeSet<Outcome>,
    /// Between these, if it is scored.
    score: Option<(f64, f64)>,
    /// Whether it has to score something, and not everything.
    is_partial: bool,
}

/// Expectations by directory and by file.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<String, Rule>);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    permitted: Option<Vec<Outcome>>,
    required: Option<Vec<Outcome>>,
    score: Option<Score>,
    #[serde(rename = "authors")]
    _authors: Option<IgnoredAny>,
    #[serde(rename = "model_solution")]
    _model_solution: Option<bool>,
    #[serde(rename = "use_for_time_limit")]
    _use_for_time_limit: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Score {
    One(f64),
    Range([f64; 2]),
}

const ALL: [Outcome; 4] = [Outcome::Ac, Outcome::Wa, Outcome::Tle, Outcome::Rte];

/// The rules of `submissions/submissions.yaml`, if there is one.
pub(super) fn rules(files: &PackageFiles) -> Result<Rules, String> {
    const PATH: &str = "submissions/submissions.yaml";
    let Some(text) = files.text(PATH)? else { return Ok(Rules::default()) };
    let rules: Option<BTreeMap<String, Rule>> = yaml(PATH, text)?;
    let rules = rules.unwrap_or_default();
    if let Some(glob) = rules.keys().find(|name| name.contains(['{', '}'])) {
        return Err(format!("{PATH}: {glob:?}: braces are not offered here; write it out"));
    }
    Ok(Rules(rules))
}

impl Rules {
    /// What the submission `name`, a path below `submissions/`, has to get; nothing if that is not known.
    pub(super) fn expected(&self, name: &str) -> Option<Expected> {
        let directory = name.split('/').next().unwrap_or(name);
        let (permitted, required): (&[Outcome], &[Outcome]) = match directory {
            "accepted" => (&[Outcome::Ac], &ALL),
            "rejected" => (&ALL, &[Outcome::Wa, Outcome::Tle, Outcome::Rte]),
            "wrong_answer" => (&[Outcome::Ac, Outcome::Wa], &[Outcome::Wa]),
            "time_limit_exceeded" => (&[Outcome::Ac, Outcome::Tle], &[Outcome::Tle]),
            "run_time_error" => (&[Outcome::Ac, Outcome::Rte], &[Outcome::Rte]),
            "brute_force" => {
                (&[Outcome::Ac, Outcome::Rte, Outcome::Tle], &[Outcome::Rte, Outcome::Tle])
            }
            "partially_accepted" | "slow_accepted" => (&ALL, &ALL),
            _ if self.matching(name).next().is_some() => (&ALL, &ALL),
            _ => return None,
        };
        let set = |outcomes: &[Outcome]| outcomes.iter().copied().collect();
        let mut expected = Expected {
            permitted: set(permitted),
            required: set(required),
            score: None,
            is_partial: directory == "partially_accepted",
        };
        for (glob, rule) in self.matching(name) {
            // The name of a directory replaces what holds there by default; all else is added.
            let replaces = glob == directory;
            for (own, all) in [
                (&rule.permitted, &mut expected.permitted),
                (&rule.required, &mut expected.required),
            ] {
                let Some(own) = own else { continue };
                let own: BTreeSet<_> = own.iter().copied().collect();
                *all = if replaces { own } else { all.intersection(&own).copied().collect() };
            }
            expected.score = match rule.score {
                None => expected.score,
                Some(Score::One(score)) => Some((score, score)),
                Some(Score::Range([least, most])) => Some((least, most)),
            };
        }
        Some(expected)
    }

    fn matching<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a Rule)> {
        let matches = move |glob: &str| {
            let mut ends = name.match_indices('/').map(|(end, _)| &name[..end]).chain([name]);
            ends.any(|part| is_match(glob, part))
        };
        self.0
            .iter()
            .filter(move |(glob, _)| matches(glob))
            .map(|(glob, rule)| (glob.as_str(), rule))
    }
}

/// Whether `*`, which stands for anything within a component, makes `path` of `glob`.
fn is_match(glob: &str, path: &str) -> bool {
    let (mut globs, mut parts) = (glob.split('/'), path.split('/'));
    loop {
        match (globs.next(), parts.next()) {
            (None, None) => return true,
            (Some(glob), Some(part)) if is_component(glob, part) => {}
            _ => return false,
        }
    }
}

fn is_component(glob: &str, part: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = part.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What a verdict is to a package; nothing if it says nothing of the program.
pub(super) fn outcome_of(verdict: Verdict) -> Option<Outcome> {
    match verdict {
        Verdict::Accepted => Some(Outcome::Ac),
        Verdict::WrongAnswer => Some(Outcome::Wa),
        Verdict::TimeLimitExceeded => Some(Outcome::Tle),
        Verdict::RuntimeError
        | Verdict::MemoryLimitExceeded
        | Verdict::OutputLimitExceeded
        | Verdict::SecurityViolation => Some(Outcome::Rte),
        Verdict::CompilationError | Verdict::JudgeError | Verdict::InternalError => None,
    }
}

impl Expected {
    /// Why a submission with this result did not get what it has to, if so.
    pub fn mismatch(&self, result: &JobResult) -> Option<String> {
        if result.tests.is_empty() || result.status == Status::Error {
            return Some(result.message.to_string());
        }
        let mut got = BTreeSet::new();
        for test in &result.tests {
            let Some(verdict) = test.verdict else { continue };
            let Some(outcome) = outcome_of(verdict) else {
                return Some(format!("test {}: {}", test.name, test.message));
            };
            if !self.permitted.contains(&outcome) {
                return Some(format!("test {}: {verdict} is not permitted", test.name));
            }
            got.insert(outcome);
        }
        if got.is_disjoint(&self.required) {
            let names: Vec<_> =
                self.required.iter().map(|it| format!("{it:?}").to_uppercase()).collect();
            return Some(format!("no test got {}", names.join(" or ")));
        }
        let score = result.score.unwrap_or(0.0);
        if let Some((least, most)) = self.score
            && !(least..=most).contains(&score)
        {
            return Some(format!("scored {score}, and not {least} to {most}"));
        }
        let is_full = got.iter().all(|outcome| *outcome == Outcome::Ac);
        (self.is_partial && (is_full || score == 0.0))
            .then(|| format!("scored {score}, which is not a part"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stay_within_a_component() {
        for (glob, path, matches) in [
            ("accepted", "accepted", true),
            ("accepted/*", "accepted/a.py", true),
            ("accepted/*", "accepted/a/b", false),
            ("*/slow*.py", "accepted/slow_it.py", true),
            ("*/a*b*c", "x/aXbYc", true),
            ("*/a*b*c", "x/aXcYb", false),
            ("*", "a", true),
        ] {
            assert_eq!(is_match(glob, path), matches, "{glob} {path}");
        }
    }

    #[test]
    fn a_directory_says_what_is_expected_and_the_file_changes_it() {
        let rules: BTreeMap<String, Rule> = serde_json::from_str(
            r#"{"time_limit_exceeded":{"permitted":["AC","WA","TLE"]},"accepted/slow.py":{"score":[40,60]},
                "odd/*":{"required":["WA"]}}"#,
        )
        .expect("rules");
        let rules = Rules(rules);
        let of = |name: &str| rules.expected(name).expect("known");
        assert!(of("time_limit_exceeded/a.py").permitted.contains(&Outcome::Wa));
        assert_eq!(of("accepted/slow.py").score, Some((40.0, 60.0)));
        assert_eq!(of("accepted/a.py").permitted, [Outcome::Ac].into());
        assert_eq!(of("odd/a.py").required, [Outcome::Wa].into());
        assert_eq!(rules.expected("other/a.py"), None);
    }
}
