//! Something that a worker can't do without.

use std::{future::Future, pin::Pin, time::Duration};

use tokio::time::timeout;

use crate::trouble::Trouble;

/// How long a component may take to say how it is.
const CHECK_DEADLINE: Duration = Duration::from_secs(2);

/// Something that a worker can't do without.
pub struct Component {
    name: &'static str,
    /// Whether what it is about logs by itself that it has failed, and that it works again.
    logs: bool,
    check: Box<dyn Fn() -> CheckFuture + Send + Sync>,
}

/// That a component works, and what to know all the same; or why it doesn't.
pub type Answer = Result<Option<String>, Trouble>;

type CheckFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Component {
    /// The component called `name` works when `check` says so, perhaps with a note. A check without an answer within
    /// 2 s counts as failed.
    pub fn new<F>(name: &'static str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self { name, logs: false, check: Box::new(move || Box::pin(check())) }
    }

    /// One that is not to be logged here as well.
    #[must_use]
    pub fn that_logs(self) -> Self {
        Self { logs: true, ..self }
    }

    pub(super) fn logs(&self) -> bool {
        self.logs
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) async fn check(&self) -> Answer {
        timeout(CHECK_DEADLINE, (self.check)()).await.unwrap_or_else(|_| {
            Err(format!("no answer within {} s", CHECK_DEADLINE.as_secs()).into())
        })
    }
}
