//! Compiling a program before it runs, where its language is compiled.

use std::time::Instant;

use super::parts::Pipeline;
use crate::{
    hooks::Stream,
    outcome::compile::{Compiled, Failure, judge},
    sandbox::{Outcome, Plan, SandboxError, Watcher},
};

/// What became of a program.
#[expect(clippy::large_enum_variant, reason = "there is one a job, and it is boxed")]
pub(super) enum Ran {
    /// It ended; before, it was compiled if it had to be.
    Program(Option<Compiled>, Outcome),
    /// It did not compile.
    NotCompiled(Compiled, Failure),
}

impl Pipeline {
    /// Runs `plan`, after `compile` if there is one.
    pub(super) async fn compile_and_run(
        &self,
        compile: Option<&Plan>,
        plan: &mut Plan,
        watcher: &Watcher<'_>,
    ) -> Result<Ran, SandboxError> {
        let mut compiled = None;
        if let Some(compile) = compile {
            let begun = Instant::now();
            // A container of its own. Who follows the program sees what the compiler prints as its stderr.
            let to_stderr = |_: Stream, bytes: &[u8]| watcher(Stream::Stderr, bytes);
            let outcome = self.sandbox.run(compile, &to_stderr).await?;
            let (done, made) = judge(compile, outcome, begun.elapsed(), &self.policy);
            match made {
                Ok(made) => plan.add_compiled(made),
                Err(failure) => return Ok(Ran::NotCompiled(done, failure)),
            }
            compiled = Some(done);
        }
        let outcome = self.sandbox.run(plan, watcher).await?;
        Ok(Ran::Program(compiled, outcome))
    }
}
