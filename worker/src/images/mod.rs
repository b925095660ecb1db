//! Images: the root trees that programs see, made of Debian's packages and of hash-locked ones of PyPI and npm, without any
//! registry. The native sandbox mounts a tree, Docker gets the same tree as a layer; both name it by one digest.

pub mod archive;
mod assemble;
mod command;
mod config;
pub mod definition;
mod error;
mod files;
mod lock;
mod resolve;
mod store;
mod tree;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub use self::{
    config::ImagesConfig,
    error::ImageError,
    store::{Facts, Store, Tree},
};

use self::{definition::Definition, lock::Lock};

/// How an image is built.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// Of the newest files that there are, which are locked for the next builds.
    pub update: bool,
    /// Where locks are read and written, besides those that are built in.
    pub locks: Option<PathBuf>,
}

/// What became of a build.
#[derive(Debug)]
pub struct Built {
    /// What the tree is.
    pub facts: Facts,
    /// How many files had to be fetched.
    pub fetched: usize,
    /// How long that took.
    pub fetching: Duration,
    /// How long all else took; nothing if the tree was there.
    pub building: Option<Duration>,
}

/// Builds the image `name`; blocks until that is done.
///
/// # Errors
/// Names what is missing or failed, and the fix where one is known.
pub fn build(
    name: &str,
    config: &ImagesConfig,
    options: &BuildOptions,
) -> Result<Built, ImageError> {
    let definitions = definition::all(config.definitions.as_deref())?;
    let Some(definition) = definitions.get(name) else {
        let known: Vec<&str> = definitions.keys().map(String::as_str).collect();
        let why = format!("there is no definition of an image {name:?}");
        return Err(ImageError::with_fix(why, format!("name one of {}", known.join(", "))));
    };
    if !rustix::process::geteuid().is_root() {
        let why = "images belong to root, and are built by root only";
        return Err(ImageError::with_fix(why, format!("sudo sandfleet images build {name}")));
    }
    let store = Store::new(&config.directory);
    let workshop = store.workshop()?;
    let room = |part: &str| {
        let path = workshop.path.join(part);
        fs::create_dir(&path).map_err(|error| ImageError::of(&path, error)).map(|()| path)
    };
    let locks = options.locks.clone().unwrap_or_else(|| config.directory.join("locks"));
    let architecture = resolve::architecture();
    let lock = match options.update {
        true => {
            let lock = resolve::resolve(definition, architecture, config, &room("resolve")?)?;
            write_lock(&locks, name, &lock)?;
            lock
        }
        false => find_lock(name, definition, architecture, config, &locks)?,
    };
    let recipe = assemble::recipe(&lock);
    if let Some(tree) = store.tree(name)?
        && tree.facts.recipe_sha256 == recipe
    {
        let (facts, fetching) = (tree.facts.clone(), Duration::ZERO);
        return Ok(Built { facts, fetched: 0, fetching, building: None });
    }
    let begun = Instant::now();
    let fetched = files::fetch(config, &lock, &room("fetch")?)?;
    let fetching = begun.elapsed();
    let begun = Instant::now();
    let root = workshop.path.join("root");
    assemble::assemble(definition, &lock, config, &root, &room("assemble")?)?;
    let settled = tree::settle_times(&root).and_then(|()| tree::digest(&root));
    let archive = settled.map_err(|error| ImageError::of(&root, error))?;
    let facts = Facts {
        name: name.to_owned(),
        digest: format!("sha256:{}", archive.digest),
        bytes: archive.bytes,
        architecture: lock.architecture.clone(),
        release: lock.release.clone(),
        packages_as_of: lock.as_of.clone(),
        recipe_sha256: recipe,
    };
    store.add(&root, &facts)?;
    Ok(Built { facts, fetched, fetching, building: Some(begun.elapsed()) })
}

fn lock_path(locks: &Path, name: &str, architecture: &str) -> PathBuf {
    locks.join(format!("{name}.{architecture}.lock"))
}

fn write_lock(locks: &Path, name: &str, lock: &Lock) -> Result<(), ImageError> {
    let path = lock_path(locks, name, &lock.architecture);
    let part = path.with_extension("part");
    let written = fs::create_dir_all(locks)
        .and_then(|()| fs::write(&part, lock.text()))
        .and_then(|()| fs::rename(&part, &path));
    written.map_err(|error| ImageError::of(&path, error))
}

/// The lock that was refreshed here last, else the one beside the operator's definition, else the built-in one.
fn find_lock(
    name: &str,
    definition: &Definition,
    architecture: &str,
    config: &ImagesConfig,
    locks: &Path,
) -> Result<Lock, ImageError> {
    let places = [Some(locks), config.definitions.as_deref()];
    let mut stale = None;
    for place in places.into_iter().flatten() {
        let path = lock_path(place, name, architecture);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(ImageError::of(&path, error)),
        };
        let lock = Lock::read(&path.display().to_string(), &text)?;
        if lock.definition == definition.digest() && lock.architecture == architecture {
            return Ok(lock);
        }
        stale = Some(path.display().to_string());
    }
    if let Some(text) = Lock::built_in(name, architecture) {
        let lock = Lock::read(name, text)?;
        if lock.definition == definition.digest() {
            return Ok(lock);
        }
    }
    let why = match stale {
        Some(path) => format!("{path} is of another definition of {name}"),
        None => format!("there is no lock of the image {name} for {architecture}"),
    };
    Err(ImageError::with_fix(why, format!("sandfleet images build --update {name}")))
}
