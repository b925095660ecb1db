//! Messages that can't be answered: they go to the queue of unreadable messages.

use sandfleet_common::{JobId, PrintableText};

use crate::{hooks::Hooks, queue::settle::Settlement};

/// The end of a message whose properties can't be parsed.
pub(crate) fn malformed(hooks: &dyn Hooks, why: &PrintableText) -> Settlement {
    hooks.unreadable(why);
    Settlement::Unreadable(format!("its properties can't be parsed: {why}").into())
}

/// The end of a message whose id is another job's.
pub(crate) fn twin(hooks: &dyn Hooks, job: &JobId) -> Settlement {
    hooks.twin(job);
    Settlement::Unreadable(format!("another job has the id {job}: its payload differs").into())
}
