//! What a session is about, and what carries it.

use async_trait::async_trait;
use sandfleet_common::Isolation;

use crate::sandbox::{LiveInput, Plan, SandboxError, Watcher, policy::Policy};

/// What a session is about, and what carries it.
#[derive(Clone, Copy)]
pub(crate) struct SessionContext<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) policy: &'a Policy,
    pub(crate) isolation: Isolation,
    /// How many processors the container is granted.
    pub(crate) cpus: f64,
    /// Which ones the program is started on; see `processors.rs`.
    pub(crate) processors: &'a [u32],
    pub(crate) watcher: &'a Watcher<'a>,
    pub(crate) transport: &'a dyn Transport,
    /// What the program reads while it runs, if it does.
    pub(crate) input: Option<&'a LiveInput>,
}

/// What carries a container's stream.
#[async_trait]
pub(crate) trait Transport: Sync {
    /// An error if the transport itself hangs: then a container's silence says nothing about its program.
    async fn ping(&self) -> Result<(), SandboxError>;
}
