//! Whether a job may run here, and exactly as what.

pub mod catalogue;
mod evaluation;
pub mod installed;
pub mod peers;

use sandfleet_common::{
    DecodeError, Isolation, Job, LimitName, Limits, LimitsRequest, NetworkKind, Outline,
    OutputOverflow, decode_job, payload_digest,
};

use self::catalogue::{Bounds, Catalogue, Language};
use crate::{evaluation::Evaluation, sandbox::Plan};

/// What this worker offers.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The longest job, in bytes.
    pub max_job_bytes: usize,
    /// What a job gets that asks for nothing.
    pub default_limits: Limits,
    /// The most that any job gets.
    pub max_limits: Limits,
    /// What a compiler gets, whatever its job asks for.
    pub compile_limits: Limits,
    /// The languages.
    pub catalogue: Catalogue,
    /// How many tests a job may have.
    pub max_tests: usize,
    /// How long compiling and all tests of a job may take by their limits, in milliseconds.
    pub job_wall_time_ms: u64,
    /// How many processors a job may keep busy.
    pub cpus: f64,
    /// How strong the sandbox is.
    pub isolation: Isolation,
}

/// A job that is valid and can be run here.
#[derive(Debug, Clone, PartialEq)]
pub struct Admitted {
    /// The job.
    pub job: Job,
    /// How the program is compiled first, if its language is compiled.
    pub compile: Option<Plan>,
    /// How the program is run.
    pub plan: Plan,
    /// What it is run on, if the job has tests.
    pub evaluation: Option<Evaluation>,
}

/// How the program of a job is run.
struct Planned {
    /// The language's own name.
    language: String,
    compile: Option<Plan>,
    plan: Plan,
    evaluation: Option<Evaluation>,
}

impl Admission {
    /// Reads a job and decides on it.
    ///
    /// # Errors
    /// A message that names the field, with the job's id if one can be read.
    pub fn admit(&self, body: &[u8]) -> Result<Admitted, DecodeError> {
        let mut job = decode_job(body, self.max_job_bytes)?;
        match self.plan(&job) {
            Ok(Planned { language, compile, plan, evaluation }) => {
                // From here on by one name: metrics and caps know no other.
                job.language = language;
                // They are in the evaluation.
                (job.tests, job.output_validator) = (Vec::new(), None);
                Ok(Admitted { job, compile, plan, evaluation })
            }
            Err(Refused { message, elsewhere }) => Err(DecodeError {
                job_id: Some(job.job_id),
                message: message.into(),
                payload: payload_digest(body),
                elsewhere: if elsewhere { Outline::of(body).needs() } else { None },
            }),
        }
    }

    /// How it is compiled and how it is run.
    fn plan(&self, job: &Job) -> Result<Planned, Refused> {
        let elsewhere = |message| Refused { message, elsewhere: true };
        let (name, language) = self.catalogue.find(&job.language).map_err(elsewhere)?;
        if !job.args.is_empty() && !language.takes_arguments() {
            return Err(format!("args: programs in {name} take none").into());
        }
        if job.network_policy.kind != NetworkKind::Disabled {
            let refused = "network_policy.type: this worker offers only \"disabled\"";
            return Err(refused.to_owned().into());
        }
        if job.isolation > self.isolation {
            let offered = self.isolation.as_str();
            return Err(elsewhere(format!("isolation: this worker gives {offered:?} at most")));
        }
        let file = job.entrypoint.as_deref().unwrap_or(&language.file);
        let mut files = Vec::with_capacity(job.files.len() + 1);
        if let Some(code) = &job.code {
            files.push((file.to_owned(), code.as_bytes().to_vec()));
        }
        for (index, input) in job.files.iter().enumerate() {
            if job.code.is_some() && input.name == file {
                return Err(format!(
                    "files[{index}].name: {file:?} is where the code goes; rename one of them, \
                     with entrypoint for the code"
                )
                .into());
            }
            let content = input
                .encoding
                .decode(&input.content)
                .map_err(|why| format!("files[{index}].content: {why}"))?;
            files.push((input.name.clone(), content));
        }
        let default_limits = changed(&self.default_limits, &language.limits);
        let limits = clamp(&job.limits, &default_limits, &self.max_limits);
        let stdin = job.stdin_bytes().map_err(|why| format!("stdin: {why}"))?;
        let read = stdin.as_ref().map_or(0, Vec::len) as u64;
        check_room(total(&files), read, &limits, "limits")?;
        let bounds = Bounds::of(&limits, self.cpus);
        let warm = language.warm_start(file, &files, &job.env);
        let compile = self.compile_plan(job, language, file, &files);
        if let Some(compile) = &compile {
            check_room(total(&compile.files), 0, &compile.limits, "limits.compile")?;
        }
        let environment = match job.line_buffered {
            true => language.line_buffered_environment(&job.env, bounds),
            false => language.environment(&job.env, bounds),
        };
        let plan = Plan {
            job_id: job.job_id.clone(),
            image: language.image.clone(),
            command: language.command(file, &job.args, bounds),
            environment,
            files,
            compiled: Vec::new(),
            stdin,
            warm,
            pending_output: language.pending_output,
            artifacts: match job.artifacts.is_empty() {
                true => language.artifacts.clone(),
                false => job.artifacts.clone(),
            },
            limits,
            output_overflow: job.output_overflow,
        };
        let evaluation = self.evaluation(job, language, file, compile.as_ref(), &plan)?;
        Ok(Planned { language: name.to_owned(), compile, plan, evaluation })
    }

    fn compile_plan(
        &self,
        job: &Job,
        language: &Language,
        file: &str,
        files: &[(String, Vec<u8>)],
    ) -> Option<Plan> {
        let compile = language.compile.as_ref()?;
        let limits = changed(&self.compile_limits, &compile.limits);
        let compiler = language.compiler(file, Bounds::of(&limits, self.cpus))?;
        Some(Plan {
            job_id: job.job_id.clone(),
            image: language.image.clone(),
            command: compiler.command,
            environment: compiler.environment,
            files: files.to_vec(),
            compiled: Vec::new(),
            stdin: None,
            warm: None,
            pending_output: false,
            artifacts: compile.made.clone(),
            limits,
            output_overflow: OutputOverflow::Discard,
        })
    }
}

/// `limits` where `by` says nothing else.
fn changed(limits: &Limits, by: &LimitsRequest) -> Limits {
    let mut changed = limits.clone();
    for name in LimitName::ALL {
        changed.set(*name, by.get(*name).unwrap_or(limits.get(*name)));
    }
    changed
}

/// Why a job isn't run here.
struct Refused {
    message: String,
    /// Whether a worker with another catalogue, or a stronger sandbox, takes it.
    elsewhere: bool,
}

impl From<String> for Refused {
    fn from(message: String) -> Self {
        Self { message, elsewhere: false }
    }
}

/// What a job brings along has to fit into what it gets: else its program could never start, and
/// that would look like a failure of the fleet.
fn check_room(files: u64, stdin: u64, limits: &Limits, area: &str) -> Result<(), String> {
    if files > limits.scratch_bytes {
        return Err(format!(
            "files: {files} bytes together; {area}.scratch_bytes is {}; raise it",
            limits.scratch_bytes
        ));
    }
    let all = files + stdin;
    if all > limits.memory_bytes {
        return Err(format!(
            "files, stdin: {all} bytes together; {area}.memory_bytes is {}; raise it",
            limits.memory_bytes
        ));
    }
    Ok(())
}

/// The bytes of all files.
fn total(files: &[(String, Vec<u8>)]) -> u64 {
    files.iter().map(|(_, content)| content.len() as u64).sum()
}

/// The limits in force: what is asked for, else the default, and never more than the cap.
fn clamp(request: &LimitsRequest, default_limits: &Limits, max_limits: &Limits) -> Limits {
    let mut limits = default_limits.clone();
    for name in LimitName::ALL {
        let wanted = request.get(*name).unwrap_or(default_limits.get(*name));
        limits.set(*name, wanted.min(max_limits.get(*name)).min(name.maximum()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandfleet_common::{
        Comparison, ComparisonKind, InputFile, OutputValidator, PrintableText, Test, encode,
    };

    use crate::evaluation::Judge;

    fn admission() -> Admission {
        Admission {
            max_job_bytes: 1 << 20,
            default_limits: Limits::default(),
            max_limits: Limits { wall_time_ms: 20_000, ..Limits::default() },
            compile_limits: Limits::default(),
            catalogue: Catalogue::embedded(),
            max_tests: 3,
            job_wall_time_ms: 50_000,
            cpus: 1.0,
            isolation: Isolation::Container,
        }
    }

    fn refusal(job: &Job) -> PrintableText {
        admission().admit(&encode(job)).expect_err("refused").message
    }

    #[test]
    fn arguments_that_no_program_can_see_are_refused() {
        let mut job = Job::new("sqlite", "select 1;");
        job.args = vec!["x".into()];
        let refused = admission().admit(&encode(&job)).expect_err("refused").message;
        assert_eq!(refused.as_str(), "args: programs in sqlite take none");
    }

    #[test]
    fn a_job_never_gets_more_than_the_cap() {
        let mut job = Job::new("python", "");
        job.limits.wall_time_ms = Some(u64::MAX);
        job.limits.processes = Some(3);
        let limits = admission().admit(&encode(&job)).expect("admitted").plan.limits;
        assert_eq!((limits.wall_time_ms, limits.processes), (20_000, 3));
        assert_eq!(limits.memory_bytes, Limits::default().memory_bytes);
    }

    #[test]
    fn what_this_worker_can_not_give_is_refused_by_name() {
        assert!(refusal(&Job::new("brainfuck", "")).starts_with("language:"));
        let mut job = Job::new("python", "");
        job.isolation = Isolation::MicroVm;
        assert!(refusal(&job).starts_with("isolation:"));
        let mut job = Job::new("python", "");
        job.network_policy.kind = NetworkKind::Allowlist;
        assert!(refusal(&job).starts_with("network_policy.type:"));
    }

    #[test]
    fn the_tests_of_a_job_are_bounded_in_number_and_time() {
        let mut job = Job::new("c", "int main(){}");
        job.limits.wall_time_ms = Some(1000);
        job.tests = (0..3).map(|test| Test::new(test.to_string(), "", "")).collect();
        job.tests[1].limits.wall_time_ms = Some(2000);
        job.tests[2].args = vec!["x".into()];
        let admitted = admission().admit(&encode(&job)).expect("admitted");
        let tests = admitted.evaluation.expect("it has tests").tests;
        assert_eq!(
            tests.iter().map(|it| it.limits.wall_time_ms).collect::<Vec<_>>(),
            [1000, 2000, 1000]
        );
        assert_eq!(tests[2].command.last().map(String::as_str), Some("x"));
        assert!(admitted.job.tests.is_empty(), "nothing is held twice");
        job.limits.wall_time_ms = Some(20_000);
        // 10 s for the compiler, 20 + 2 + 20 for the tests.
        let said = refusal(&job);
        assert!(
            said.contains("52000 ms") && said.contains("50000 (jobs.job_wall_time_ms)"),
            "{said}"
        );
        job.tests.push(Test::new("3", "", ""));
        let said = refusal(&job);
        assert!(said.contains("tests: 4 entries; the limit is 3 (jobs.max_tests)"), "{said}");
    }

    #[test]
    fn an_output_validator_is_a_program_of_its_own() {
        let mut job = Job::new("bash", "echo 1");
        job.tests = vec![Test {
            comparison: Some(Comparison { kind: ComparisonKind::Validator, ..Default::default() }),
            validator_args: vec!["strict".into()],
            ..Test::new("a", "in", "out")
        }];
        job.output_validator = Some(OutputValidator {
            language: "python".into(),
            code: Some("exit(42)".into()),
            files: Vec::new(),
            entrypoint: None,
            interactive: false,
            limits: LimitsRequest::default(),
        });
        let evaluation = admission().admit(&encode(&job)).expect("admitted").evaluation;
        let evaluation = evaluation.expect("it has tests");
        let Judge::Validator { answer, command } = &evaluation.tests[0].judge else {
            panic!("{evaluation:?}")
        };
        assert_eq!(answer, b"out");
        assert!(
            command.join(" ").ends_with("main.py input answer feedback/ strict"),
            "{command:?}"
        );
        let change = |change: fn(&mut OutputValidator)| {
            let mut job = job.clone();
            job.output_validator.as_mut().map(change);
            refusal(&job)
        };
        assert!(change(|it| it.language = "cobol".into()).starts_with("output_validator.language"));
        let taken = change(|it| it.files.push(InputFile::from_bytes("answer", "")));
        assert!(taken.starts_with("output_validator.files[0].name"), "{taken}");
    }

    #[test]
    fn what_a_job_brings_along_has_to_fit() {
        let mut job = Job::new("python", "x".repeat(70_000));
        job.limits.scratch_bytes = Some(65_536);
        assert!(refusal(&job).contains("limits.scratch_bytes is 65536"));
    }

    #[test]
    fn no_file_replaces_the_program() {
        let mut job = Job::new("python", "print('mine')");
        job.files.push(InputFile {
            name: "main.py".into(),
            content: "print('evil')".into(),
            encoding: Default::default(),
        });
        assert!(refusal(&job).starts_with("files[0].name:"));
    }
}
