//! Tests: what a job's program is tried on, and what is said about it for each.

use serde::{Deserialize, Serialize};

use crate::{
    Content, Encoding, InputFile, LimitsRequest, PrintableText, RunOutput, Usage, Verdict,
};

/// One run of the program, on input of its own and in a container of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Test {
    /// What results call it: 1 to 256 bytes of printable text, and no other test's.
    pub name: String,
    /// Whether those who submit programs may see it. It is only passed on.
    #[serde(default, skip_serializing_if = "TestKind::is_secret")]
    pub kind: TestKind,
    /// The name of the group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What the program reads on stdin, in `stdin_encoding`; without it the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// How `stdin` stands for bytes.
    #[serde(default, skip_serializing_if = "Encoding::is_utf8")]
    pub stdin_encoding: Encoding,
    /// Arguments of the program, after the job's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Files put into the working directory besides the job's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    /// Limits asked for; what is absent is as the job asks.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub limits: LimitsRequest,
    /// What the program has to print on stdout, in `answer_encoding`; with an output validator its answer file. It never
    /// reaches the program's sandbox. Without it a program that exits with code 0 is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// How `answer` stands for bytes.
    #[serde(default, skip_serializing_if = "Encoding::is_utf8")]
    pub answer_encoding: Encoding,
    /// How stdout is compared with `answer`; without it as `trimmed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Arguments of the output validator, after its three files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validator_args: Vec<String>,
    /// The score of the test if it is accepted, unless its output validator gives another; without it, it follows
    /// from the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_score: Option<f64>,
}

/// Who may see a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
pub enum TestKind {
    /// Shown to those who submit programs.
    Sample,
    /// Kept from them.
    #[default]
    Secret,
}

/// How a program's stdout is compared with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct Comparison {
    /// By what.
    #[serde(rename = "type")]
    pub kind: ComparisonKind,
    /// With `tokens` and `numeric`: whether `A` and `a` differ.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub case_sensitive: bool,
    /// With `tokens` and `numeric`: whether white space has to be the same, byte for byte.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub space_change_sensitive: bool,
    /// With `numeric`: how far a number may be from the answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absolute: Option<f64>,
    /// With `numeric`: how far, as a fraction of the answer's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative: Option<f64>,
}

/// The kinds of [`Comparison`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case")]
pub enum ComparisonKind {
    /// Every byte.
    Exact,
    /// Every byte but white space at the end of a line, and empty lines at the end.
    #[default]
    Trimmed,
    /// Words between white space, as the default output validator of the Kattis problem package format.
    Tokens,
    /// As `tokens`, and numbers within a tolerance: within either, if both are given.
    Numeric,
    /// By the job's output validator.
    Validator,
}

/// A program that judges the output of another, by the protocol of the Kattis problem package format: its arguments are
/// the names of the input, of the answer, of a directory for feedback, then the test's; it reads the output on stdin
/// and exits with code 42 (accepted) or 43 (wrong answer). It runs in a container of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct OutputValidator {
    /// The language, as the operator's catalogue calls it.
    pub language: String,
    /// The program's text. Without it, `entrypoint` names the file that is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Files put into its working directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    /// The name of the file to run: with `code`, the name under which the code is put there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    /// Whether it runs together with the program, stdout of each to stdin of the other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interactive: bool,
    /// Limits of one run of it; what is absent takes the worker's default.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub limits: LimitsRequest,
}

/// Tests that are scored together. `a/b` is in `a`, if there is a group of that name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub struct TestGroup {
    /// What tests and results call it: 1 to 256 bytes of printable text, and no other group's.
    pub name: String,
    /// How its score follows from those of its tests and of the groups in it.
    #[serde(default)]
    pub score_aggregation: ScoreAggregation,
    /// The most that it can score; required with `pass-fail`, which gives all of it or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_score: Option<f64>,
    /// Earlier groups that have to be accepted; otherwise its tests are skipped, and it scores 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require_pass: Vec<String>,
    /// Whether its first test that is not accepted skips its later ones, and those of the groups in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_at_first_failure: bool,
}

/// How the score of a group is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "kebab-case")]
pub enum ScoreAggregation {
    /// Its `max_score` if all is accepted, else 0.
    #[default]
    PassFail,
    /// The sum. A test's maximum is `max_score` over the number of tests.
    Sum,
    /// The least. A test's maximum is `max_score`.
    Min,
}

/// How the program fared on one test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct TestReport {
    /// The test.
    pub name: String,
    /// Who may see it.
    #[serde(default, skip_serializing_if = "TestKind::is_secret")]
    pub kind: TestKind,
    /// The group that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is said about the program; absent if the test was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Whether it counts for nothing, since an earlier test decided.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// One sentence: what happened, or why it was skipped.
    pub message: PrintableText,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the program, such as `SIGSEGV`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What the program used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The beginning of what the program printed: at most [`TestReport::HEAD_BYTES`] of each stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunOutput>,
    /// Where the output first differs from the answer, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<PrintableText>,
    /// The score, if the test has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// What the output validator says to judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge_message: Option<PrintableText>,
    /// What the output validator says to those who submitted the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team_message: Option<PrintableText>,
}

/// How a group of tests went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct TestGroupReport {
    /// The group.
    pub name: String,
    /// The first verdict in it that is not `accepted`; absent if all of it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Its score; absent if an output validator failed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The most that it can score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_score: Option<f64>,
}

impl Test {
    /// A test of this name on this input, whose output has to be `answer`.
    pub fn new(
        name: impl Into<String>,
        stdin: impl Into<Vec<u8>>,
        answer: impl Into<Vec<u8>>,
    ) -> Self {
        let stdin = Content::from_bytes(stdin.into());
        let answer = Content::from_bytes(answer.into());
        Self {
            name: name.into(),
            stdin: Some(stdin.text),
            stdin_encoding: stdin.encoding,
            answer: Some(answer.text),
            answer_encoding: answer.encoding,
            ..Self::default()
        }
    }

    /// What the program reads on stdin, if that is not the job's.
    ///
    /// # Errors
    /// If `stdin` isn't in `stdin_encoding`.
    pub fn stdin_bytes(&self) -> Result<Option<Vec<u8>>, String> {
        self.stdin.as_deref().map(|text| self.stdin_encoding.decode(text)).transpose()
    }

    /// What the program has to print.
    ///
    /// # Errors
    /// If `answer` isn't in `answer_encoding`.
    pub fn answer_bytes(&self) -> Result<Option<Vec<u8>>, String> {
        self.answer.as_deref().map(|text| self.answer_encoding.decode(text)).transpose()
    }
}

impl TestReport {
    /// How much a report keeps of each stream of a program, in bytes.
    pub const HEAD_BYTES: usize = 1024;

    /// Whether the program was accepted on it.
    pub fn is_accepted(&self) -> bool {
        self.verdict == Some(Verdict::Accepted)
    }
}

impl TestKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            TestKind::Sample => "sample",
            TestKind::Secret => "secret",
        }
    }

    fn is_secret(&self) -> bool {
        *self == TestKind::Secret
    }
}

impl ComparisonKind {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ComparisonKind::Exact => "exact",
            ComparisonKind::Trimmed => "trimmed",
            ComparisonKind::Tokens => "tokens",
            ComparisonKind::Numeric => "numeric",
            ComparisonKind::Validator => "validator",
        }
    }
}

fn is_nothing(limits: &LimitsRequest) -> bool {
    *limits == LimitsRequest::default()
}
