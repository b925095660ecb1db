//! Which languages a sandbox has: whether their files are in its root tree, and what they say of their versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use sandfleet_common::Limits;

use super::catalogue::{Bounds, Catalogue, Language};
use crate::images::{ImageError, Store};
use crate::sandbox::{Outcome, Plan, RootTree, Sandbox, SandboxError, smallest_plan};

/// Prints those of its arguments that are files, a line each.
const FIND: &str = r#"for file; do if [ -f "$file" ]; then printf '%s\n' "$file"; fi; done"#;
/// The longest version that is shown.
const MAX_VERSION: usize = 80;

/// `catalogue` with the languages for installed that `sandbox` has.
///
/// # Errors
/// If the sandbox runs nothing.
pub async fn in_sandbox(
    sandbox: &dyn Sandbox,
    catalogue: &Catalogue,
) -> Result<Catalogue, SandboxError> {
    // Where several images are one tree, such as the host's, one program looks for the files of all.
    let mut images_of: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for image in catalogue.images() {
        if let Some(RootTree { image: tree, digest }) = sandbox.root_tree(image) {
            images_of.entry((tree, digest)).or_default().push(image);
        }
    }
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    for images in images_of.values() {
        let files: BTreeSet<&str> =
            images.iter().flat_map(|image| catalogue.files(image)).collect();
        let script = ["/bin/sh", "-c", FIND, "sh"].into_iter();
        let command = script.chain(files).map(str::to_owned).collect();
        let outcome = run(sandbox, images[0], command, Vec::new()).await?;
        let files = String::from_utf8_lossy(&outcome.stdout.head).into_owned();
        for image in images {
            found.extend(files.lines().map(|file| ((*image).to_owned(), file.to_owned())));
        }
    }
    let has = |image: &str, file: &str| found.contains(&(image.to_owned(), file.to_owned()));
    Ok(catalogue.clone().with_files(has))
}

/// `catalogue` with the languages for installed that the native sandbox has here: in an image below `images`, or on this
/// host where there is no such image.
///
/// # Errors
/// If an image is there and can't be used.
pub fn on_this_host(catalogue: &Catalogue, images: &Path) -> Result<Catalogue, ImageError> {
    let store = Store::new(images);
    let mut trees = BTreeMap::new();
    for image in catalogue.images() {
        trees.insert(image.to_owned(), store.tree(image)?);
    }
    Ok(catalogue.clone().with_files(|image, file| match trees.get(image) {
        Some(Some(tree)) => tree.has_file(file),
        _ => Path::new(file).is_file(),
    }))
}

/// What `language` says of its version in `sandbox`: the first line, bounded.
///
/// # Errors
/// If the sandbox runs nothing.
pub async fn version(
    sandbox: &dyn Sandbox,
    language: &Language,
) -> Result<Option<String>, SandboxError> {
    if language.version.is_empty() {
        return Ok(None);
    }
    let bounds = Bounds::of(&Limits::default(), 1.0);
    let environment = language.environment(&Default::default(), bounds);
    let outcome = run(sandbox, &language.image, language.version.clone(), environment).await?;
    let said = [outcome.stdout.head, outcome.stderr.head].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(line.map(|line| line.chars().take(MAX_VERSION).collect()))
}

async fn run(
    sandbox: &dyn Sandbox,
    image: &str,
    command: Vec<String>,
    environment: Vec<(String, String)>,
) -> Result<Outcome, SandboxError> {
    let image = image.to_owned();
    let plan = Plan { image, command, environment, ..smallest_plan() };
    sandbox.run(&plan, &|_, _| ()).await
}
