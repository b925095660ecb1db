//! `sandfleet languages`: what can be run here, in which version and from where, and how to get the rest.

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
    admission::{catalogue::Language, installed},
    app,
    backend::Resolved,
    config::{Backend, BackendChoice, Settings},
    embedded::Embedded,
    hooks::{NoHooks, Observer},
    sandbox::{Sandbox, docker},
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
    /// The image that it is in, where there are images.
    image: &'a str,
    /// The root tree that its programs see: an image's name, or `host:/usr`; none if it is not installed.
    runs_in: Option<String>,
    /// The digest of that, where it has one.
    image_digest: Option<String>,
    /// What installs it, if it is not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    get: Option<String>,
    /// The Debian packages of the host's release that it is in.
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
        let root = language.is_installed.then(|| sandbox.root_tree(&language.image)).flatten();
        rows.push(Row {
            name,
            aliases: &language.aliases,
            endings: &language.endings,
            installed: language.is_installed,
            version,
            compiled: language.compile.is_some(),
            warm: is_warm && language.has_warm(),
            image: &language.image,
            runs_in: root.as_ref().map(|root| root.image.clone()),
            image_digest: root.and_then(|root| root.digest),
            get: (!language.is_installed).then(|| get(backend, settings, language)),
            packages: &language.packages,
            check,
        });
    }
    if arguments.json {
        let json =
            serde_json::to_string_pretty(&rows).map_err(|error| Exit::Internal.because(error))?;
        terminal::print(&(json + "\n"))?;
    } else {
        terminal::print(&terminal::lines(&table(&rows)))?;
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

/// How to install `language` in the sandbox that was looked into.
fn get(backend: Backend, settings: &Settings, language: &Language) -> String {
    let image = &language.image;
    match backend {
        Backend::Native => format!(
            "sandfleet images build {image}, or without images apt-get install {}",
            language.packages.join(" ")
        ),
        Backend::Docker if docker::image::is_shared(&settings.sandbox.image) => {
            format!("put it into the image {}", settings.sandbox.image)
        }
        Backend::Docker => {
            format!("sandfleet images build {image} && sandfleet images import {image}")
        }
    }
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

fn table(rows: &[Row<'_>]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let places = rows.iter().filter_map(|row| row.runs_in.as_ref());
    let place_width = places.map(String::len).max().unwrap_or(1);
    let mut table = String::new();
    for row in rows {
        let what = match (&row.version, &row.get) {
            (_, Some(get)) => format!("not installed: {get}"),
            (Some(version), None) => version.as_str().to_owned(),
            (None, None) => "installed".to_owned(),
        };
        let start = match (row.compiled, row.warm, row.installed) {
            (_, _, false) => "-",
            (true, ..) => "compiled",
            (_, true, _) => "warm",
            _ => "cold",
        };
        let place = row.runs_in.as_deref().unwrap_or("-");
        table.push_str(&format!("{:width$}  {start:8}  {place:place_width$}  {what}", row.name));
        if let Some(Check { reason, .. }) = &row.check {
            let outcome = reason.as_ref().map(|reason| format!("FAILED: {}", reason.as_str()));
            table.push_str(&format!("  [{}]", outcome.as_deref().unwrap_or("ok")));
        }
        if !row.aliases.is_empty() {
            table.push_str(&format!("  (also {})", row.aliases.join(", ")));
        }
        table.push('\n');
    }
    table
}
