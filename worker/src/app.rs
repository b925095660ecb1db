//! Puts the parts together: what the stages need of each other meets only here.

use std::{sync::Arc, time::Duration};

use sandfleet_common::Isolation;

use crate::{
    admission::Admission,
    catalogue::Catalogue,
    config::{Backend, Settings},
    pipeline::Terms,
    sandbox::{
        Sandbox, SandboxError,
        docker::{DockerConfig, DockerSandbox},
        native::{NativeConfig, NativeSandbox},
    },
};

/// The first pause before a job that the fleet failed is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(250);

/// Opens the sandbox that `backend` names.
///
/// # Errors
/// Names the barrier or the service that is missing.
pub async fn open_sandbox(
    backend: Backend,
    settings: &Settings,
) -> Result<Arc<dyn Sandbox>, SandboxError> {
    Ok(match backend {
        Backend::Native => Arc::new(NativeSandbox::open(native_config(settings)).await?),
        Backend::Docker => Arc::new(DockerSandbox::open(docker_config(settings)).await?),
    })
}

/// The native sandbox's part of the settings.
pub fn native_config(settings: &Settings) -> NativeConfig {
    NativeConfig {
        cgroup_parent: settings
            .sandbox
            .cgroup_parent
            .as_ref()
            .map_or_else(String::new, |path| path.to_string_lossy().into_owned()),
        user_base: settings.sandbox.uid_base,
        cpus: settings.sandbox.cpus,
    }
}

/// The Docker sandbox's part of the settings.
pub fn docker_config(settings: &Settings) -> DockerConfig {
    DockerConfig {
        host: settings.sandbox.docker_host.clone(),
        runtime: settings.sandbox.runtime.clone(),
        image: settings.sandbox.image.clone(),
        user_base: settings.sandbox.uid_base,
        cpus: settings.sandbox.cpus,
        worker_id: settings.worker.id.clone(),
    }
}

/// What a worker with `settings` offers.
pub fn admission(settings: &Settings, isolation: Isolation) -> Admission {
    Admission {
        max_job_bytes: settings.jobs.max_bytes,
        defaults: settings.defaults.clone(),
        caps: settings.caps.clone(),
        catalogue: Catalogue::embedded(),
        isolation,
    }
}

/// The numbers that a worker with `settings` works by.
pub fn terms(settings: &Settings) -> Terms {
    Terms {
        worker_id: settings.worker.id.clone(),
        max_attempts: settings.worker.max_attempts,
        lease: Duration::from_millis(settings.worker.lease_ms),
        result_ttl: Duration::from_millis(settings.store.result_ttl_ms),
        retry_delay: RETRY_DELAY,
    }
}
