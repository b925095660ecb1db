//! What is declared of a setting, and the names that it is found by.

use std::borrow::Cow;

use super::kind::Kind;

/// The file that is read when neither `--config` nor `SANDFLEET_CONFIG` names one, if it exists.
pub const DEFAULT_FILE: &str = "/etc/sandfleet/sandfleet.toml";

/// The environment variable that names the file.
pub const FILE_VARIABLE: &str = "SANDFLEET_CONFIG";

/// The prefix of all environment variables of sandfleet.
pub(super) const PREFIX: &str = "SANDFLEET_";

/// One setting.
pub(super) struct Setting {
    pub(super) area: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Preset,
    /// What it means, in one or two sentences.
    pub(super) doc: Cow<'static, str>,
}

/// The default of a setting.
pub(super) enum Preset {
    Fixed(Cow<'static, str>),
    /// Different on every machine.
    Computed {
        described: &'static str,
        compute: fn() -> String,
    },
}

/// An area of settings: a table of the file.
pub(super) struct Area {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
}

impl Setting {
    /// `area.name`.
    pub(super) fn key(&self) -> String {
        format!("{}.{}", self.area, self.name)
    }

    /// The environment variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}_{}", self.area.replace('.', "_"), self.name).to_ascii_uppercase()
    }

    /// The default on this machine.
    pub(super) fn default_text(&self) -> String {
        match &self.default {
            Preset::Fixed(text) => text.to_string(),
            Preset::Computed { compute, .. } => compute(),
        }
    }
}

impl From<&'static str> for Preset {
    fn from(text: &'static str) -> Self {
        Preset::Fixed(text.into())
    }
}
