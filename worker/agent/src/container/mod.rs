//! What a native container consists of: its namespaces, its root tree, its user, its filter.

pub mod barrier;
mod etc;
pub(crate) mod landlock;
pub(crate) mod machine;
pub(crate) mod namespace;
pub(crate) mod proc;
pub(crate) mod rootfs;
pub(crate) mod scratch;
