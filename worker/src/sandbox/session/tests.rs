//! Containers whose output is delayed in transport.

use std::sync::Mutex;

use async_trait::async_trait;
use sandfleet_agent::protocol::sender::Sender;
use sandfleet_common::Isolation;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::sandbox::{Plan, ended_in_order, policy::Policy, smallest_plan};

const KEY: Key = Key([3; 32]);

/// What a ping does to the rest of a container's output.
enum Rest {
    /// It was delayed, and arrives now.
    Stuck(Vec<u8>),
    /// There is none.
    None,
    /// The ping is not answered.
    Asleep,
}

struct Road {
    rest: Mutex<Rest>,
    theirs: Mutex<Option<DuplexStream>>,
}

#[async_trait]
impl Transport for Road {
    async fn ping(&self) -> Result<(), SandboxError> {
        use tokio::io::AsyncWriteExt;

        let rest = std::mem::replace(&mut *self.rest.lock().expect("whole"), Rest::None);
        match rest {
            Rest::Stuck(bytes) => {
                let mut theirs = self.theirs.lock().expect("whole").take().expect("asked once");
                theirs.write_all(&bytes).await.expect("room");
                *self.theirs.lock().expect("whole") = Some(theirs);
                Ok(())
            }
            Rest::None => Ok(()),
            Rest::Asleep => Err(SandboxError::failed("hearing a container", "nobody answers")),
        }
    }
}

/// All that a container says of a program that ended at once.
fn words() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sender = Sender::new(&mut bytes);
    let mut say = |kind, payload: &[u8]| sender.send(kind, payload).expect("a vector takes all");
    let hello = Hello { protocol: AGENT_PROTOCOL, landlock: None };
    say(Kind::Hello, &serde_json::to_vec(&hello).expect("plain"));
    sender.authenticate_with(&KEY);
    let mut say = |kind, payload: &[u8]| sender.send(kind, payload).expect("a vector takes all");
    say(Kind::Started, &[]);
    say(Kind::Stdout, b"2\n");
    let ended = ExitReport { stdout_bytes: 2, ..ended_in_order() };
    say(Kind::ExitReport, &serde_json::to_vec(&ended).expect("plain"));
    say(Kind::Done, &[]);
    bytes
}

fn context<'a>(plan: &'a Plan, policy: &'a Policy, transport: &'a Road) -> SessionContext<'a> {
    SessionContext {
        plan,
        policy,
        isolation: Isolation::Container,
        cpus: 1.0,
        processors: &[],
        watcher: &|_, _| {},
        transport,
        input: None,
    }
}

/// The first `count` bytes of those words come in time; the program's time is over at once.
async fn concluded(count: usize, rest: impl FnOnce(&[u8]) -> Rest) -> Result<End, SandboxError> {
    use tokio::io::AsyncWriteExt;

    let words = words();
    let (ours, mut theirs) = duplex(words.len());
    theirs.write_all(&words[..count]).await.expect("room");
    let road = Road { rest: Mutex::new(rest(&words[count..])), theirs: Mutex::new(Some(theirs)) };
    let mut plan = smallest_plan();
    plan.limits.wall_time_ms = 0;
    let (policy, begun) = (Policy::strict(), Instant::now());
    let context = context(&plan, &policy, &road);
    let mut transcript = Transcript::default();
    let held = read(ours, KEY, &context, &mut transcript, Deadline::now() + START_DEADLINE).await;
    conclude(held, transcript, Ending::new(begun, Loss::Unexplained)).map(|outcome| outcome.end)
}

#[tokio::test]
async fn what_was_held_up_on_the_way_counts() {
    // In the middle of a frame, and in the middle of its MAC.
    for missing in [60, 30] {
        let count = words().len() - missing;
        let end = concluded(count, |rest| Rest::Stuck(rest.to_vec())).await;
        assert!(matches!(end, Ok(End::Seen(_))), "{missing}: {end:?}");
    }
}

#[tokio::test]
async fn silence_on_a_road_that_is_open_is_the_containers_own() {
    let end = concluded(words().len() - 60, |_| Rest::None).await;
    assert!(matches!(end, Ok(End::Overdue { .. })), "{end:?}");
}

#[tokio::test]
async fn silence_on_a_road_that_is_closed_is_nobodys_verdict() {
    let end = concluded(words().len() - 60, |_| Rest::Asleep).await;
    assert!(matches!(end, Err(SandboxError::Failed { .. })), "{end:?}");
}

#[tokio::test]
async fn an_end_that_was_heard_does_not_make_up_for_artifacts_that_were_not() {
    let (words, plan, policy) = (words(), smallest_plan(), Policy::strict());
    let road = Road { rest: Mutex::new(Rest::None), theirs: Mutex::new(None) };
    let context = context(&plan, &policy, &road);
    let mut transcript = Transcript::default();
    let start_by = Deadline::now() + START_DEADLINE;
    read(words.as_slice(), KEY, &context, &mut transcript, start_by).await.expect("it said all");
    let asleep = SandboxError::failed("hearing a container", "nobody answers");
    let outcome = conclude(
        Err(SessionError::Unheard(asleep)),
        transcript,
        Ending::new(Instant::now(), Loss::Unexplained),
    );
    assert!(matches!(outcome, Err(SandboxError::Failed { .. })), "{outcome:?}");
}

#[test]
fn a_kill_that_the_host_did_for_want_of_memory_is_no_verdict() {
    let kills = |kills, limit_hits| {
        let ended = ExitReport {
            cause: sandfleet_agent::protocol::message::Cause::Memory,
            memory_kills: Some(kills),
            memory_limit_hits: limit_hits,
            ..ended_in_order()
        };
        let now = Instant::now();
        let transcript =
            Transcript { started: Some(now), ended: Some((ended, now)), ..Transcript::default() };
        conclude(Ok(()), transcript, Ending::new(now, Loss::Unexplained)).map(|outcome| outcome.end)
    };
    assert!(matches!(kills(1, Some(0)), Err(SandboxError::HostMemory)), "the limit wasn't reached");
    assert!(matches!(kills(1, Some(3)), Ok(End::Seen(_))), "it was");
    assert!(
        matches!(kills(1, None), Ok(End::Seen(_))),
        "where it isn't counted, it is the likelier"
    );
    assert!(matches!(kills(0, Some(0)), Ok(End::Seen(_))), "nothing was killed");

    let lost = |loss| {
        conclude(Err(SessionError::Lost), Transcript::default(), Ending::new(Instant::now(), loss))
    };
    assert!(matches!(lost(Loss::HostOutOfMemory), Err(SandboxError::HostMemory)));
    assert!(matches!(lost(Loss::OutOfMemory), Ok(Outcome { end: End::OutOfMemory { .. }, .. })));
}

#[test]
fn the_peak_of_a_program_is_without_what_its_group_held_before_it() {
    let peak = |seen, memory_peak| {
        let ended = ExitReport { memory_peak_bytes: seen, ..ended_in_order() };
        let now = Instant::now();
        let transcript =
            Transcript { started: Some(now), ended: Some((ended, now)), ..Transcript::default() };
        let ending =
            Ending { memory_before: 10, memory_peak, ..Ending::new(now, Loss::Unexplained) };
        match conclude(Ok(()), transcript, ending).expect("it said all").end {
            End::Seen(ended) => ended.memory_peak_bytes,
            end => panic!("{end:?}"),
        }
    };
    assert_eq!(peak(Some(30), None), Some(20), "the agent saw it");
    assert_eq!(peak(Some(30), Some(50)), Some(40), "the group's peak rose higher");
    assert_eq!(peak(None, None), None, "nothing counts it");
}
