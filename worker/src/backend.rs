//! Which sandbox a worker uses, and why: once, at its start. `sandfleet doctor` asks the same question.

use crate::{
    config::{Backend, BackendChoice, Settings},
    sandbox::SandboxError,
};

/// A backend that works, what came of trying it, and why it is this one.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved<T> {
    /// The backend.
    pub backend: Backend,
    /// What trying it has made.
    pub made: T,
    /// Why it is this one, for a person.
    pub why: String,
}

/// The settings by which a choice is tried: on its own account it takes no engine with known vulnerabilities.
pub fn settings_for(choice: BackendChoice, settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    if choice == BackendChoice::Auto {
        settings.sandbox.allow_outdated_engine = false;
    }
    settings
}

/// The backend that `choice` comes to: `native` and `docker` try theirs, and only what is needed is tried.
///
/// # Errors
/// Of the backend that is named; of both if neither can be used. A native sandbox that has its barriers and fails is
/// no reason for another one.
pub async fn resolve<T>(
    choice: BackendChoice,
    native: impl Future<Output = Result<T, SandboxError>>,
    docker: impl Future<Output = Result<T, SandboxError>>,
) -> Result<Resolved<T>, SandboxError> {
    let named = |backend, made| Resolved { backend, made, why: "it is named".into() };
    let (native, barrier) = match choice {
        BackendChoice::Native => return Ok(named(Backend::Native, native.await?)),
        BackendChoice::Docker => return Ok(named(Backend::Docker, docker.await?)),
        BackendChoice::Auto => match native.await {
            Ok(made) => {
                let why = "auto: all barriers of the native sandbox are installed".into();
                return Ok(Resolved { backend: Backend::Native, made, why });
            }
            Err(error) => match &error {
                SandboxError::Barrier { barrier, .. } => {
                    let (reason, fix) = error.parts();
                    ((reason, fix.unwrap_or_default().to_owned()), *barrier)
                }
                _ => return Err(error),
            },
        },
    };
    let (reason, fix) = native;
    match docker.await {
        Ok(made) => {
            let why = format!("auto: the native sandbox can't be used here: {reason}");
            Ok(Resolved { backend: Backend::Docker, made, why })
        }
        Err(error) => Err(SandboxError::Barrier {
            barrier,
            reason: format!(
                "neither sandbox can be used here: native: {reason}; docker: {}",
                error.parts().0
            ),
            fix: format!(
                "{fix}; or see `sandfleet doctor --sandbox docker`, and name the backend in sandbox.backend"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn barrier() -> SandboxError {
        let (reason, fix) = ("no namespaces".into(), "boot another kernel".into());
        SandboxError::Barrier { barrier: "namespaces", reason, fix }
    }

    #[tokio::test]
    async fn auto_is_native_where_its_barriers_can_be_installed_and_docker_elsewhere() {
        let auto = BackendChoice::Auto;
        let never = std::future::pending::<Result<u8, SandboxError>>;
        let native = resolve(auto, ready(Ok(1)), never()).await.expect("native works");
        assert_eq!((native.backend, native.made), (Backend::Native, 1));
        let docker =
            resolve(auto, ready(Err(barrier())), ready(Ok(2))).await.expect("docker works");
        assert_eq!((docker.backend, docker.made), (Backend::Docker, 2));
        assert!(docker.why.contains("no namespaces"), "{}", docker.why);
    }

    #[tokio::test]
    async fn where_neither_works_the_error_says_why_of_both() {
        let outdated = SandboxError::failed("looking at the engine", "outdated");
        let error = resolve::<u8>(BackendChoice::Auto, ready(Err(barrier())), ready(Err(outdated)));
        let text = error.await.expect_err("neither works").to_string();
        for part in [
            "native: no namespaces",
            "docker: looking at the engine: outdated",
            "to fix: boot another",
        ] {
            assert!(text.contains(part), "{text:?} does not say {part:?}");
        }
    }

    #[tokio::test]
    async fn a_native_sandbox_that_fails_for_now_is_not_replaced() {
        let failed = SandboxError::failed("starting a container", "no room");
        let error = resolve(BackendChoice::Auto, ready(Err::<u8, _>(failed)), ready(Ok(2))).await;
        assert!(matches!(error, Err(SandboxError::Failed { .. })), "{error:?}");
        let never = std::future::pending::<Result<u8, SandboxError>>;
        let named = resolve(BackendChoice::Docker, never(), ready(Ok(2))).await.expect("it works");
        assert_eq!((named.backend, named.why.as_str()), (Backend::Docker, "it is named"));
    }

    #[test]
    fn auto_takes_no_outdated_engine_even_if_one_is_allowed() {
        let allow = [("SANDFLEET_SANDBOX_ALLOW_OUTDATED_ENGINE".into(), "true".into())];
        let settings = Settings::load(None, allow).expect("valid");
        let allowed = |choice| settings_for(choice, &settings).sandbox.allow_outdated_engine;
        assert!(!allowed(BackendChoice::Auto) && allowed(BackendChoice::Docker));
    }
}
