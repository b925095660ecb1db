//! The image of the containers.

use bollard::Docker;
use tokio::time::timeout;

use super::{label, request::DEADLINE};
use crate::sandbox::{SandboxError, agent_binary};

/// The name that `template` (sandbox.image) gives the image `name`.
pub(crate) fn tag(template: &str, name: &str) -> String {
    template.replace("{image}", name)
}

/// The day that the image `name` says its packages are of; nothing if the engine doesn't have the image.
pub(crate) async fn packages_as_of(docker: &Docker, name: &str) -> Option<Option<String>> {
    let image = timeout(DEADLINE, docker.inspect_image(name)).await.ok()?.ok()?;
    let labels = image.config.and_then(|config| config.labels).unwrap_or_default();
    Some(labels.get(label::PACKAGES_AS_OF).cloned())
}

/// The id of the image `name`, if containers can be made of it.
pub(super) async fn inspect(docker: &Docker, name: &str) -> Result<String, SandboxError> {
    let refuse = |reason: String| SandboxError::Failed {
        operation: "inspecting the image",
        reason: format!("{name}: {reason}"),
        fix: Some("make it with deploy/images/build, or name another with sandbox.image"),
    };
    let image = match timeout(DEADLINE, docker.inspect_image(name)).await {
        Ok(Ok(image)) => image,
        Ok(Err(error)) => return Err(refuse(error.to_string())),
        Err(_) => return Err(refuse("the Docker engine did not answer in 15 s".into())),
    };
    let config = image.config.unwrap_or_default();
    let carried = config.labels.unwrap_or_default().remove(label::AGENT);
    if carried.as_deref() != Some(agent_binary::digest().as_str()) {
        return Err(refuse("it carries another agent than this worker".into()));
    }
    if config.volumes.is_some_and(|volumes| !volumes.is_empty()) {
        return Err(refuse(
            "it declares volumes, which are writable and outlive containers".into(),
        ));
    }
    image.id.ok_or_else(|| refuse("it has no id".into()))
}
