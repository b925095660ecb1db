//! The table of known vulnerabilities: `vulnerabilities.toml`.

use std::sync::LazyLock;

use jiff::civil::Date;
use serde::Deserialize;

use super::version::{Version, debian_update};

/// The table that this program was built with.
pub(crate) static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let table = toml::from_str(include_str!("vulnerabilities.toml"));
    table.expect("a unit test reads the same file")
});

/// Known vulnerabilities, as of a day.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// The day whose knowledge it has.
    pub(crate) as_of: Date,
    vulnerability: Vec<Vulnerability>,
}

/// One vulnerability.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vulnerability {
    pub(crate) cve: String,
    component: Component,
    fixed: Vec<Version>,
    #[serde(default)]
    backports: Vec<Backport>,
    /// What it means for programs in sandfleet's containers.
    pub(crate) meaning: String,
    /// What names the fixed versions.
    pub(crate) source: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backport {
    upstream: Version,
    debian: u32,
    update: u32,
}

/// A part of what makes containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Component {
    Engine,
    Containerd,
    Runc,
    Runsc,
    /// A runtime that the table has no entries for.
    #[serde(skip)]
    Other,
}

impl Component {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "Docker engine",
            Self::Containerd => "containerd",
            Self::Runc => "runc",
            Self::Runsc => "runsc",
            Self::Other => "runtime",
        }
    }

    /// Whether engines report its version, so that one that doesn't is refused.
    pub(super) fn is_reported(self) -> bool {
        matches!(self, Self::Engine | Self::Containerd | Self::Runc)
    }
}

impl Table {
    /// The vulnerabilities of a component.
    pub(super) fn of(&self, component: Component) -> impl Iterator<Item = &Vulnerability> {
        self.vulnerability.iter().filter(move |it| it.component == component)
    }

    /// The lowest version of each release line that has none of the component's vulnerabilities.
    pub(crate) fn wanted(&self, component: Component) -> String {
        let mut whole: Vec<Version> = self
            .of(component)
            .flat_map(|it| &it.fixed)
            .filter(|fixed| !self.of(component).any(|it| it.is_open(**fixed, "")))
            .copied()
            .collect();
        whole.sort_unstable();
        whole.dedup_by(|later, earlier| later.is_of_the_line_of(earlier));
        let whole: Vec<String> = whole.iter().map(Version::to_string).collect();
        match whole.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => "any".into(),
        }
    }
}

impl Vulnerability {
    #[cfg(test)]
    pub(super) fn is_in_order(&self) -> bool {
        self.fixed.is_sorted() && !self.fixed.is_empty()
    }

    /// Whether a component of this version, reported as `text`, has it.
    pub(super) fn is_open(&self, version: Version, text: &str) -> bool {
        let is_past = |fixed: &Version| version >= *fixed && version.is_of_the_line_of(fixed);
        let mended = |backport: &Backport| {
            version == backport.upstream
                && debian_update(text).is_some_and(|(debian, update)| {
                    debian == backport.debian && update >= backport.update
                })
        };
        // Lines without a fix of their own lie before the first fixed one, or after the last.
        let is_newer = self.fixed.last().is_some_and(|last| version >= *last);
        !(is_newer || self.fixed.iter().any(is_past) || self.backports.iter().any(mended))
    }
}
