//! `sandfleet run`: one program, or a batch, on this machine.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, ValueEnum};
use sandfleet_common::{JobId, LimitName, Status};

use super::{
    batch,
    exit::{Exit, Failure, code_of},
    job::JobArguments,
    print, scope,
};
use crate::{
    app,
    config::{Backend, Settings},
    embedded::Embedded,
    hooks::{Hooks, NoHooks, Stream},
    sandbox::{SandboxError, self_test},
    shutdown::stop_signal,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// The program
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    script: Option<PathBuf>,

    #[command(flatten)]
    job: JobArguments,

    /// Save the files that the program made below this directory
    #[arg(long, value_name = "DIR", conflicts_with = "batch")]
    artifacts: Option<PathBuf>,

    /// Print the whole result as one JSON object, and nothing else, on stdout
    #[arg(long, conflicts_with = "batch")]
    json: bool,

    /// Run the jobs of this file, one JSON object a line (- for stdin); results come one a line,
    /// as they are ready
    #[arg(long, value_name = "FILE|-")]
    batch: Option<PathBuf>,

    /// How many jobs of a batch run at a time [default: worker.slots]
    #[arg(long, value_name = "N", requires = "batch",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,

    /// What keeps the program apart from this machine
    #[arg(long, default_value = "native")]
    sandbox: SandboxChoice,
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

/// A sandbox that can't be opened: a missing barrier is the host's, all else is ours.
pub(super) fn refuse(error: SandboxError) -> Failure {
    match error {
        SandboxError::Barrier { .. } => Exit::Barrier.because(error),
        SandboxError::Failed { .. } => Exit::Unavailable.because(error),
    }
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    // Before anything of stdin is read: the process may be started anew.
    if arguments.sandbox == SandboxChoice::Native {
        scope::obtain(settings);
    }
    let Some(script) = &arguments.script else {
        let Some(batch) = &arguments.batch else {
            return Err(Exit::Usage.with("name a script, or a batch with --batch"));
        };
        let slots = arguments.concurrency.map_or(settings.worker.slots, usize::from);
        return batch::run(batch, slots, arguments.sandbox.into(), settings).await;
    };
    let catalogue = crate::catalogue::Catalogue::embedded();
    let mut job = arguments.job.build(script, arguments.artifacts.is_some(), &catalogue)?;
    let mut settings = settings.clone();
    // Whoever runs a program on a machine of his own sets the caps too.
    for name in LimitName::ALL {
        let wanted = job.limits.get(*name).unwrap_or(0);
        settings.caps.set(*name, settings.caps.get(*name).max(wanted));
    }
    // There is no next job that a container could wait for.
    settings.sandbox.pool_size = 0;
    job.queued_at = Some(jiff::Timestamp::now());
    let sandbox = app::open_sandbox(arguments.sandbox.into(), &settings).await.map_err(refuse)?;
    let hooks: Arc<dyn Hooks> =
        if arguments.json { Arc::new(NoHooks) } else { Arc::new(PrintOutput) };
    let embedded = Embedded::new(Arc::clone(&sandbox), &settings, hooks);
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
    // A barrier that falls only at the program's start is the host's fault all the same.
    let barrier = match &result {
        Some(result) if result.status == Status::Error => self_test(sandbox.as_ref()).await.err(),
        _ => None,
    };
    sandbox.close().await;
    if stopped {
        return Err(Exit::Interrupted.with("interrupted"));
    }
    if let Some(error @ SandboxError::Barrier { .. }) = barrier {
        return Err(refuse(error));
    }
    let Some(result) = result else {
        return Err(Exit::Internal.with("the job ended without a result"));
    };

    if let Some(directory) = &arguments.artifacts {
        print::save_artifacts(&result, directory)?;
    }
    if arguments.json {
        print::json(&result).map_err(|error| Exit::Internal.because(error))?;
    } else {
        eprint!("{}", print::summary(&result, arguments.artifacts.as_ref()));
    }
    Ok(code_of(&result))
}

/// Shows what the program prints, as it prints it.
struct PrintOutput;

impl Hooks for PrintOutput {
    fn output(&self, _job: &JobId, stream: Stream, bytes: &[u8]) {
        // Whoever reads us may have gone (`| head`); the program's result is still wanted.
        let _ = match stream {
            Stream::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
    }
}
