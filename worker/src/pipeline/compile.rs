//! Compiling a program before it runs, where its language is compiled.

use std::time::{Duration, Instant};

use super::parts::Pipeline;
use crate::{
    hooks::{RunFacts, Stream},
    labels::{Kill, Violation},
    outcome::compile::{Compiled, Failure, judge},
    sandbox::{Cause, End, Outcome, Plan, SandboxError, Watcher},
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

/// What observers are told of a run as `plan`, beyond its result.
pub(super) fn run_facts(plan: &Plan, ran: &Ran) -> RunFacts {
    let (compiled, outcome) = match ran {
        Ran::Program(compiled, outcome) => (compiled.as_ref(), outcome),
        Ran::NotCompiled(compiled, _) => {
            return RunFacts { compile: Some(compiled.took), ..RunFacts::default() };
        }
    };
    RunFacts {
        setup: Some(outcome.setup),
        compile: compiled.map(|compiled| compiled.took),
        run: Some(wall_time(&outcome.end)),
        collect: Some(outcome.collect),
        kill: kill(&outcome.end),
        violation: violation(&outcome.end),
        is_warm: plan.warm.as_ref().map(|_| outcome.warm),
    }
}

fn wall_time(end: &End) -> Duration {
    match end {
        End::Seen(ended) => Duration::from_micros(ended.wall_time_us),
        End::OutOfMemory { wall_time }
        | End::Killed { wall_time }
        | End::Tampered { wall_time }
        | End::Overdue { wall_time } => *wall_time,
    }
}

fn kill(end: &End) -> Option<Kill> {
    match end {
        End::Seen(ended) => match ended.cause {
            Cause::Itself => {
                ended.memory_kills.is_some_and(|kills| kills > 0).then_some(Kill::Memory)
            }
            Cause::WallTime => Some(Kill::WallTime),
            Cause::CpuTime => Some(Kill::CpuTime),
            Cause::Memory => Some(Kill::Memory),
            Cause::Output => Some(Kill::Output),
            Cause::Processes => Some(Kill::Processes),
            Cause::Sockets => Some(Kill::Sockets),
            Cause::Mappings => Some(Kill::Mappings),
            Cause::Locks => Some(Kill::Locks),
            Cause::Tampering => Some(Kill::Security),
        },
        End::OutOfMemory { .. } => Some(Kill::Memory),
        End::Tampered { .. } => Some(Kill::Security),
        End::Overdue { .. } => Some(Kill::WallTime),
        End::Killed { .. } => None,
    }
}

fn violation(end: &End) -> Option<Violation> {
    match end {
        End::Tampered { .. } => Some(Violation::Tampering),
        End::Killed { .. } => Some(Violation::InitKilled),
        End::Seen(ended) if ended.cause == Cause::Tampering => Some(Violation::Tampering),
        _ => None,
    }
}
