//! `sandfleet languages`: what can be run here, in which version, and how to get the rest.

use std::{process::ExitCode, sync::Arc};

use clap::Args;
use sandfleet_common::{Job, PrintableText, Verdict};
use serde::Serialize;

use super::{
    exit::{Exit, Failure},
    run::SandboxChoice,
    scope, terminal,
};
use crate::{
    admission::installed,
    app,
    backend::Resolved,
    config::{Backend, BackendChoice, Settings},
    embedded::Embedded,
    hooks::{NoHooks, Observer},
    sandbox::Sandbox,
};

/// What each language's own program prints.
const HELLO: &str = "Hello, world!\n";

#[derive(Args)]
pub(super) struct Arguments {
    /// Look into this sandbox [default: sandbox.backend]
    #[arg(long)]
    sandbox: Option<SandboxChoice>,

    /// Compile and run a program of each installed language
    #[arg(long)]
    check: bool,

    /// Print them as JSON, one array
    #[arg(long)]
    json: bool,
}

/// One language in the sandbox that was looked into.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    aliases: &'a [String],
    endings: &'a [String],
    installed: bool,
    /// What it says of its version.
    version: Option<PrintableText>,
    compiled: bool,
    /// Whether programs may start from an interpreter that is ready.
    warm: bool,
    /// The Debian packages that it is in.
    packages: &'a [String],
    /// What came of its own program, if that was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}

#[derive(Serialize)]
struct Check {
    ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<PrintableText>,
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    scope::obtain(settings);
    let mut settings = settings.clone();
    settings.sandbox.docker_pool_size = 0;
    settings.worker.slots = 1;
    let choice = arguments.sandbox.map_or(settings.sandbox.backend, BackendChoice::from);
    let Resolved { backend, made: sandbox, .. } =
        app::open_chosen_sandbox(choice, &settings, Observer::default()).await?;
    let looked = look(&arguments, backend, &sandbox, &mut settings).await;
    sandbox.close().await;
    looked
}

async fn look(
    arguments: &Arguments,
    backend: Backend,
    sandbox: &Arc<dyn Sandbox>,
    settings: &mut Settings,
) -> Result<ExitCode, Failure> {
    settings.catalogue = installed::in_sandbox(sandbox.as_ref(), &settings.catalogue).await?;
    let is_warm =
        settings.sandbox.warm && backend == Backend::Native && rustix::process::geteuid().is_root();
    let mut rows = Vec::new();
    for (name, language) in settings.catalogue.languages() {
        let version = match language.is_installed {
            true => installed::version(sandbox.as_ref(), language).await?.map(PrintableText::new),
            false => None,
        };
        let check = match arguments.check && language.is_installed {
            true => {
                let reason = check(name, &language.hello, sandbox, settings).await.err();
                Some(Check { ok: reason.is_none(), reason })
            }
            false => None,
        };
        rows.push(Row {
            name,
            aliases: &language.aliases,
            endings: &language.endings,
            installed: language.is_installed,
            version,
            compiled: language.compile.is_some(),
            warm: is_warm && language.has_warm(),
            packages: &language.packages,
            check,
        });
    }
    if arguments.json {
        let json =
            serde_json::to_string_pretty(&rows).map_err(|error| Exit::Internal.because(error))?;
        terminal::print(&(json + "\n"))?;
    } else {
        let place = match backend {
            Backend::Native => "this host's programs".to_owned(),
            Backend::Docker => format!("image {}", settings.sandbox.image),
        };
        terminal::print(&terminal::lines(&table(&rows, &place)))?;
    }
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row.check.as_ref().is_some_and(|it| !it.ok))
        .map(|row| row.name)
        .collect();
    if failed.is_empty() {
        return Ok(Exit::Success.into());
    }
    Err(Exit::Unavailable.with(format!("their own program does not run: {}", failed.join(", "))))
}

/// Runs the program that a language brings along.
async fn check(
    name: &str,
    hello: &str,
    sandbox: &Arc<dyn Sandbox>,
    settings: &Settings,
) -> Result<(), PrintableText> {
    if hello.is_empty() {
        return Err(PrintableText::new("it has no program of its own (`hello` in its file)"));
    }
    let embedded = Embedded::new(Arc::clone(sandbox), settings, Arc::new(NoHooks));
    let Some(result) = embedded.run(&Job::new(name, hello)).await else {
        return Err(PrintableText::new("the job ended without a result"));
    };
    let printed = result.run.as_ref().map_or("", |run| run.stdout.as_str());
    match result.verdict {
        Some(Verdict::Accepted) if printed == HELLO => Ok(()),
        Some(Verdict::Accepted) => Err(PrintableText::new(format!("printed {printed:?}"))),
        _ => {
            let stderr = result.run.as_ref().map_or("", |run| run.stderr.as_str());
            let compiler =
                result.compile.as_ref().map_or("", |compile| compile.output.stderr.as_str());
            Err(PrintableText::new(format!("{}: {compiler}{stderr}", result.message)))
        }
    }
}

fn table(rows: &[Row<'_>], place: &str) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut table = String::new();
    for row in rows {
        let what = match (&row.version, row.installed) {
            (_, false) => format!("not installed: apt-get install {}", row.packages.join(" ")),
            (Some(version), true) => version.as_str().to_owned(),
            (None, true) => "installed".to_owned(),
        };
        let start = match (row.compiled, row.warm, row.installed) {
            (_, _, false) => "-",
            (true, ..) => "compiled",
            (_, true, _) => "warm",
            _ => "cold",
        };
        table.push_str(&format!("{:width$}  {start:8}  {what}", row.name));
        if let Some(Check { reason, .. }) = &row.check {
            let outcome = reason.as_ref().map(|reason| format!("FAILED: {}", reason.as_str()));
            table.push_str(&format!("  [{}]", outcome.as_deref().unwrap_or("ok")));
        }
        if !row.aliases.is_empty() {
            table.push_str(&format!("  (also {})", row.aliases.join(", ")));
        }
        table.push('\n');
    }
    table + &format!("from {place}\n")
}
