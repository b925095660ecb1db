//! `sandfleet grade`: submissions, by a problem package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sandfleet_common::{Job, JobResult, LimitName, PrintableText, Status, Verdict};
use sandfleet_sdk::Client;
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    fleet::connect,
    quantity,
    run::{SandboxChoice, lift_bounds, lift_caps},
    scope,
    table::columns,
    terminal,
};
use crate::{
    admission::{catalogue::Catalogue, installed},
    app,
    config::Settings,
    embedded::Embedded,
    grade::{Expected, Package, Submission, TimeLimit, junit},
    hooks::{NoHooks, Observer},
    sandbox::Sandbox,
};

/// What programs may compute for while it is not known what is much.
const MEASURING_SECONDS: f64 = 60.0;

#[derive(Args)]
pub(super) struct Arguments {
    /// The problem package, a directory or a ZIP archive: Kattis' format, legacy or 2025-09
    package: PathBuf,

    /// Programs to grade: files, or directories of one program each
    #[arg(value_name = "SUBMISSION")]
    submissions: Vec<PathBuf>,

    /// Grade each file and each directory in this directory
    #[arg(long, value_name = "DIR")]
    all_in: Option<PathBuf>,

    /// Grade the package's own submissions, and end with code 119 if one doesn't get what it has to
    #[arg(long)]
    verify: bool,

    /// CPU time for each test, such as 1.5 [default: the package's; without one, twice what its slowest accepted
    /// submission takes, in whole seconds, at least five times in a legacy package]
    #[arg(long, value_name = "SECONDS")]
    time_limit: Option<f64>,

    /// Run also the tests that decide nothing any more
    #[arg(long)]
    all_tests: bool,

    /// Write the whole results as JSON to this file, - for stdout in the place of the table
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,

    /// Write the results as JUnit's XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Grade on the fleet and not on this machine
    #[arg(long, conflicts_with = "sandbox")]
    fleet: bool,

    /// How long a submission may take on the fleet, with its waiting [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = quantity::seconds, requires = "fleet")]
    timeout: Option<Duration>,

    /// The sandbox backend
    #[arg(long, default_value = "native")]
    sandbox: SandboxChoice,
}

/// Where submissions are graded.
enum Engine {
    Here { sandbox: Arc<dyn Sandbox>, settings: Box<Settings> },
    Fleet { client: Box<Client>, timeout: Duration },
}

/// A submission, with what it has to get if that is known.
type Entry = (Submission, Option<Expected>);
/// Its name, and its result or why it has none.
type Graded = (String, Result<JobResult, String>);

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    if !arguments.fleet && arguments.sandbox == SandboxChoice::Native {
        scope::obtain(settings);
    }
    let catalogue = match arguments.sandbox {
        SandboxChoice::Native if !arguments.fleet => {
            installed::on_this_host(&settings.catalogue, &settings.images.directory)?
        }
        _ => settings.catalogue.clone(),
    };
    let refused = |why: String| Exit::Usage.with(why);
    let of_package =
        |why: String| Exit::Usage.with(format!("{}: {why}", arguments.package.display()));
    let package = Package::read(&arguments.package, &catalogue).map_err(of_package)?;
    let entries = entries(&arguments, &package).map_err(refused)?;
    let engine = Engine::open(&arguments, &package, settings).await?;
    let seconds = match time_limit(&arguments, &package).map_err(refused)? {
        TimeLimit::Stated(seconds) => seconds,
        TimeLimit::OfAccepted { factor, resolution } => {
            let slowest = slowest_accepted(&package, &catalogue, &engine).await?;
            let seconds = ((slowest * factor / resolution).ceil() * resolution).max(resolution);
            terminal::say(format_args!(
                "sandfleet: time limit {seconds} s: {factor} times the {slowest:.3} s of the slowest accepted submission, \
                 rounded up"
            ));
            seconds
        }
    };
    let progress = progress_bar(entries.len());
    let mut graded: Vec<Graded> = Vec::with_capacity(entries.len());
    for (submission, _) in &entries {
        let all_tests = arguments.all_tests || arguments.verify;
        let result = match package.job(submission, &catalogue, seconds, all_tests) {
            Ok(job) => engine.grade(&job).await?,
            Err(why) => Err(why),
        };
        graded.push((submission.name.clone(), result));
        progress.inc(1);
    }
    progress.finish_and_clear();
    engine.close().await;
    report(&arguments, &package, &graded)?;
    let mismatches = entries.iter().zip(&graded).filter_map(|((_, expected), (name, result))| {
        let why = match result {
            Ok(result) => expected.as_ref()?.mismatch(result)?,
            Err(why) => why.clone(),
        };
        expected.as_ref().map(|_| format!("{name}: {why}"))
    });
    let mismatches: Vec<String> = mismatches.collect();
    for mismatch in &mismatches {
        terminal::say(format_args!("sandfleet: not as the package says: {mismatch}"));
    }
    Ok(exit(&graded, !mismatches.is_empty()).into())
}

/// Infrastructure first: what it failed says nothing.
fn exit(graded: &[Graded], is_mismatched: bool) -> Exit {
    let results = || graded.iter().filter_map(|(_, result)| result.as_ref().ok());
    if results().any(|it| it.verdict == Some(Verdict::JudgeError)) {
        return Exit::JudgeError;
    }
    if results().any(|it| !matches!(it.status, Status::Succeeded | Status::Failed)) {
        return Exit::Internal;
    }
    if is_mismatched { Exit::Mismatch } else { Exit::Success }
}

fn entries(arguments: &Arguments, package: &Package) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    if arguments.verify {
        let own = package.submissions()?;
        entries.extend(own.into_iter().map(|(submission, expected)| (submission, Some(expected))));
    }
    for path in &arguments.submissions {
        entries.push((Submission::read(path)?, None));
    }
    if let Some(directory) = &arguments.all_in {
        let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
        let found = fs::read_dir(directory).map_err(failed)?;
        let mut paths: Vec<PathBuf> = found
            .map(|entry| entry.map(|it| it.path()))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        paths.sort();
        for path in paths {
            entries.push((Submission::read(&path)?, None));
        }
    }
    match entries.is_empty() {
        true => Err("nothing to grade: name a SUBMISSION, --all-in DIR or --verify".into()),
        false => Ok(entries),
    }
}

fn time_limit(arguments: &Arguments, package: &Package) -> Result<TimeLimit, String> {
    match arguments.time_limit {
        Some(seconds) if seconds.is_finite() && seconds > 0.0 => Ok(TimeLimit::Stated(seconds)),
        Some(seconds) => Err(format!("--time-limit {seconds}: use a number above 0")),
        None => package.time_limit(),
    }
}

/// How long the slowest accepted submission of the package computes on a test, in seconds.
async fn slowest_accepted(
    package: &Package,
    catalogue: &Catalogue,
    engine: &Engine,
) -> Result<f64, Failure> {
    let own = package.submissions().map_err(|why| Exit::Usage.with(why))?;
    let accepted = own.iter().filter(|(submission, _)| submission.name.starts_with("accepted/"));
    let mut slowest: Option<u64> = None;
    for (submission, _) in accepted {
        let measured = match package.job(submission, catalogue, MEASURING_SECONDS, true) {
            Ok(job) => engine.grade(&job).await?,
            Err(why) => Err(why),
        };
        let result = match measured {
            Ok(result) if result.verdict == Some(Verdict::Accepted) => result,
            Ok(result) => return Err(unmeasured(&submission.name, result.message.as_str())),
            Err(why) => return Err(unmeasured(&submission.name, &why)),
        };
        let times = result.tests.iter().filter_map(|test| test.usage).map(|it| it.cpu_time_ms);
        slowest = slowest.max(times.max());
    }
    match slowest {
        Some(ms) => Ok(ms as f64 / 1000.0),
        None => Err(unmeasured("submissions/accepted", "there is none")),
    }
}

fn unmeasured(name: &str, why: &str) -> Failure {
    Exit::Usage.with(format!(
        "the package states no time limit, and it can't be measured: {name}: {why}; give --time-limit SECONDS"
    ))
}

impl Engine {
    async fn open(
        arguments: &Arguments,
        package: &Package,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let compile = package.compile_limits();
        if arguments.fleet {
            if let Some(name) = LimitName::ALL.iter().find(|name| compile.get(**name).is_some()) {
                return Err(Exit::Usage.with(format!(
                    "the package states what compiling gets ({name}), and the fleet's workers decide that \
                     (limits.compile); grade on this machine, without --fleet"
                )));
            }
            let client = Box::new(connect(settings).await?);
            let timeout = arguments.timeout.unwrap_or(Duration::from_secs(600));
            return Ok(Self::Fleet { client, timeout });
        }
        let mut settings = Box::new(settings.clone());
        for name in LimitName::ALL {
            if let Some(value) = compile.get(*name) {
                settings.limits.compile.set(*name, value);
            }
        }
        lift_bounds(&mut settings);
        let backend = arguments.sandbox.into();
        let sandbox = app::open_sandbox(backend, &settings, Observer::default()).await?;
        Ok(Self::Here { sandbox, settings })
    }

    async fn grade(&self, job: &Job) -> Result<Result<JobResult, String>, Failure> {
        match self {
            Self::Here { sandbox, settings } => {
                let mut settings = settings.clone();
                lift_caps(&mut settings, &job.limits);
                let embedded = Embedded::new(Arc::clone(sandbox), &settings, Arc::new(NoHooks));
                Ok(embedded.run(job).await.ok_or_else(|| "it ended without a result".to_owned()))
            }
            Self::Fleet { client, timeout } => {
                // What one is refused for need not be true of the next.
                match client.submit(job).await {
                    Ok(id) => {
                        Ok(client.wait(&id, *timeout).await.map_err(|error| error.to_string()))
                    }
                    Err(error) => Ok(Err(error.to_string())),
                }
            }
        }
    }

    async fn close(&self) {
        if let Self::Here { sandbox, .. } = self {
            sandbox.close().await;
        }
    }
}

fn report(arguments: &Arguments, package: &Package, graded: &[Graded]) -> Result<(), Failure> {
    if let Some(path) = &arguments.junit {
        write(path, "--junit", &junit(package.name(), graded))?;
    }
    let Some(path) = &arguments.json else {
        return terminal::print(&terminal::lines(&results_table(package, graded)));
    };
    let results: Vec<_> = graded
        .iter()
        .map(|(name, result)| match result {
            Ok(result) => json!({ "submission": name, "result": result }),
            Err(why) => json!({ "submission": name, "error": why }),
        })
        .collect();
    let text = terminal::json(&results) + "\n";
    if path == Path::new("-") {
        return terminal::print(&text);
    }
    write(path, "--json", &text)?;
    terminal::print(&terminal::lines(&results_table(package, graded)))
}

fn write(path: &Path, option: &str, text: &str) -> Result<(), Failure> {
    fs::write(path, text)
        .map_err(|error| Exit::Usage.with(format!("{option} {}: {error}", path.display())))
}

fn results_table(package: &Package, graded: &[Graded]) -> String {
    let header = ["SUBMISSION", "VERDICT", "SCORE", "TESTS", "CPU", "WHY"].map(str::to_owned);
    let rows = graded.iter().map(|(name, result)| {
        let name: String = PrintableText::new(name).into();
        let result = match result {
            Ok(result) => result,
            Err(why) => {
                let [dash, no, cpu] = ["-"; 3].map(str::to_owned);
                return [name, "not_graded".into(), dash, no, cpu, PrintableText::new(why).into()];
            }
        };
        let accepted = result.tests.iter().filter(|test| test.is_accepted()).count();
        let slowest = result.tests.iter().filter_map(|it| it.usage).map(|it| it.cpu_time_ms).max();
        let is_accepted = result.verdict == Some(Verdict::Accepted);
        [
            name,
            result.verdict.map_or(result.status.as_str(), |it| it.as_str()).to_owned(),
            match (package.is_scoring(), result.score) {
                (true, Some(score)) => format!("{score}"),
                _ => "-".into(),
            },
            format!("{accepted}/{}", package.tests()),
            slowest.map_or_else(|| "-".into(), |ms| format!("{ms} ms")),
            if is_accepted { String::new() } else { result.message.to_string() },
        ]
    });
    columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

fn progress_bar(submissions: usize) -> ProgressBar {
    if !terminal::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} submissions, {eta} left");
    ProgressBar::new(submissions as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
