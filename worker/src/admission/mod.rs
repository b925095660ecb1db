//! Whether a job may run here, and exactly as what.

pub mod catalogue;
pub mod installed;
pub mod peers;

use sandfleet_common::{
    DecodeError, Isolation, Job, LimitName, Limits, LimitsRequest, NetworkKind, Outline,
    OutputOverflow, decode_job, payload_digest,
};

use self::catalogue::{Bounds, Catalogue, Language};
use crate::sandbox::Plan;

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
}

impl Admission {
    /// Reads a job and decides on it.
    ///
    /// # Errors
    /// A message that names the field, with the job's id if one can be read.
    pub fn admit(&self, body: &[u8]) -> Result<Admitted, DecodeError> {
        let mut job = decode_job(body, self.max_job_bytes)?;
        match self.plan(&job) {
            Ok((language, compile, plan)) => {
                // From here on by one name: metrics and caps know no other.
                job.language = language;
                Ok(Admitted { job, compile, plan })
            }
            Err(Refused { message, elsewhere }) => Err(DecodeError {
                job_id: Some(job.job_id),
                message: message.into(),
                payload: payload_digest(body),
                elsewhere: if elsewhere { Outline::of(body).needs() } else { None },
            }),
        }
    }

    /// The language's own name, how it is compiled and how it is run.
    fn plan(&self, job: &Job) -> Result<(String, Option<Plan>, Plan), Refused> {
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
        check_room(&files, stdin.as_deref(), &limits, "limits")?;
        let bounds = Bounds::of(&limits, self.cpus);
        let warm = language.warm_start(file, &files, &job.env);
        let compile = self.compile_plan(job, language, file, &files);
        if let Some(compile) = &compile {
            check_room(&compile.files, None, &compile.limits, "limits.compile")?;
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
        Ok((name.to_owned(), compile, plan))
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
fn check_room(
    files: &[(String, Vec<u8>)],
    stdin: Option<&[u8]>,
    limits: &Limits,
    area: &str,
) -> Result<(), String> {
    let files: u64 = files.iter().map(|(_, content)| content.len() as u64).sum();
    if files > limits.scratch_bytes {
        return Err(format!(
            "files: {files} bytes together; {area}.scratch_bytes is {}; raise it",
            limits.scratch_bytes
        ));
    }
    let all = files + stdin.map_or(0, |bytes| bytes.len() as u64);
    if all > limits.memory_bytes {
        return Err(format!(
            "files, stdin: {all} bytes together; {area}.memory_bytes is {}; raise it",
            limits.memory_bytes
        ));
    }
    Ok(())
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
    use sandfleet_common::{InputFile, PrintableText, encode};

    fn admission() -> Admission {
        Admission {
            max_job_bytes: 1 << 20,
            default_limits: Limits::default(),
            max_limits: Limits { wall_time_ms: 20_000, ..Limits::default() },
            compile_limits: Limits::default(),
            catalogue: Catalogue::embedded(),
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
