//! Compiling a program before it runs, where its language is compiled.

use std::time::Instant;

use super::parts::Pipeline;
use crate::{
    evaluation::Evaluation,
    hooks::Stream,
    outcome::{
        compile::{Compiled, Failure, Made, judge},
        evaluation::Evaluated,
    },
    sandbox::{Outcome, Plan, SandboxError, Watcher},
};

/// What became of a program.
#[expect(clippy::large_enum_variant, reason = "there is one a job, and it is boxed")]
pub(super) enum Ran {
    /// It ended; before, it was compiled if it had to be.
    Program(Option<Compiled>, Outcome),
    /// It ran on the job's tests.
    Tests(Option<Compiled>, Evaluated),
    /// The output validator of its tests did not compile.
    NotJudged(Option<Compiled>, String),
    /// It did not compile.
    NotCompiled(Compiled, Failure),
}

impl Pipeline {
    /// Runs `plan`, after `compile` if there is one; on the tests of `evaluation`, if there are any.
    pub(super) async fn compile_and_run(
        &self,
        compile: Option<&Plan>,
        plan: &mut Plan,
        evaluation: Option<&Evaluation>,
        tenant: Option<&str>,
        watcher: &Watcher<'_>,
    ) -> Result<Ran, SandboxError> {
        // Free unless tests of another job have taken it: then one of them ends.
        let _slot = self.slots.acquire().await;
        let mut compiled = None;
        if let Some(compile) = compile {
            let begun = Instant::now();
            // A container of its own. Who follows the program sees what the compiler prints as its stderr.
            let to_stderr = |_: Stream, bytes: &[u8]| watcher(Stream::Stderr, bytes);
            let (done, made) = self.compile(compile, tenant, begun, &to_stderr).await?;
            match made {
                Ok(made) => plan.add_compiled(made),
                Err(failure) => return Ok(Ran::NotCompiled(done, failure)),
            }
            compiled = Some(done);
        }
        if let Some(evaluation) = evaluation {
            return self.compile_and_judge(compiled, plan, evaluation, tenant).await;
        }
        let outcome = self.sandbox.run(plan, watcher).await?;
        Ok(Ran::Program(compiled, outcome))
    }

    /// Runs the program on the job's tests, with their output validator compiled.
    async fn compile_and_judge(
        &self,
        compiled: Option<Compiled>,
        plan: &Plan,
        evaluation: &Evaluation,
        tenant: Option<&str>,
    ) -> Result<Ran, SandboxError> {
        let mut validator = evaluation.validator.as_ref().map(|it| (&it.compile, it.plan.clone()));
        if let Some((Some(compile), validator)) = &mut validator {
            let begun = Instant::now();
            let (_, made) = self.compile(compile, tenant, begun, &|_, _| ()).await?;
            match made {
                Ok(made) => validator.add_compiled(made),
                Err(failure) => return Ok(Ran::NotJudged(compiled, failure.message)),
            }
        }
        let validator = validator.map(|(_, plan)| plan);
        let evaluated = self.evaluate(plan, evaluation, validator.as_ref()).await?;
        Ok(Ran::Tests(compiled, evaluated))
    }

    /// Compiles, unless the same was compiled for the same proven tenant lately.
    async fn compile(
        &self,
        plan: &Plan,
        tenant: Option<&str>,
        begun: Instant,
        watcher: &Watcher<'_>,
    ) -> Result<(Compiled, Result<Made, Failure>), SandboxError> {
        let image = self.sandbox.root_tree(&plan.image).and_then(|root| root.digest);
        let key = self.compile_cache.key(tenant, image.as_deref(), plan);
        if let Some((compiled, made)) = key.and_then(|key| self.compile_cache.get(&key, begun)) {
            return Ok((compiled, Ok(made)));
        }
        let outcome = self.sandbox.run(plan, watcher).await?;
        let (compiled, made) = judge(plan, outcome, begun.elapsed(), &self.policy);
        if let (Some(key), Ok(made)) = (key, &made) {
            self.compile_cache.put(key, &compiled, made);
        }
        Ok((compiled, made))
    }
}
