//! Messages that can't be answered: they go to the queue of unreadable messages.

use sandfleet_common::{JobId, PrintableText};
use sandfleet_transport::StoreError;

use crate::{hooks::Hooks, labels::DeathCause, queue::settle::Settlement};

/// How the reasons begin that go with such a message.
const MALFORMED: &str = "its properties can't be parsed";
const TWIN: &str = "another job has the id";
const DAMAGED: &str = "the job's keys are damaged";

/// The end of a message whose properties can't be parsed.
pub(crate) fn malformed(hooks: &dyn Hooks, why: &PrintableText) -> Settlement {
    hooks.unreadable(why);
    Settlement::Unreadable(format!("{MALFORMED}: {why}").into())
}

/// The end of a message whose id is another job's.
pub(crate) fn twin(hooks: &dyn Hooks, job: &JobId) -> Settlement {
    hooks.twin(job);
    Settlement::Unreadable(format!("{TWIN} {job}: its payload differs").into())
}

/// The end of a message whose job can't be read from the store or written there.
pub(crate) fn damaged(hooks: &dyn Hooks, error: &StoreError) -> Settlement {
    let message = PrintableText::from(format!("{DAMAGED}: {error}"));
    hooks.unreadable(&message);
    Settlement::Unreadable(message)
}

/// In one word, why a message is unreadable that was set aside for `reason`, and whose job has an id or not.
pub(crate) fn cause(reason: &str, has_id: bool) -> &'static str {
    let causes = [(MALFORMED, "malformed"), (TWIN, "twin"), (DAMAGED, "damaged")];
    let known = causes.iter().find(|(begin, _)| reason.starts_with(begin));
    match known {
        Some((_, cause)) => cause,
        None if DeathCause::from(reason) == DeathCause::DeliveryLimit => "delivery_limit",
        None if has_id => "other",
        None => "no_job",
    }
}
