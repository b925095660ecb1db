//! The images of the containers: one for each name that languages give theirs, or one for all.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use bollard::{Docker, errors::Error, models::ImageInspect};
use tokio::time::timeout;
use tracing::{info, warn};

use super::{config::DockerConfig, label, request::DEADLINE};
use crate::sandbox::{RootTree, SandboxError, agent_binary};

/// What the name of an image takes the place of in sandbox.image.
const PLACE: &str = "{image}";

/// The name that `template` (sandbox.image) gives the image `name`.
pub(crate) fn tag(template: &str, name: &str) -> String {
    template.replace(PLACE, name)
}

/// Whether `template` gives all images the same name.
pub(crate) fn is_shared(template: &str) -> bool {
    !template.contains(PLACE)
}

/// The day that the image `name` says its packages are of; nothing if the engine doesn't have the image.
pub(crate) async fn packages_as_of(docker: &Docker, name: &str) -> Option<Option<String>> {
    let image = timeout(DEADLINE, docker.inspect_image(name)).await.ok()?.ok()?;
    let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
    Some(labels.get(label::PACKAGES_AS_OF).cloned())
}

/// One image that containers can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The engine's id of it.
    pub(super) id: Arc<str>,
    /// What results say of it.
    pub(super) root: RootTree,
}

/// The images that the engine has.
#[derive(Debug)]
pub(super) struct Images {
    template: String,
    names: Vec<String>,
    found: RwLock<BTreeMap<String, Image>>,
}

impl Images {
    /// Looks for those of `config`.
    ///
    /// # Errors
    /// If the engine has none, or one that is another worker's.
    pub(super) async fn find(docker: &Docker, config: &DockerConfig) -> Result<Self, SandboxError> {
        let (template, names) = (config.image.clone(), config.images.clone());
        let images = Self { template, names, found: RwLock::default() };
        images.refresh(docker).await?;
        Ok(images)
    }

    /// Looks for them again: one may have been replaced.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(super) async fn refresh(&self, docker: &Docker) -> Result<(), SandboxError> {
        let mut found = BTreeMap::new();
        if is_shared(&self.template) {
            let image = inspect(docker, &self.template).await?.ok_or_else(|| {
                refused(&self.template, "the Docker engine has no such image".into())
            })?;
            found.insert(self.template.clone(), image);
        } else {
            for name in &self.names {
                if let Some(image) = inspect(docker, &tag(&self.template, name)).await? {
                    found.insert(name.clone(), image);
                }
            }
        }
        if found.is_empty() {
            return Err(refused(&self.template, "the Docker engine has no such image".into()));
        }
        let mut known = self.found.write().unwrap_or_else(PoisonError::into_inner);
        for (name, image) in &found {
            match known.get(name) {
                Some(before) if before == image => {}
                Some(_) => {
                    info!(
                        image = name,
                        id = &*image.id,
                        "an image was replaced; the next programs see the new one"
                    );
                }
                None if !known.is_empty() => {
                    warn!(image = name, "an image has come; a restart offers its languages");
                }
                None => {}
            }
        }
        *known = found;
        Ok(())
    }

    /// The image of programs whose language is in `name`, or of any if that is empty.
    pub(super) fn get(&self, name: &str) -> Option<Image> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        match is_shared(&self.template) || name.is_empty() {
            true => found.values().next().cloned(),
            false => found.get(name).cloned(),
        }
    }

    /// That image, or the error that it isn't there.
    pub(super) fn require(&self, name: &str) -> Result<Image, SandboxError> {
        self.get(name).ok_or_else(|| {
            refused(&tag(&self.template, name), "the Docker engine has no such image".into())
        })
    }
}

fn refused(name: &str, reason: String) -> SandboxError {
    SandboxError::Failed {
        operation: "inspecting the image",
        reason: format!("{name}: {reason}"),
        fix: Some(
            "make it with `sandfleet images build NAME` and `sandfleet images import NAME`, or name another with \
             sandbox.image",
        ),
    }
}

/// The image `name`, if the engine has it.
async fn inspect(docker: &Docker, name: &str) -> Result<Option<Image>, SandboxError> {
    match timeout(DEADLINE, docker.inspect_image(name)).await {
        Ok(Ok(image)) => accept(name, image).map(Some).map_err(|why| refused(name, why)),
        Ok(Err(Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
        Ok(Err(error)) => Err(refused(name, error.to_string())),
        Err(_) => Err(refused(name, "the Docker engine did not answer in 15 s".into())),
    }
}

/// The image `name` as results name it, or why no container can be made of it.
fn accept(name: &str, image: ImageInspect) -> Result<Image, String> {
    let config = image.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    if labels.get(label::AGENT).map(String::as_str) != Some(agent_binary::digest().as_str()) {
        return Err("it carries another agent than this worker".into());
    }
    if config.volumes.is_some_and(|volumes| !volumes.is_empty()) {
        return Err("it declares volumes, which are writable and outlive containers".into());
    }
    let id = image.id.ok_or("it has no id")?;
    let layers = image.root_fs.and_then(|root| root.layers).unwrap_or_default();
    // The label may say what it wants; the engine has hashed the layer itself.
    let tree = labels.get(label::TREE).filter(|tree| layers.first() == Some(tree));
    let root = match (tree, labels.get(label::IMAGE)) {
        (Some(tree), Some(image)) => RootTree { image: image.clone(), digest: Some(tree.clone()) },
        _ => RootTree { image: name.to_owned(), digest: Some(id.clone()) },
    };
    Ok(Image { id: id.into(), root })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bollard::models::{ImageConfig, ImageInspectRootFs};

    use super::*;

    fn image(tree: &str, layer: &str, agent: &str) -> ImageInspect {
        let labels = [(label::AGENT, agent), (label::TREE, tree), (label::IMAGE, "base")];
        let labels: HashMap<_, _> =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        ImageInspect {
            id: Some("sha256:id".into()),
            config: Some(ImageConfig { labels: Some(labels), ..ImageConfig::default() }),
            root_fs: Some(ImageInspectRootFs {
                layers: Some(vec![layer.into(), "sha256:agent".into()]),
                ..ImageInspectRootFs::default()
            }),
            ..ImageInspect::default()
        }
    }

    #[test]
    fn results_name_the_tree_that_the_engine_has_hashed_and_no_label_alone() {
        let agent = agent_binary::digest();
        let root = |tree, layer| {
            let root =
                accept("sandfleet/base:latest", image(tree, layer, &agent)).map(|it| it.root);
            let root = root.expect("accepted");
            (root.image, root.digest.unwrap_or_default())
        };
        assert_eq!(root("sha256:t", "sha256:t"), ("base".into(), "sha256:t".into()));
        let own = ("sandfleet/base:latest".into(), "sha256:id".into());
        assert_eq!(root("sha256:t", "sha256:other"), own);
        let why = accept("x", image("sha256:t", "sha256:t", "another")).expect_err("refused");
        assert!(why.contains("another agent"), "{why}");
    }

    #[test]
    fn each_image_has_a_name_of_its_own_unless_all_are_one() {
        assert_eq!(tag("sandfleet/{image}:latest", "python"), "sandfleet/python:latest");
        assert_eq!(tag("mine:1", "python"), "mine:1");
        assert!(is_shared("mine:1") && !is_shared("r/{image}"));
    }
}
