//! `sandfleet submit`: one job, or a file of them, to the fleet.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, ValueEnum};
use sandfleet_common::{Isolation, Job, JobId, Priority, TraceContext};
use sandfleet_sdk::Client;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    fleet::{check_language, connect},
    follow,
    input::Bound,
    job::JobArguments,
    line::Defaults,
    print, quantity,
    show::{self, ShowArguments},
    submit_jobs,
    terminal::ProgramOutput,
    trace::{self, Submission},
};
use crate::config::Settings;

#[derive(Args)]
pub(super) struct Arguments {
    /// The program, - for stdin
    #[arg(required_unless_present = "jobs", conflicts_with = "jobs", value_name = "SCRIPT|-")]
    script: Option<PathBuf>,

    /// Submit the jobs of this file, one JSON object a line (- for stdin); the other flags are defaults for
    /// all lines; their ids are printed, with --wait their results as JSON, both in the order of the lines
    #[arg(long, value_name = "FILE|-")]
    jobs: Option<PathBuf>,

    #[command(flatten)]
    job: JobArguments,

    /// The job's id; submitting it again changes nothing [default: a new one]
    #[arg(long, value_name = "ID", conflicts_with_all = ["idempotency_key", "jobs"])]
    job_id: Option<JobId>,

    /// The tenant of the job; tenants share the fleet fairly
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,

    /// Idempotency key: the job id is derived from it, so that submitting again changes nothing
    #[arg(long, value_name = "KEY", conflicts_with = "jobs")]
    idempotency_key: Option<String>,

    /// How long it may wait to be started, such as 90s; without a unit in milliseconds
    #[arg(long, value_name = "DURATION", value_parser = quantity::milliseconds)]
    ttl_ms: Option<u64>,

    /// Which queue it waits in [default: interactive]
    #[arg(long, value_name = "NAME")]
    priority: Option<PriorityChoice>,

    /// The weakest isolation that will do [default: container]
    #[arg(long, value_name = "NAME")]
    isolation: Option<IsolationChoice>,

    /// The span that the job is a child of, as W3C trace context has it [default: TRACEPARENT in the environment]
    #[arg(long, value_name = "TRACEPARENT")]
    traceparent: Option<TraceContext>,

    /// Wait for the result and end like the program
    #[arg(long)]
    wait: bool,

    /// Wait, and stream the program's output
    #[arg(long, conflicts_with_all = ["json", "jobs"])]
    follow: bool,

    #[command(flatten)]
    show: ShowArguments,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum PriorityChoice {
    /// A client is waiting for it
    Interactive,
    /// It may wait
    Batch,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum IsolationChoice {
    /// Namespaces and a system call filter on the host's kernel
    Container,
    /// A kernel in user space between the program and the host's
    Gvisor,
    /// A virtual machine of its own
    Microvm,
}

impl From<PriorityChoice> for Priority {
    fn from(choice: PriorityChoice) -> Priority {
        match choice {
            PriorityChoice::Interactive => Priority::Interactive,
            PriorityChoice::Batch => Priority::Batch,
        }
    }
}

impl From<IsolationChoice> for Isolation {
    fn from(choice: IsolationChoice) -> Isolation {
        match choice {
            IsolationChoice::Container => Isolation::Container,
            IsolationChoice::Gvisor => Isolation::GVisor,
            IsolationChoice::Microvm => Isolation::MicroVm,
        }
    }
}

pub(super) async fn run(
    mut arguments: Arguments,
    settings: &Settings,
) -> Result<ExitCode, Failure> {
    let waits = arguments.wait || arguments.follow;
    if let Some(flag) = arguments.show.only_when_waiting().filter(|_| !waits) {
        return Err(Exit::Usage.with(format!("{flag} needs --wait or --follow")));
    }
    let Some(script) = &arguments.script else {
        let Some(file) = &arguments.jobs else {
            return Err(Exit::Usage.with("name a script, or a file of jobs with --jobs"));
        };
        if arguments.show.raw || arguments.show.artifacts.is_some() {
            let why = "--raw and --artifacts are for one program; results of --jobs are printed as JSON, and \
                       `sandfleet result ID... --artifacts DIR` saves their artifacts";
            return Err(Exit::Usage.with(why));
        }
        let defaults = defaults(&arguments, file, settings)?;
        let client = connect(settings).await?;
        if let Some(language) = arguments.job.language() {
            check_language(&client, language, settings).await?;
        }
        let wait = arguments.wait.then_some(arguments.show.timeout());
        let trace = arguments.traceparent.or_else(trace::of_environment);
        let how =
            submit_jobs::How { defaults: &defaults, wait, as_json: arguments.show.json, trace };
        return submit_jobs::run(&client, file, &how, settings).await;
    };
    let wants_artifacts = arguments.show.artifacts.is_some();
    let bound = Bound::Message(settings.jobs.max_bytes);
    let mut job: Job = arguments.job.build(script, wants_artifacts, &settings.catalogue, bound)?;
    if let Some(id) = arguments.job_id.take() {
        job.job_id = id;
    }
    job.tenant = arguments.tenant.take();
    job.priority = arguments.priority.map(Into::into).unwrap_or_default();
    job.isolation = arguments.isolation.map(Into::into).unwrap_or_default();
    job.idempotency_key = arguments.idempotency_key.take();
    job.ttl_ms = arguments.ttl_ms;
    job.stream = arguments.follow;
    job.validate().map_err(|why| Exit::Usage.with(why))?;
    if arguments.show.raw && !waits {
        return Err(
            Exit::Usage.with("--raw needs --wait or --follow; no output is shown without them")
        );
    }
    if wants_artifacts && !waits {
        let why = "--artifacts needs --wait or --follow; without them, ask for files with --artifact '**/*' and \
                   save them with `sandfleet result ID --artifacts DIR`";
        return Err(Exit::Usage.with(why));
    }
    let client = connect(settings).await?;
    check_language(&client, &job.language, settings).await?;
    let parent = arguments.traceparent.take().or_else(trace::of_environment);
    let submission = Submission::begin(settings, parent)?;
    let id = match &submission.context {
        Some(trace) => client.submit_traced(&job, trace).await?,
        None => client.submit(&job).await?,
    };
    let exporting = submission.end(&id);
    let ended = answer(&client, &id, &arguments).await;
    exporting.finish().await;
    ended
}

/// Shows what is asked for of a job that was submitted.
async fn answer(client: &Client, id: &JobId, arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.follow || arguments.wait {
        show::warn_of_hindrance(client, id).await?;
    }
    if arguments.follow {
        let output = ProgramOutput::new(arguments.show.raw);
        let result = follow::follow(client, id, arguments.show.timeout(), &output).await?;
        return Ok(print::end(&result, arguments.show.artifacts.as_deref(), false, None)?.into());
    }
    if arguments.wait {
        let result = show::wait(client, id, arguments.show.timeout()).await?;
        return Ok(show::show(&result, &arguments.show, false)?.into());
    }
    submit_jobs::print_id(id, arguments.show.json)?;
    Ok(Exit::Success.into())
}

/// What the flags set for every job of the file.
fn defaults(
    arguments: &Arguments,
    file: &std::path::Path,
    settings: &Settings,
) -> Result<Defaults, Failure> {
    let mut defaults = arguments.job.defaults(file, Bound::Message(settings.jobs.max_bytes))?;
    let priority = arguments.priority.map(|it| Priority::from(it).as_str());
    let isolation = arguments.isolation.map(|it| Isolation::from(it).as_str());
    for (name, value) in [
        ("tenant", arguments.tenant.as_ref().map(|it| json!(it))),
        ("ttl_ms", arguments.ttl_ms.map(|it| json!(it))),
        ("priority", priority.map(|it| json!(it))),
        ("isolation", isolation.map(|it| json!(it))),
    ] {
        defaults.fields.extend(value.map(|value| (name, value)));
    }
    Ok(defaults)
}
