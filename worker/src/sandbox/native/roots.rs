//! The root trees that containers see: an image's, or the host's own programs where there is no such image.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::info;

use crate::{
    images::{Store, Tree},
    sandbox::SandboxError,
};

/// What an image is at present; `None` for the host's programs.
pub(crate) type Root = Option<Arc<Tree>>;

/// The directory that `root` is.
pub(super) fn path(root: &Root) -> String {
    root.as_ref().map_or_else(|| "/".to_owned(), |tree| tree.root.to_string_lossy().into_owned())
}

/// The digest of `root`; empty for the host's programs.
pub(super) fn digest(root: &Root) -> &str {
    root.as_ref().map_or("", |tree| &tree.facts.digest)
}

/// Whether both are the same tree.
pub(super) fn is_same(one: &Root, other: &Root) -> bool {
    digest(one) == digest(other)
}

/// The trees of all images that were asked for. Each is looked for when the first program asks for it, and is kept from
/// being removed for as long as it is used here.
pub(super) struct Roots {
    store: Option<Store>,
    opened: Mutex<BTreeMap<String, Root>>,
}

impl Roots {
    /// Those below `directory`; without one, the host's programs only.
    pub(super) fn new(directory: Option<&PathBuf>) -> Self {
        Self { store: directory.map(|it| Store::new(it)), opened: Mutex::default() }
    }

    /// The tree of `image`; of the host where there is no such image, or none is named.
    ///
    /// # Errors
    /// If it is there and can't be used.
    pub(super) fn get(&self, image: &str) -> Result<Root, SandboxError> {
        let (Some(store), false) = (&self.store, image.is_empty()) else { return Ok(None) };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = opened.get(image) {
            return Ok(root.clone());
        }
        let root = open(store, image)?;
        opened.insert(image.to_owned(), root.clone());
        Ok(root)
    }

    /// Looks again for the trees that were asked for: a build may have replaced one.
    ///
    /// # Errors
    /// If one is there and can't be used; it is as it was then.
    pub(super) fn refresh(&self) -> Result<(), SandboxError> {
        let Some(store) = &self.store else { return Ok(()) };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        for (image, root) in opened.iter_mut() {
            let now = open(store, image)?;
            if !is_same(root, &now) {
                let (before, after) = (digest(root).to_owned(), digest(&now).to_owned());
                info!(
                    image,
                    before, after, "an image was replaced; the next programs see the new one"
                );
                *root = now;
            }
        }
        Ok(())
    }

    /// Whether `root` is what programs see now.
    pub(super) fn is_current(&self, root: &Root) -> bool {
        let Some(tree) = root else { return true };
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.values().flatten().any(|now| now.facts.digest == tree.facts.digest)
    }
}

fn open(store: &Store, image: &str) -> Result<Root, SandboxError> {
    let tree = store.tree(image);
    tree.map(|tree| tree.map(Arc::new))
        .map_err(|error| SandboxError::failed("opening an image", error))
}
