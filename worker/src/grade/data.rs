//! `data/`: tests, their groups, and what is configured for them.

use sandfleet_common::{
    Comparison, ComparisonKind, InputFile, ScoreAggregation, Test, TestGroup, TestKind,
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    files::PackageFiles,
    flags,
    problem::{Problem, Texts, yaml},
};

/// The tests of a package.
#[derive(Debug, Clone, Default)]
pub(super) struct Data {
    pub(super) tests: Vec<Test>,
    /// Of a scoring problem.
    pub(super) groups: Vec<TestGroup>,
    /// Whether the first test that is not accepted decides.
    pub(super) stops: bool,
}

/// `test_group.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupFile {
    args: Option<Vec<String>>,
    output_validator_args: Option<Vec<String>>,
    max_score: Option<MaxScore>,
    score_aggregation: Option<String>,
    require_pass: Option<Texts>,
    static_validation: Option<IgnoredAny>,
    static_validation_score: Option<IgnoredAny>,
    #[serde(rename = "input_validator_args")]
    _input_validator_args: Option<IgnoredAny>,
    #[serde(rename = "input_visualizer_args")]
    _input_visualizer_args: Option<IgnoredAny>,
    #[serde(rename = "output_visualizer_args")]
    _output_visualizer_args: Option<IgnoredAny>,
    #[serde(rename = "full_feedback")]
    _full_feedback: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MaxScore {
    Number(f64),
    Word(String),
}

/// The file of one test, `NAME.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    args: Option<Vec<String>>,
    output_validator_args: Option<Vec<String>>,
    #[serde(rename = "input_validator_args")]
    _input_validator_args: Option<IgnoredAny>,
    #[serde(rename = "input_visualizer_args")]
    _input_visualizer_args: Option<IgnoredAny>,
    #[serde(rename = "output_visualizer_args")]
    _output_visualizer_args: Option<IgnoredAny>,
    #[serde(rename = "full_feedback")]
    _full_feedback: Option<bool>,
    #[serde(rename = "hint")]
    _hint: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// `testdata.yaml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LegacyFile {
    on_reject: Option<String>,
    grading: Option<String>,
    grader_flags: Option<Texts>,
    output_validator_flags: Option<Texts>,
    accept_score: Option<Number>,
    reject_score: Option<Number>,
    range: Option<String>,
    #[serde(rename = "input_validator_flags")]
    _input_validator_flags: Option<IgnoredAny>,
}

/// A number, also in quotes.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(f64),
    Text(String),
}

impl Number {
    fn value(&self, path: &str) -> Result<f64, String> {
        match self {
            Number::Number(value) => Ok(*value),
            Number::Text(text) => {
                text.trim().parse().map_err(|_| format!("{path}: {text:?} is no number"))
            }
        }
    }
}

/// What holds in a directory, and below it unless that says something else.
#[derive(Debug, Clone)]
struct Config {
    args: Vec<String>,
    validator_args: Vec<String>,
    stops: bool,
    aggregation: ScoreAggregation,
    max_score: Option<f64>,
    accept_score: f64,
    ignores_sample: bool,
    require_pass: Vec<String>,
}

struct Reader<'a> {
    files: &'a PackageFiles,
    problem: &'a Problem,
    has_validator: bool,
    data: Data,
}

/// Reads the tests of `problem`, whose output is judged by a validator of its own if it has one.
pub(super) fn read(
    files: &PackageFiles,
    problem: &Problem,
    has_validator: bool,
) -> Result<Data, String> {
    let mut reader = Reader { files, problem, has_validator, data: Data::default() };
    let all = Config {
        args: Vec::new(),
        validator_args: problem.validator_args.clone(),
        stops: problem.is_legacy,
        aggregation: ScoreAggregation::Sum,
        max_score: None,
        accept_score: 1.0,
        ignores_sample: false,
        require_pass: Vec::new(),
    };
    let all = reader.config("data/", all)?;
    reader.data.stops = match problem.is_legacy {
        true => all.stops,
        // Every test counts for a score, and one that fails decides a problem without.
        false => !problem.is_scoring,
    };
    for name in ["sample", "secret"] {
        let mut config = all.clone();
        if !problem.is_legacy {
            (config.aggregation, config.max_score) = match name {
                "secret" => (ScoreAggregation::Sum, Some(100.0)),
                _ => (ScoreAggregation::PassFail, Some(0.0)),
            };
        }
        let mut config = reader.config(&format!("data/{name}/"), config)?;
        if name == "sample" && all.ignores_sample {
            (config.aggregation, config.max_score) = (ScoreAggregation::PassFail, Some(0.0));
        }
        reader.directory(name, &config)?;
    }
    if reader.data.tests.is_empty() {
        return Err("data/: has no tests; add data/secret/NAME.in and NAME.ans".into());
    }
    Ok(reader.data)
}

impl Reader<'_> {
    /// What holds in `directory`, where `outer` holds around it.
    fn config(&self, directory: &str, outer: Config) -> Result<Config, String> {
        let mut config = Config { require_pass: Vec::new(), ..outer };
        if self.problem.is_legacy {
            let path = format!("{directory}testdata.yaml");
            let Some(text) = self.files.text(&path)? else { return Ok(config) };
            if let Some(file) = yaml::<Option<LegacyFile>>(&path, text)? {
                config.add_legacy(&path, file)?;
            }
            return Ok(config);
        }
        let path = format!("{directory}test_group.yaml");
        let Some(text) = self.files.text(&path)? else { return Ok(config) };
        let Some(file) = yaml::<Option<GroupFile>>(&path, text)? else { return Ok(config) };
        if file.static_validation.is_some() || file.static_validation_score.is_some() {
            return Err(format!("{path}: static validation is not offered here"));
        }
        config.args = file.args.unwrap_or(config.args);
        config.validator_args = file.output_validator_args.unwrap_or(config.validator_args);
        if let Some(name) = file.score_aggregation {
            config.aggregation = match name.as_str() {
                "pass-fail" => ScoreAggregation::PassFail,
                "sum" => ScoreAggregation::Sum,
                "min" => ScoreAggregation::Min,
                other => return Err(format!("{path}: score_aggregation: {other:?} is unknown")),
            };
        }
        match file.max_score {
            None => {}
            Some(MaxScore::Number(most)) => config.max_score = Some(most),
            Some(MaxScore::Word(word)) if word == "unbounded" => config.max_score = None,
            Some(MaxScore::Word(word)) => {
                return Err(format!("{path}: max_score: {word:?} is no number"));
            }
        }
        config.require_pass = match file.require_pass {
            None => Vec::new(),
            Some(Texts::One(name)) => vec![name],
            Some(Texts::Many(names)) => names,
        };
        Ok(config)
    }

    /// Adds what is in `data/NAME/`.
    fn directory(&mut self, name: &str, config: &Config) -> Result<(), String> {
        let directory = format!("data/{name}/");
        let entries = self.files.entries(&directory);
        if entries.is_empty() {
            return Ok(());
        }
        if self.problem.is_scoring {
            let is_decided = config.aggregation == ScoreAggregation::PassFail;
            self.data.groups.push(TestGroup {
                name: name.to_owned(),
                score_aggregation: config.aggregation,
                max_score: config.max_score,
                require_pass: config.require_pass.clone(),
                stop_at_first_failure: match self.problem.is_legacy {
                    true => config.stops,
                    false => is_decided,
                },
            });
        }
        for entry in &entries {
            if let Some(base) = entry.strip_suffix(".in") {
                self.test(name, base, config)?;
            } else if let Some(inner) = entry.strip_suffix('/')
                && !inner.ends_with(".files")
            {
                let mut inherited = config.clone();
                if !self.problem.is_legacy {
                    (inherited.aggregation, inherited.max_score) =
                        (ScoreAggregation::PassFail, None);
                }
                let config = self.config(&format!("{directory}{inner}/"), inherited)?;
                self.directory(&format!("{name}/{inner}"), &config)?;
            }
        }
        Ok(())
    }

    fn test(&mut self, group: &str, base: &str, config: &Config) -> Result<(), String> {
        let path = format!("data/{group}/{base}");
        let input = self.files.get(&format!("{path}.in")).unwrap_or_default();
        let answer = self.files.get(&format!("{path}.ans"));
        if answer.is_none() && !self.has_validator {
            return Err(format!("{path}.ans: missing; every test has an answer"));
        }
        let mut test = Test::new(format!("{group}/{base}"), input, answer.unwrap_or_default());
        let (mut args, mut validator_args) = (config.args.clone(), config.validator_args.clone());
        let own = format!("{path}.yaml");
        if !self.problem.is_legacy
            && let Some(text) = self.files.text(&own)?
            && let Some(file) = yaml::<Option<TestFile>>(&own, text)?
        {
            args = file.args.unwrap_or(args);
            validator_args = file.output_validator_args.unwrap_or(validator_args);
        }
        test.args = args;
        if group == "sample" || group.starts_with("sample/") {
            test.kind = TestKind::Sample;
        }
        test.comparison = Some(match self.has_validator {
            true => Comparison { kind: ComparisonKind::Validator, ..Comparison::default() },
            false => flags::comparison(&validator_args).map_err(|why| format!("{path}: {why}"))?,
        });
        if self.has_validator {
            test.validator_args = validator_args;
        }
        let beside = format!("{path}.files/");
        let beside = self.files.below(&beside);
        test.files = beside.map(|(name, bytes)| InputFile::from_bytes(name, bytes)).collect();
        if self.problem.is_scoring {
            test.group = Some(group.to_owned());
            if self.problem.is_legacy && config.aggregation != ScoreAggregation::PassFail {
                test.max_score = Some(config.accept_score);
            }
        }
        self.data.tests.push(test);
        Ok(())
    }
}

impl Config {
    fn add_legacy(&mut self, path: &str, file: LegacyFile) -> Result<(), String> {
        let refuse = |what: &str| Err(format!("{path}: {what} is not offered here"));
        match file.on_reject.as_deref() {
            None => {}
            Some("break" | "first_error") => self.stops = true,
            Some("continue" | "worst_error") => self.stops = false,
            Some(other) => return refuse(&format!("on_reject: {other:?}")),
        }
        if file.grading.is_some_and(|grading| grading != "default") {
            return refuse("grading by a grader of its own");
        }
        for flag in file.grader_flags.map_or_else(Vec::new, Texts::words) {
            match flag.as_str() {
                "sum" => self.aggregation = ScoreAggregation::Sum,
                "min" => self.aggregation = ScoreAggregation::Min,
                "ignore_sample" => self.ignores_sample = true,
                // They choose among verdicts; here it is always the first.
                "first_error" | "worst_error" | "no_errors" | "accept_if_any_accepted" => {}
                other => return refuse(&format!("grader_flags: {other:?}")),
            }
        }
        if let Some(flags) = file.output_validator_flags {
            self.validator_args = flags.words();
        }
        if let Some(score) = file.accept_score {
            self.accept_score = score.value(path)?;
        }
        if let Some(score) = file.reject_score
            && score.value(path)? != 0.0
        {
            return refuse("a reject_score that is not 0");
        }
        if let Some(range) = file.range {
            let most = range.split_whitespace().nth(1).and_then(|most| most.parse::<f64>().ok());
            self.max_score = most.filter(|most| most.is_finite());
        }
        Ok(())
    }
}
