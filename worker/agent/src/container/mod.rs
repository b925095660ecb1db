//! What a native container consists of: its namespaces, its root tree, its user, its filter.

pub mod barrier;
pub(crate) mod landlock;
pub(crate) mod namespace;
pub(crate) mod rootfs;
pub(crate) mod scratch;
