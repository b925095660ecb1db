//! Versions as upstream and Debian write them.

use std::fmt;

use serde::Deserialize;

/// A version as upstream counts. Release candidates come before their release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Version {
    numbers: [u32; 3],
    /// How far a pre-release is: the kind and its number; the release itself is further than any.
    stage: (u32, u32),
}

const ALPHA: u32 = 0;
const BETA: u32 = 1;
const CANDIDATE: u32 = 2;
const RELEASE: (u32, u32) = (3, 0);

impl Version {
    #[cfg(test)]
    pub(super) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { numbers: [major, minor, patch], stage: RELEASE }
    }

    #[cfg(test)]
    pub(super) const fn candidate(major: u32, minor: u32, patch: u32, number: u32) -> Self {
        Self { numbers: [major, minor, patch], stage: (CANDIDATE, number) }
    }

    /// Reads `1.2.8`, `v2.1.5`, `1.4.0-rc.3`, `20.10.24+dfsg1`, `1.0.0~rc95+ds1-1`,
    /// `release-20250319.0`, `0.0~20221219.0-2`; nothing of what is no version.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // Debian's way of saying that upstream counts in dates.
        let text = text.strip_prefix("0.0~").unwrap_or(text);
        let text = text.strip_prefix("release-").unwrap_or(text);
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let mut numbers = [0; 3];
        let mut parts = 0;
        for part in number.split('.') {
            *numbers.get_mut(parts)? = part.parse().ok()?;
            parts += 1;
        }
        (parts >= 2).then(|| Self { numbers, stage: stage(rest) })
    }

    /// Whether both are of one release line.
    pub(super) fn is_of_the_line_of(&self, other: &Self) -> bool {
        self.numbers[..2] == other.numbers[..2]
    }
}

/// How far a version is whose numbers are followed by `rest`.
fn stage(rest: &str) -> (u32, u32) {
    let Some(rest) = rest.strip_prefix(['-', '~']) else { return RELEASE };
    for (name, kind) in [("alpha", ALPHA), ("beta", BETA), ("rc", CANDIDATE)] {
        if let Some(rest) = rest.strip_prefix(name) {
            let rest = rest.trim_start_matches('.');
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            return (kind, rest[..end].parse().unwrap_or(0));
        }
    }
    RELEASE
}

/// Only as upstream writes it: what is around a version elsewhere has no place in the table.
impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = Self::parse(&text).filter(|version| version.to_string() == text);
        parsed.ok_or_else(|| {
            format!("{text:?} is no version such as 1.2.8, 1.4.0-rc.3 or 20250319.0")
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        // gVisor's versions are days.
        if major > 10_000_000 {
            return write!(f, "{major}.{minor}");
        }
        write!(f, "{major}.{minor}.{patch}")?;
        match self.stage {
            (CANDIDATE, number) => write!(f, "-rc.{number}"),
            (BETA, number) => write!(f, "-beta.{number}"),
            (ALPHA, number) => write!(f, "-alpha.{number}"),
            _ => Ok(()),
        }
    }
}

/// The release of Debian and the update of it that a package's version ends with: `+deb12u1`.
pub(super) fn debian_update(text: &str) -> Option<(u32, u32)> {
    let (release, update) = text.split_once("+deb")?.1.split_once('u')?;
    let end = update.find(|c: char| !c.is_ascii_digit()).unwrap_or(update.len());
    Some((release.parse().ok()?, update[..end].parse().ok()?))
}
