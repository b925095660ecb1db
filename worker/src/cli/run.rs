//! `sandfleet run`: one program, or a batch, on this machine.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use sandfleet_common::{JobId, LimitName, LimitsRequest, Status};

use super::{
    batch,
    exit::{Exit, Failure},
    input::Bound,
    job::JobArguments,
    print, scope,
    terminal::{self, ProgramOutput},
    trace,
};
use crate::{
    admission::installed,
    app,
    config::{Backend, BackendChoice, Settings},
    embedded::Embedded,
    hooks::{Hooks, NoHooks, Observer, Stream},
    sandbox::{SandboxError, self_test},
    shutdown::stop_signal,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// The program, - for stdin
    #[arg(required_unless_present = "batch", conflicts_with = "batch", value_name = "SCRIPT|-")]
    script: Option<PathBuf>,

    #[command(flatten)]
    job: JobArguments,

    /// Save artifacts below this directory
    #[arg(long, value_name = "DIR", conflicts_with = "batch")]
    artifacts: Option<PathBuf>,

    /// Print the whole result as one JSON object, and nothing else, on stdout; a batch's results are always
    /// printed so
    #[arg(long)]
    json: bool,

    /// Let the program's escape sequences reach the terminal; a file or a pipe gets them anyway
    #[arg(long, conflicts_with_all = ["batch", "json"])]
    raw: bool,

    /// Run the jobs of this file, one JSON object a line (- for stdin); the other flags are defaults for all
    /// lines; results come one a line, as they are ready
    #[arg(long, value_name = "FILE|-")]
    batch: Option<PathBuf>,

    /// How many jobs of a batch run at a time [default: worker.slots]
    #[arg(long, value_name = "N", requires = "batch", conflicts_with = "script",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,

    /// The sandbox backend
    #[arg(long, default_value = "native")]
    sandbox: SandboxChoice,
}

impl From<SandboxChoice> for BackendChoice {
    fn from(choice: SandboxChoice) -> BackendChoice {
        Backend::from(choice).into()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SandboxChoice {
    /// Namespaces, made by sandfleet itself
    Native,
    /// Containers of a Docker engine
    Docker,
}

impl From<SandboxChoice> for Backend {
    fn from(choice: SandboxChoice) -> Backend {
        match choice {
            SandboxChoice::Native => Backend::Native,
            SandboxChoice::Docker => Backend::Docker,
        }
    }
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    // Before anything of stdin is read: the process may be started anew.
    if arguments.sandbox == SandboxChoice::Native {
        scope::obtain(settings);
    }
    let catalogue = &match arguments.sandbox {
        SandboxChoice::Native => {
            installed::on_this_host(&settings.catalogue, &settings.images.directory)?
        }
        // What is in its image shows when the job is started.
        SandboxChoice::Docker => settings.catalogue.clone(),
    };
    let Some(script) = &arguments.script else {
        let Some(batch) = &arguments.batch else {
            return Err(Exit::Usage.with("name a script, or a batch with --batch"));
        };
        let mut settings = settings.clone();
        settings.worker.slots = arguments.concurrency.map_or(settings.worker.slots, usize::from);
        let max_line = settings.jobs.max_bytes;
        lift_bounds(&mut settings);
        if let Some(language) = arguments.job.language() {
            catalogue.find(language).map_err(|why| Exit::Usage.with(format!("--{why}")))?;
        }
        let defaults = arguments.job.defaults(batch, bound(&arguments, &settings)?)?;
        lift_caps(&mut settings, &arguments.job.limits()?);
        return batch::run(batch, max_line, &defaults, arguments.sandbox.into(), &settings).await;
    };
    let mut job = arguments.job.build(
        script,
        arguments.artifacts.is_some(),
        catalogue,
        bound(&arguments, settings)?,
    )?;
    catalogue.find(&job.language).map_err(|why| Exit::Usage.with(why))?;
    if arguments.job.selects_artifacts() && arguments.artifacts.is_none() && !arguments.json {
        let why =
            "--artifact needs --artifacts DIR, which saves what matches, or --json, which shows it";
        return Err(Exit::Usage.with(why));
    }
    let mut settings = settings.clone();
    lift_caps(&mut settings, &job.limits);
    lift_bounds(&mut settings);
    if job.tests.is_empty() {
        // There is no next program that a container could wait for.
        settings.sandbox.docker_pool_size = 0;
        settings.worker.slots = 1;
    }
    job.queued_at = Some(jiff::Timestamp::now());
    let sandbox =
        app::open_sandbox(arguments.sandbox.into(), &settings, Observer::default()).await?;
    let output = Arc::new(ProgramOutput::new(arguments.raw));
    let hooks: Arc<dyn Hooks> = match arguments.json {
        true => Arc::new(NoHooks),
        false => Arc::new(PrintOutput(Arc::clone(&output))),
    };
    // The environment counts only where spans are exported.
    let parent = settings.tracing.endpoint.as_ref().and_then(|_| trace::of_environment());
    let (tracer, exporter) = trace::export(&settings, parent)?;
    let embedded = Embedded::traced(Arc::clone(&sandbox), &settings, hooks, tracer);
    let mut stopped = false;
    let result = {
        let run = embedded.run(&job);
        tokio::pin!(run);
        tokio::select! {
            result = &mut run => result,
            () = stop_signal() => {
                stopped = true;
                embedded.stop().await;
                run.await
            }
        }
    };
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    // A barrier that falls only at the program's start is the host's fault all the same.
    let barrier = match &result {
        Some(result) if result.status == Status::Error => self_test(sandbox.as_ref()).await.err(),
        _ => None,
    };
    sandbox.close().await;
    // stdout may be closed; the verdict is still shown.
    let _ = output.finish();
    if stopped {
        return Err(Exit::Interrupted.with("interrupted"));
    }
    if let Some(error @ SandboxError::Barrier { .. }) = barrier {
        return Err(error.into());
    }
    let Some(result) = result else {
        return Err(Exit::Internal.with("the job ended without a result"));
    };
    let code = print::end(&result, arguments.artifacts.as_deref(), arguments.json, None)?;
    Ok(code.into())
}

/// No broker bounds the size of a job here; what a program may hold does.
const UNBOUND: usize = usize::MAX / 2;

/// Nor that of its tests.
pub(super) fn lift_bounds(settings: &mut Settings) {
    settings.jobs.max_bytes = UNBOUND;
    settings.jobs.max_tests = UNBOUND;
    settings.jobs.job_wall_time_ms = u64::MAX;
}

/// How much input is read: no program can hold more than its memory.
fn bound(arguments: &Arguments, settings: &Settings) -> Result<Bound, Failure> {
    let memory = arguments.job.limits()?.get(LimitName::MemoryBytes);
    let memory = memory.unwrap_or(settings.limits.default.memory_bytes);
    // What is too little for any program is refused as such.
    Ok(Bound::Memory(memory.max(LimitName::MemoryBytes.minimum())))
}

/// `--limit` is given by a user of this machine, so it holds above `limits.max`, too.
pub(super) fn lift_caps(settings: &mut Settings, limits: &LimitsRequest) {
    for name in LimitName::ALL {
        let (cap, Some(wanted)) = (settings.limits.max.get(*name), limits.get(*name)) else {
            continue;
        };
        if wanted > cap {
            terminal::say(format_args!(
                "sandfleet: {name} = {wanted} is above limits.max.{name} = {cap}; `run` takes it, a worker \
                 would give {cap}"
            ));
            settings.limits.max.set(*name, wanted);
        }
    }
}

/// Shows what the program prints, as it prints it.
struct PrintOutput(Arc<ProgramOutput>);

impl Hooks for PrintOutput {
    fn output(&self, _job: &JobId, stream: Stream, bytes: &[u8]) {
        // stdout may be closed (`| head`); the program still runs to its end.
        let _ = self.0.write(stream, bytes);
    }
}
