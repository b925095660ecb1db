//! The sandboxes of this project, by the way that a worker takes: admit, run, conclude.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use jiff::Timestamp;
use sandfleet_common::{Job, JobResult, Verdict, encode};
use sandfleet_tests::TestCgroup;
use sandfleet_worker::{
    admission::catalogue::Catalogue,
    admission::{Admission, Admitted},
    app,
    config::{Backend, Settings},
    hooks::Observer,
    outcome::{ResultBuilder, conclude},
    sandbox::{Sandbox, policy::Policy},
};

use super::subject::Single;

/// The settings of a worker on `test_cgroup`, with more as variables without `SANDFLEET_`.
///
/// # Errors
/// If this build doesn't have one of them.
pub(crate) fn settings(test_cgroup: &TestCgroup, more: &[(&str, &str)]) -> Result<Settings> {
    let parent = test_cgroup.path();
    let own = [("SANDBOX_CGROUP_PARENT", parent.as_str()), ("WORKER_ID", "bench")];
    let environment = own.iter().chain(more);
    let environment =
        environment.map(|(name, value)| (format!("SANDFLEET_{name}").into(), value.into()));
    Ok(Settings::load(None, environment)?)
}

/// A sandbox, and the job that it does.
pub(crate) struct Sandboxed {
    pub(crate) sandbox: Arc<dyn Sandbox>,
    admission: Admission,
    body: Vec<u8>,
    job: Job,
    prints: String,
}

impl Sandboxed {
    pub(crate) async fn open(
        backend: Backend,
        settings: &Settings,
        catalogue: Option<Catalogue>,
        job: Job,
        prints: &str,
    ) -> Result<Arc<Self>> {
        let sandbox = app::open_sandbox(backend, settings, Observer::default()).await?;
        let mut admission = app::admission(settings, sandbox.description().isolation);
        if let Some(catalogue) = catalogue {
            admission.catalogue = catalogue;
        }
        let body = encode(&job);
        Ok(Arc::new(Self { sandbox, admission, body, job, prints: prints.into() }))
    }
}

#[async_trait]
impl Single for Sandboxed {
    async fn run(&self) -> Result<bool> {
        let result = self.result().await?;
        // A worker sends it in this form.
        let bytes = encode(&result);
        ensure!(!bytes.is_empty(), "an empty result of {}", self.job.job_id);
        check(&result, &self.prints)?;
        Ok(is_warm(&result))
    }
}

impl Sandboxed {
    /// What comes of its job.
    pub(crate) async fn result(&self) -> Result<JobResult> {
        let admitted = self.admission.admit(&self.body);
        let Admitted { job, plan, .. } =
            admitted.map_err(|error| anyhow::anyhow!("not admitted: {}", error.message))?;
        let result_builder = ResultBuilder::of("bench", &job, Timestamp::now());
        let outcome = self.sandbox.run(&plan, &|_, _| ()).await?;
        let description = self.sandbox.description();
        Ok(conclude(result_builder, &plan, outcome, description, &Policy::strict()))
    }
}

/// An error unless the program was accepted and printed that.
pub(crate) fn check(result: &JobResult, prints: &str) -> Result<()> {
    let run = result.run.as_ref().with_context(|| format!("it didn't run: {}", result.message))?;
    ensure!(
        result.verdict == Some(Verdict::Accepted) && run.stdout.trim_end() == prints,
        "{:?}, {}, {:?}, {:?}",
        result.verdict,
        result.message,
        run.stdout,
        run.stderr
    );
    Ok(())
}

/// Whether the result says that its interpreter was warm.
pub(crate) fn is_warm(result: &JobResult) -> bool {
    result.sandbox.as_ref().is_some_and(|report| report.warm)
}

/// The catalogue with Python as the bare process has it: isolated and without `site`.
pub(crate) fn plain_catalogue() -> Result<Catalogue> {
    let language = serde_json::json!({ "python": {
        "endings": ["py"],
        "file": "main.py",
        "command": ["/usr/bin/python3", "-I", "-S", "{file}", "{args}"],
    }});
    serde_json::from_value(language).context("the bench's own catalogue")
}
