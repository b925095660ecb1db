//! The holes that are known in what makes containers, and the versions that are without them.
//!
//! What belongs here leads, or has led, out of a container or into another one. Crashes that an
//! image can cause don't: images are the operator's own.

use super::{Component, Version};

/// One hole.
#[derive(Debug)]
pub(crate) struct Vulnerability {
    pub(super) component: Component,
    /// Its name.
    pub(crate) cve: &'static str,
    /// The first version without it in each release line that got the fix, ascending. Lines older
    /// than the first didn't get it; those after the last never had it.
    pub(super) fixed: &'static [Version],
    /// Debian's packages of older versions that have the fix all the same.
    pub(super) backports: &'static [Backport],
    /// What it means for programs in sandfleet's containers.
    pub(crate) meaning: &'static str,
}

/// A Debian package with a fix that its version number doesn't show: `+deb12u1` and what came
/// after it.
#[derive(Debug)]
pub(super) struct Backport {
    pub(super) upstream: Version,
    pub(super) debian: u32,
    pub(super) update: u32,
}

const ARCHIVE: &str = "is reached by copying files into or out of a container, which sandfleet never \
                       does; never `docker cp` with a sandbox's container yourself";

const MASKS: &str = "takes mounts that containers share, or an image that was prepared for it; \
                     sandfleet's containers share none and the image is yours, so what is left is \
                     the image";

/// Every hole that is known, by component.
pub(crate) const VULNERABILITIES: &[Vulnerability] = &[
    Vulnerability {
        component: Component::Engine,
        cve: "CVE-2026-34040",
        fixed: &[Version::new(29, 3, 1)],
        backports: &[],
        meaning: "takes access to the engine; matters where an authorization plugin is to limit \
                  what the worker may ask of it",
    },
    Vulnerability {
        component: Component::Engine,
        cve: "CVE-2026-41567",
        fixed: &[Version::new(29, 5, 1)],
        backports: &[],
        meaning: ARCHIVE,
    },
    Vulnerability {
        component: Component::Engine,
        cve: "CVE-2026-41568",
        fixed: &[Version::new(29, 5, 1)],
        backports: &[],
        meaning: ARCHIVE,
    },
    Vulnerability {
        component: Component::Engine,
        cve: "CVE-2026-42306",
        fixed: &[Version::new(29, 5, 1)],
        backports: &[],
        meaning: ARCHIVE,
    },
    Vulnerability {
        component: Component::Engine,
        cve: "CVE-2026-17106",
        fixed: &[Version::new(29, 7, 0)],
        backports: &[],
        meaning: ARCHIVE,
    },
    Vulnerability {
        component: Component::Containerd,
        cve: "CVE-2020-15257",
        fixed: &[Version::new(1, 3, 9), Version::new(1, 4, 3)],
        backports: &[],
        meaning: "takes the host's network namespace; sandfleet's containers have an empty one",
    },
    Vulnerability {
        component: Component::Containerd,
        cve: "CVE-2024-25621",
        fixed: &[
            Version::new(1, 7, 29),
            Version::new(2, 0, 7),
            Version::new(2, 1, 5),
            Version::new(2, 2, 0),
        ],
        backports: &[Backport { upstream: Version::new(1, 6, 20), debian: 12, update: 2 }],
        meaning: "lets other users of the engine's host read what containerd keeps there",
    },
    Vulnerability {
        component: Component::Containerd,
        cve: "CVE-2024-40635",
        fixed: &[Version::new(1, 6, 38), Version::new(1, 7, 27), Version::new(2, 0, 4)],
        backports: &[Backport { upstream: Version::new(1, 6, 20), debian: 12, update: 2 }],
        meaning: "takes a user number beyond 2147483647, which sandbox.uid_base can't reach",
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2019-5736",
        fixed: &[Version::candidate(1, 0, 0, 7)],
        backports: &[],
        meaning: "takes root in the container; sandfleet's programs and PID 1 are not",
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2021-30465",
        fixed: &[Version::candidate(1, 0, 0, 95)],
        backports: &[],
        meaning: "takes volumes that containers share; sandfleet's have none",
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2024-21626",
        fixed: &[Version::new(1, 1, 12)],
        backports: &[Backport { upstream: Version::new(1, 1, 5), debian: 12, update: 1 }],
        meaning: "takes a working directory that the attacker chooses, or a process started in a \
                  running container; sandfleet's is fixed and it starts none",
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2025-31133",
        fixed: &[Version::new(1, 2, 8), Version::new(1, 3, 3), Version::candidate(1, 4, 0, 3)],
        backports: &[],
        meaning: MASKS,
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2025-52565",
        fixed: &[Version::new(1, 2, 8), Version::new(1, 3, 3), Version::candidate(1, 4, 0, 3)],
        backports: &[],
        meaning: "takes a container with a terminal; sandfleet's have none",
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2025-52881",
        fixed: &[Version::new(1, 2, 8), Version::new(1, 3, 3), Version::candidate(1, 4, 0, 3)],
        backports: &[],
        meaning: MASKS,
    },
    Vulnerability {
        component: Component::Runc,
        cve: "CVE-2026-41579",
        fixed: &[Version::new(1, 3, 6), Version::new(1, 4, 3), Version::candidate(1, 5, 0, 3)],
        backports: &[],
        meaning: "takes an image whose /dev is a symbolic link; the image is yours",
    },
    Vulnerability {
        component: Component::Runsc,
        cve: "CVE-2025-2713",
        fixed: &[Version::new(20_250_319, 0, 0)],
        backports: &[],
        meaning: "lets a program read files of the image that only root may, until its first fork; \
                  the image holds nothing that is secret",
    },
];
