//! The trace that a command takes part in: the one that a flag or the environment names, and the command's own span.

use std::env;

use sandfleet_common::{JobId, TraceContext};
use tokio::task::JoinHandle;
use tracing::warn;

use super::{
    exit::{Exit, Failure},
    terminal,
};
use crate::{
    app,
    config::Settings,
    hooks::{NoHooks, Observer},
    traces::{Exporter, Timeline, Tracer, text},
};

/// The variables in which a parent process names its trace.
const PARENT_VARIABLE: &str = "TRACEPARENT";
const STATE_VARIABLE: &str = "TRACESTATE";

/// The trace that the environment names. What is malformed there is no fault of this command.
pub(super) fn of_environment() -> Option<TraceContext> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let parent = variable(PARENT_VARIABLE)?;
    let ignored = |why| {
        let variables = format!("{PARENT_VARIABLE} and {STATE_VARIABLE}");
        terminal::say(format_args!("sandfleet: ignored of {variables}: {why}"));
    };
    match TraceContext::read(&parent, variable(STATE_VARIABLE).as_deref()) {
        Ok((context, why)) => {
            why.into_iter().for_each(ignored);
            Some(context)
        }
        Err(why) => {
            ignored(why);
            None
        }
    }
}

/// Starts to export spans if the settings say so; jobs become children of `parent`.
pub(super) fn export(
    settings: &Settings,
    parent: Option<TraceContext>,
) -> Result<(Tracer, Option<Exporter>), Failure> {
    let config = app::exporter_config(settings, parent).map_err(|why| Exit::Usage.with(why))?;
    let observer = Observer(std::sync::Arc::new(NoHooks));
    let (tracer, exporter) = config.map(|config| Exporter::start(config, observer)).unzip();
    Ok((tracer.unwrap_or_default(), exporter))
}

/// The submission of one job, which is a span of its own if spans are exported.
pub(super) struct Submission {
    timeline: Timeline,
    exporter: Option<Exporter>,
    /// What the job is submitted in.
    pub(super) context: Option<TraceContext>,
}

impl Submission {
    /// Begins a child of `parent`, or a trace.
    pub(super) fn begin(
        settings: &Settings,
        parent: Option<TraceContext>,
    ) -> Result<Self, Failure> {
        let (tracer, exporter) = export(settings, None)?;
        let (timeline, context) = tracer.submission(parent);
        Ok(Self { timeline, exporter, context })
    }

    /// The job was submitted: exports the span beside what follows.
    pub(super) fn end(self, job: &JobId) -> Exporting {
        self.timeline.describe([("sandfleet.job_id", text(job.as_str()))]);
        self.timeline.end_submission();
        Exporting(self.exporter.map(|exporter| tokio::spawn(exporter.finish())))
    }
}

/// The export of what is left.
#[must_use]
pub(super) struct Exporting(Option<JoinHandle<()>>);

impl Exporting {
    /// Waits for it, which takes a second at most.
    pub(super) async fn finish(self) {
        let Some(task) = self.0 else { return };
        if let Err(error) = task.await {
            warn!(%error, "the export of spans ended abnormally");
        }
    }
}
