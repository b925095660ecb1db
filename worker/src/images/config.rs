//! How images are set up.

use std::path::PathBuf;

/// Where images are, and what they are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagesConfig {
    /// Where they are kept.
    pub directory: PathBuf,
    /// The operator's own definitions.
    pub definitions: Option<PathBuf>,
    /// Debian's archive.
    pub debian_mirror: String,
    /// Its archive of security updates.
    pub security_mirror: String,
}
