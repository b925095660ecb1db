//! The engine's AppArmor, where the operator wants a profile of it around programs.

use bollard::{Docker, models::SystemInfo};

use super::{config::DockerConfig, request::ask};
use crate::sandbox::SandboxError;

/// The barrier that is missing where a profile can't be installed.
const BARRIER: &str = "AppArmor";

/// Whether the engine says that its host has AppArmor.
pub(crate) fn has_apparmor(info: &SystemInfo) -> bool {
    has_option(info, "apparmor")
}

/// Whether the engine says that it labels containers for SELinux.
pub(crate) fn has_selinux(info: &SystemInfo) -> bool {
    has_option(info, "selinux")
}

fn has_option(info: &SystemInfo, name: &str) -> bool {
    let named = format!("name={name}");
    let options = info.security_options.iter().flatten();
    options.flat_map(|option| option.split(',')).any(|part| part == named)
}

/// Refuses a profile that the engine could only ignore.
pub(super) async fn accept(docker: &Docker, config: &DockerConfig) -> Result<(), SandboxError> {
    let Some(profile) = &config.apparmor_profile else { return Ok(()) };
    let info = ask("asking the Docker engine what it offers", docker.info()).await?;
    if has_apparmor(&info) {
        return Ok(());
    }
    Err(SandboxError::Barrier {
        barrier: BARRIER,
        reason: format!(
            "sandbox.apparmor_profile is {profile:?}, and the Docker engine's host has no AppArmor"
        ),
        fix: "start that host with AppArmor, or unset sandbox.apparmor_profile".into(),
    })
}

/// Says of a container that didn't start that its profile isn't loaded, if that is why.
pub(super) fn explain(error: SandboxError, config: &DockerConfig) -> SandboxError {
    let Some(profile) = &config.apparmor_profile else { return error };
    if !error.to_string().to_ascii_lowercase().contains("apparmor") {
        return error;
    }
    SandboxError::Barrier {
        barrier: BARRIER,
        reason: format!("the Docker engine can't use the AppArmor profile {profile:?} ({error})"),
        fix: "load it on the engine's host with `apparmor_parser -r \
              deploy/apparmor/sandfleet-sandbox`, or unset sandbox.apparmor_profile"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(profile: Option<&str>) -> DockerConfig {
        DockerConfig {
            host: "unix:///nowhere".into(),
            runtime: "runc".into(),
            image: "image".into(),
            images: Vec::new(),
            user_base: 200_000,
            cpus: 1.0,
            worker_id: "w".into(),
            allow_outdated: false,
            apparmor_profile: profile.map(str::to_owned),
            pool_size: 0,
            slots: 64,
            observer: Default::default(),
        }
    }

    fn told(options: &[&str]) -> SystemInfo {
        let security_options = Some(options.iter().map(|&option| option.into()).collect());
        SystemInfo { security_options, ..SystemInfo::default() }
    }

    #[test]
    fn what_an_engine_offers_is_read_as_it_says_it() {
        let debian = told(&["name=apparmor", "name=seccomp,profile=default", "name=cgroupns"]);
        assert!(has_apparmor(&debian) && !has_selinux(&debian));
        let fedora = told(&["name=seccomp,profile=builtin", "name=selinux", "name=cgroupns"]);
        assert!(has_selinux(&fedora) && !has_apparmor(&fedora));
        assert!(!has_apparmor(&SystemInfo::default()));
    }

    #[test]
    fn a_profile_that_is_not_loaded_is_named_with_the_ways_out() {
        let runc = "OCI runtime create failed: runc create failed: unable to start container \
                    process: error during container init: unable to apply apparmor profile: \
                    apparmor failed to apply profile: write /proc/self/attr/apparmor/exec: no such \
                    file or directory: unknown";
        let failed = || SandboxError::failed("starting a container", runc);
        let explained = explain(failed(), &config(Some("sandfleet-sandbox")));
        assert!(matches!(explained, SandboxError::Barrier { .. }));
        let text = explained.to_string();
        for part in ["sandfleet-sandbox", "apparmor_parser -r", "unset sandbox.apparmor_profile"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let plain = explain(failed(), &config(None));
        assert!(matches!(plain, SandboxError::Failed { .. }), "no profile is set");
        let other = SandboxError::failed("starting a container", "no such image");
        let other = explain(other, &config(Some("sandfleet-sandbox")));
        assert!(matches!(other, SandboxError::Failed { .. }));
    }
}
