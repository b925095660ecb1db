//! `sandfleet images`: builds the root trees that programs see, and hands them to Docker.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::{
    app,
    config::Settings,
    images::{self, BuildOptions, Built, ImageError, Store, Tree, archive, definition},
    sandbox::docker,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Where images are kept [default: images.directory]
    #[arg(long, global = true, value_name = "DIR")]
    directory: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build images from Debian's packages and locked ones of PyPI and npm; it takes root and mmdebstrap
    Build(BuildArguments),
    /// List the images that are there
    List(ListArguments),
    /// Check that images are what their digests say
    Verify(NamesArguments),
    /// Remove images, and trees that nothing means or uses any more
    Remove(RemoveArguments),
    /// Write an image as `docker load` takes it, or with --dockerfile what `docker build` takes
    Export(ExportArguments),
    /// Give images to the Docker engine, under the names that sandbox.image says
    Import(NamesArguments),
}

#[derive(Args)]
struct NamesArguments {
    /// Their names
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    names: Vec<String>,

    /// All that are there
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
struct BuildArguments {
    /// Their names: files of deploy/images, or of images.definitions_directory
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "NAME")]
    names: Vec<String>,

    /// All that are defined
    #[arg(long)]
    all: bool,

    /// Take the newest packages, and lock their versions and digests for the next builds
    #[arg(long)]
    update: bool,

    /// Where locks are read and written [default: locks below the directory of the images]
    #[arg(long, value_name = "DIR")]
    locks: Option<PathBuf>,
}

#[derive(Args)]
struct ListArguments {
    /// Print them as JSON, one array
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RemoveArguments {
    /// Their names
    #[arg(required_unless_present = "unused", value_name = "NAME")]
    names: Vec<String>,

    /// The trees that no name means and no worker uses
    #[arg(long)]
    unused: bool,
}

#[derive(Args)]
struct ExportArguments {
    /// Its name
    name: String,

    /// The file, - for stdout
    #[arg(
        long,
        value_name = "FILE|-",
        required_unless_present = "dockerfile",
        conflicts_with = "dockerfile"
    )]
    output: Option<PathBuf>,

    /// A directory that gets a Dockerfile and what it adds, for an image in a registry of your own
    #[arg(long, value_name = "DIR")]
    dockerfile: Option<PathBuf>,
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        if !error.said.is_empty() {
            terminal::say_lines(&terminal::lines(&error.said));
        }
        Exit::Unavailable.because(error)
    }
}

pub(super) async fn run(arguments: Arguments, settings: &Settings) -> Result<ExitCode, Failure> {
    let mut settings = settings.clone();
    if let Some(directory) = arguments.directory {
        settings.images.directory = std::path::absolute(directory)
            .map_err(|error| Exit::Usage.with(format!("--directory: {error}")))?;
    }
    let store = Store::new(&settings.images.directory);
    match arguments.command {
        Command::Build(arguments) => build(arguments, &settings, &store).await,
        Command::List(arguments) => list(&arguments, &store),
        Command::Verify(arguments) => blocking(move || verify(&arguments, &store)).await,
        Command::Remove(arguments) => remove(&arguments, &store),
        Command::Export(arguments) => blocking(move || export(&arguments, &settings, &store)).await,
        Command::Import(arguments) => import(&arguments, &settings, &store).await,
    }
}

/// Runs what reads or writes whole images, beside what is asynchronous.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Exit::Internal.because(error))?
}

async fn build(
    arguments: BuildArguments,
    settings: &Settings,
    store: &Store,
) -> Result<ExitCode, Failure> {
    let BuildArguments { mut names, all, update, locks } = arguments;
    let config = app::images_config(settings);
    if all {
        names = definition::all(config.definitions.as_deref())?.into_keys().collect();
    }
    let options = BuildOptions { update, locks };
    for name in names {
        terminal::say(format_args!("sandfleet: building image {name}"));
        let (config, options) = (config.clone(), options.clone());
        let built = blocking(move || Ok(images::build(&name, &config, &options)?)).await?;
        terminal::print(&terminal::lines(&summary(&built)))?;
    }
    // What the new ones have replaced.
    report_removed(store)
}

fn summary(built: &Built) -> String {
    let Built { facts, fetched, fetching, building } = built;
    let how = match building {
        Some(time) => format!(
            "built in {:.0} s, {fetched} files fetched in {:.0} s",
            time.as_secs_f64(),
            fetching.as_secs_f64()
        ),
        None => "is up to date".to_owned(),
    };
    format!("{} {} {}, {how}\n", facts.name, facts.digest, megabytes(facts.bytes))
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

fn report_removed(store: &Store) -> Result<ExitCode, Failure> {
    let (removed, kept) = store.prune()?;
    for digest in removed {
        terminal::say(format_args!("sandfleet: removed {digest}, which no name means any more"));
    }
    for digest in kept {
        terminal::say(format_args!(
            "sandfleet: {digest} is in use; `sandfleet images remove --unused` removes it later"
        ));
    }
    Ok(Exit::Success.into())
}

fn list(arguments: &ListArguments, store: &Store) -> Result<ExitCode, Failure> {
    let all = store.all()?;
    if arguments.json {
        let rows: Vec<_> = all
            .iter()
            .map(|(tree, names)| json!({ "names": names, "image": tree.facts, "root": tree.root }))
            .collect();
        let json =
            serde_json::to_string_pretty(&rows).map_err(|error| Exit::Internal.because(error))?;
        terminal::print(&(json + "\n"))?;
        return Ok(Exit::Success.into());
    }
    let mut table = String::new();
    for (tree, names) in &all {
        let name =
            if names.is_empty() { format!("({})", tree.facts.name) } else { names.join(",") };
        let facts = &tree.facts;
        let (size, day) = (megabytes(facts.bytes), &facts.packages_as_of);
        table.push_str(&format!(
            "{name:14} {} {size:>8}  Debian {} of {day}\n",
            facts.digest, facts.release
        ));
    }
    if table.is_empty() {
        terminal::say("sandfleet: there are no images; `sandfleet images build --all` makes them");
    }
    terminal::print(&terminal::lines(&table))?;
    Ok(Exit::Success.into())
}

/// The trees that are named, or all that names mean.
fn trees(arguments: &NamesArguments, store: &Store) -> Result<Vec<Tree>, Failure> {
    if arguments.all {
        let all = store.all()?.into_iter();
        return Ok(all.filter(|(_, names)| !names.is_empty()).map(|(tree, _)| tree).collect());
    }
    arguments.names.iter().map(|name| tree(name, store)).collect()
}

fn tree(name: &str, store: &Store) -> Result<Tree, Failure> {
    store.tree(name)?.ok_or_else(|| {
        let why = format!("there is no image {name:?}; to fix: sandfleet images build {name}");
        Exit::Unavailable.with(why)
    })
}

fn verify(arguments: &NamesArguments, store: &Store) -> Result<ExitCode, Failure> {
    for tree in trees(arguments, store)? {
        tree.verify()?;
        terminal::print(&format!("{} {} ok\n", tree.facts.name, tree.facts.digest))?;
    }
    Ok(Exit::Success.into())
}

fn remove(arguments: &RemoveArguments, store: &Store) -> Result<ExitCode, Failure> {
    for name in &arguments.names {
        store.forget(name)?;
    }
    report_removed(store)
}

fn export(
    arguments: &ExportArguments,
    settings: &Settings,
    store: &Store,
) -> Result<ExitCode, Failure> {
    let tree = tree(&arguments.name, store)?;
    if let Some(directory) = &arguments.dockerfile {
        archive::write_context(&tree, directory)
            .map_err(|error| Exit::Usage.with(format!("{}: {error}", directory.display())))?;
        return Ok(Exit::Success.into());
    }
    let path = arguments.output.clone().unwrap_or_default();
    let tag = docker::image::tag(&settings.sandbox.image, &arguments.name);
    if path.as_os_str() == "-" {
        if terminal::binary_stdout().is_terminal() {
            return Err(Exit::Usage.with("--output -: stdout is a terminal; name a file"));
        }
        let to = BufWriter::with_capacity(1 << 20, terminal::binary_stdout());
        write_archive(&tree, &tag, "stdout", to)?;
        return Ok(Exit::Success.into());
    }
    let shown = path.display().to_string();
    let file =
        File::create(&path).map_err(|error| Exit::Usage.with(format!("{shown}: {error}")))?;
    write_archive(&tree, &tag, &shown, BufWriter::with_capacity(1 << 20, file))?;
    Ok(Exit::Success.into())
}

fn write_archive(tree: &Tree, tag: &str, place: &str, to: impl Write) -> Result<String, Failure> {
    let written = archive::write(tree, tag, to);
    written.map(|it| it.id).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::ClosedPipe.because(error),
        _ => Exit::Unavailable.with(format!("{place}: {error}")),
    })
}

async fn import(
    arguments: &NamesArguments,
    settings: &Settings,
    store: &Store,
) -> Result<ExitCode, Failure> {
    for tree in trees(arguments, store)? {
        let tag = docker::image::tag(&settings.sandbox.image, &tree.facts.name);
        let (name, digest) = (tree.facts.name.clone(), tree.facts.digest.clone());
        let loaded = docker::load(&app::docker_config(settings), tree, tag.clone()).await?;
        terminal::print(&terminal::lines(&format!("{name} {digest} is {tag} ({loaded})\n")))?;
    }
    Ok(Exit::Success.into())
}
