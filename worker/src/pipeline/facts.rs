//! What observers are told of a run, beyond its result.

use super::compile::Ran;
use crate::{
    hooks::RunFacts,
    labels::{Kill, Violation},
    outcome::{
        compile::Compiled,
        evaluation::{Ended, Evaluated},
    },
    sandbox::{Cause, End, Plan},
};

/// The facts of a run as `plan`.
pub(super) fn run_facts(plan: &Plan, ran: &Ran) -> RunFacts {
    let (compiled, outcome) = match ran {
        Ran::Tests(compiled, evaluated) => return tests_facts(plan, compiled.as_ref(), evaluated),
        Ran::NotJudged(compiled, _) => {
            let compile = compiled.as_ref().map(|compiled| compiled.took);
            return RunFacts { compile, ..RunFacts::default() };
        }
        Ran::Program(compiled, outcome) => (compiled.as_ref(), outcome),
        Ran::NotCompiled(compiled, _) => {
            return RunFacts { compile: Some(compiled.took), ..RunFacts::default() };
        }
    };
    RunFacts {
        setup: Some(outcome.setup),
        compile: compiled.map(|compiled| compiled.took),
        run: Some(outcome.end.wall_time()),
        collect: Some(outcome.collect),
        kill: kill(&outcome.end),
        violation: violation(&outcome.end),
        is_warm: plan.warm.as_ref().map(|_| outcome.warm),
    }
}

/// Of a job's tests: how the one fared that decided.
fn tests_facts(plan: &Plan, compiled: Option<&Compiled>, evaluated: &Evaluated) -> RunFacts {
    let decisive = evaluated.decisive().map(|tried| &tried.end);
    let tried = || evaluated.ended.iter().filter_map(Ended::tried);
    RunFacts {
        setup: tried().next().map(|tried| tried.setup),
        compile: compiled.map(|compiled| compiled.took),
        run: Some(evaluated.took),
        collect: None,
        kill: decisive.and_then(kill),
        violation: decisive.and_then(violation),
        is_warm: plan.warm.as_ref().map(|_| tried().all(|tried| tried.warm)),
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
