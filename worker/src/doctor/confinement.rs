//! AppArmor and SELinux: barriers behind the sandbox's own, where a host has them.

use std::{fs, path::Path};

use super::finding::{Finding, State};

/// How a security module is on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Module {
    /// In force; with what is known about it.
    Active(String),
    /// In the kernel and switched off.
    Off,
    /// Not in the kernel.
    Absent,
}

const APPARMOR: &str = "AppArmor";
const SELINUX: &str = "SELinux";

/// AppArmor and SELinux on the host whose root is `root`.
pub(super) fn of_host(root: &Path) -> [Module; 2] {
    let text = |path: &str| {
        fs::read_to_string(root.join(path)).ok().map(|text| {
            // Labels end with a NUL byte.
            text.trim_end_matches(['\0', '\n']).trim().to_owned()
        })
    };
    let own = text("proc/self/attr/current").filter(|label| !label.is_empty());
    let own = own.map_or_else(String::new, |label| format!("; this process is {label}"));
    let apparmor = match text("sys/module/apparmor/parameters/enabled").as_deref() {
        Some("Y") => Module::Active(format!("active{own}")),
        Some(_) => Module::Off,
        None => Module::Absent,
    };
    let file_systems = text("proc/filesystems").unwrap_or_default();
    let is_built_in = file_systems.lines().any(|line| line.ends_with("selinuxfs"));
    let selinux = match text("sys/fs/selinux/enforce").as_deref() {
        Some("1") => Module::Active(format!("active, enforcing{own}")),
        // It says what it would refuse, and refuses nothing.
        Some(_) => Module::Off,
        None if is_built_in => Module::Off,
        None => Module::Absent,
    };
    [apparmor, selinux]
}

/// What `modules` mean for the sandbox `area`. One of them is a further barrier; without one nothing is said.
pub(super) fn findings(area: &'static str, modules: [Module; 2]) -> Vec<Finding> {
    let has_one = modules.iter().any(|module| matches!(module, Module::Active(_)));
    let found = |(name, module): (&str, Module)| {
        let detail = match module {
            Module::Active(detail) => return Finding::ok(area, name, detail),
            Module::Off => "not active on this host",
            Module::Absent => "not in this kernel",
        };
        if has_one {
            return Finding::ok(area, name, detail);
        }
        let fix = "no barrier depends on it; docs/hardening.md says how to add it as a further one";
        Finding::bad(area, name, State::Warning, detail, fix)
    };
    [APPARMOR, SELINUX].into_iter().zip(modules).map(found).collect()
}

/// What an engine tells, which on this host can be told from a kernel that can't.
pub(super) fn of_engine(
    told: [bool; 2],
    profile: Option<&str>,
    host: Option<[Module; 2]>,
) -> [Module; 2] {
    let profile = profile.unwrap_or("docker-default, the engine's own");
    let active = [
        format!("active; programs run under the profile {profile}"),
        "active; the engine labels containers".to_owned(),
    ];
    let mut modules = [Module::Off, Module::Off];
    for (at, text) in active.into_iter().enumerate() {
        if told[at] {
            modules[at] = Module::Active(text);
        } else if host.as_ref().is_some_and(|host| host[at] == Module::Absent) {
            modules[at] = Module::Absent;
        }
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> [Module; 2] {
        let root = tempfile::tempdir().expect("room");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a file's")).expect("room");
            fs::write(path, text).expect("room");
        }
        of_host(root.path())
    }

    #[test]
    fn active_off_and_absent_are_told_apart() {
        assert_eq!(
            host(&[("proc/filesystems", "nodev\tproc\n")]),
            [Module::Absent, Module::Absent]
        );
        let debian = host(&[
            ("sys/module/apparmor/parameters/enabled", "Y\n"),
            ("proc/self/attr/current", "unconfined\n"),
        ]);
        let active = Module::Active("active; this process is unconfined".into());
        assert_eq!(debian, [active, Module::Absent]);
        assert_eq!(host(&[("sys/module/apparmor/parameters/enabled", "N\n")])[0], Module::Off);
        let label = "system_u:system_r:unconfined_service_t:s0\0";
        let fedora = [("proc/self/attr/current", label), ("sys/fs/selinux/enforce", "1")];
        assert!(matches!(&host(&fedora)[1], Module::Active(said) if said.contains("enforcing")));
        assert_eq!(host(&[("sys/fs/selinux/enforce", "0")])[1], Module::Off, "permissive");
        assert_eq!(host(&[("proc/filesystems", "nodev\tselinuxfs\n")])[1], Module::Off);
    }

    #[test]
    fn an_engine_is_taken_by_its_word_and_a_kernel_by_its_own() {
        let absent = || Some([Module::Absent, Module::Absent]);
        assert_eq!(of_engine([false, false], None, absent()), [Module::Absent, Module::Absent]);
        assert_eq!(of_engine([false, false], None, None), [Module::Off, Module::Off]);
        let [apparmor, selinux] = of_engine([true, false], Some("mine"), None);
        assert!(matches!(apparmor, Module::Active(said) if said.contains("mine")));
        assert_eq!(selinux, Module::Off);
    }

    #[test]
    fn one_of_the_two_is_enough() {
        let both = findings("native", [Module::Off, Module::Absent]);
        assert!(both.iter().all(|finding| finding.state == State::Warning), "{both:?}");
        let one = findings("native", [Module::Active("active".into()), Module::Absent]);
        assert!(one.iter().all(|finding| finding.state == State::Ok), "{one:?}");
    }
}
