//! Kernels with vulnerabilities that a program behind the barriers can reach.
//!
//! An entry was seen by this project or has a source that names the versions. Vulnerabilities that take a
//! namespace, a mount, a capability or a call that the filter refuses have no entry.

use jiff::civil::{Date, date};

/// The day whose knowledge the table has.
pub(super) const AS_OF: Date = date(2026, 11, 28);

/// A release of Linux, as upstream counts.
type Release = (u32, u32, u32);

/// One vulnerability.
#[derive(Debug)]
pub(super) struct Vulnerability {
    pub(super) name: &'static str,
    /// From which release on, and the first one without it, if there is one in its line.
    affected: &'static [(Release, Option<Release>)],
    pub(super) meaning: &'static str,
    pub(super) fix: &'static str,
}

pub(super) const VULNERABILITIES: &[Vulnerability] = &[
    Vulnerability {
        // Seen by this project on 6.18.44, when a program attached thousands of socket filters; no
        // other line was found to be with or without it.
        name: "filters freed in great number",
        affected: &[((6, 18, 0), None)],
        meaning: "when thousands of socket or system call filters are freed at a time, its work queue \
                  can stop for good, and every start of a container on this host with it; programs \
                  can't attach filters here, other processes of the host can",
        fix: "see that nothing else on this host makes filters in great number, and restart it if \
              doctor shows processes that wait in the kernel",
    },
    Vulnerability {
        // NVD's ranges, 2026-04-24. No release without it is named for 6.1 and 6.6.
        name: "CVE-2026-23394",
        affected: &[
            ((6, 1, 141), None),
            ((6, 6, 93), None),
            ((6, 10, 1), Some((6, 18, 23))),
            ((6, 19, 0), Some((6, 19, 10))),
        ],
        meaning: "descriptors in flight over local sockets can be freed while they are in use; \
                  programs may use local sockets",
        fix: "update the kernel to 6.18.23, 6.19.10 or later, or to a package of your distribution \
              whose changelog names the fix",
    },
];

impl Vulnerability {
    fn affects(&self, release: Release) -> bool {
        self.affected.iter().any(|(from, fixed)| match fixed {
            Some(fixed) => (*from..*fixed).contains(&release),
            // Only the line itself is known.
            None => (from.0, from.1) == (release.0, release.1) && release >= *from,
        })
    }
}

/// The release that /proc/version names. Debian's own number comes last there, and counts as upstream
/// does; the one at the beginning is that of its interface to modules.
pub(super) fn release(version: &str) -> Option<Release> {
    let debian = version.split_once(" Debian ").map(|(_, rest)| rest);
    let text = debian.or_else(|| version.strip_prefix("Linux version "))?;
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let mut numbers = text[..end].split('.').map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok);
    Some((next()?, next()?, next().unwrap_or(0)))
}

/// The vulnerabilities of a release.
pub(super) fn vulnerabilities(release: Release) -> impl Iterator<Item = &'static Vulnerability> {
    VULNERABILITIES.iter().filter(move |it| it.affects(release))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_as_upstream_counts_it() {
        let own = "Linux version 6.18.44-fc-v669 (builder@x) (gcc) #1 SMP PREEMPT_DYNAMIC @0";
        assert_eq!(release(own), Some((6, 18, 44)));
        let debian = "Linux version 6.1.0-37-amd64 (debian-kernel@lists.debian.org) (gcc-12) #1 SMP \
                      PREEMPT_DYNAMIC Debian 6.1.140-1 (2025-05-22)";
        assert_eq!(release(debian), Some((6, 1, 140)));
        assert_eq!(release("Linux version 7.1 (x)"), Some((7, 1, 0)));
        assert_eq!(release("gVisor"), None);
    }

    #[test]
    fn a_vulnerability_is_in_the_releases_that_are_known_to_have_it_and_no_others() {
        let names = |release| vulnerabilities(release).map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(names((6, 1, 140)), [""; 0]);
        assert_eq!(names((6, 1, 141)), ["CVE-2026-23394"]);
        assert_eq!(names((6, 12, 60)), ["CVE-2026-23394"]);
        assert_eq!(names((6, 18, 22)).len(), 2);
        assert_eq!(names((6, 18, 44)), ["filters freed in great number"]);
        assert_eq!(names((6, 19, 10)), [""; 0]);
        assert_eq!(names((7, 1, 0)), [""; 0]);
    }
}
