//! A container that says whatever it likes, to its end.
//!
//! `PROPTEST_CASES` says how many cases each property is tried on.

use std::sync::{LazyLock, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use proptest::{collection::vec, prelude::*, sample::select};
use sandfleet_common::{Isolation, JobResult, encode, validate_file_name};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{request::push, *};
use crate::{
    outcome::{self, ResultBuilder},
    sandbox::{Description, Plan, policy::Policy, smallest_plan},
};

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::strict);
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
});

const OUTPUT: u64 = 100;
const ARTIFACTS: u64 = 200;
const FILES: u64 = 3;

fn plan() -> Plan {
    let mut plan = smallest_plan();
    plan.limits.output_bytes = OUTPUT;
    plan.limits.artifact_bytes = ARTIFACTS;
    plan.limits.artifact_count = FILES;
    plan
}

const KEY: Key = Key([9; 32]);

/// Something that came out of a container.
#[derive(Debug, Clone)]
enum Said {
    /// A frame of the agent's.
    Frame(Kind, Vec<u8>),
    /// Anything.
    Bytes(Vec<u8>),
}

fn framed(kind: Kind, payload: &[u8]) -> Vec<Said> {
    vec![Said::Frame(kind, payload.to_vec())]
}

/// All of it on one stream, with the MACs that the agent sends from its first frame on.
fn on_the_wire(said: &[Said]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut mac: Option<FrameMac> = None;
    for one in said {
        match one {
            Said::Bytes(any) => bytes.extend_from_slice(any),
            Said::Frame(kind, payload) => {
                push(&mut bytes, *kind, payload);
                if let Some(mac) = &mut mac {
                    bytes.extend(mac.tag(*kind, payload));
                } else if *kind == Kind::Hello {
                    mac = Some(FrameMac::new(&KEY));
                }
            }
        }
    }
    bytes
}

/// A number at a boundary.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![select(vec![0, 1, OUTPUT, ARTIFACTS, i64::MAX as u64, u64::MAX]), any::<u64>()]
}

fn ended() -> impl Strategy<Value = Vec<Said>> {
    let causes = select(vec!["itself", "wall_time", "cpu_time", "memory", "output", "boredom"]);
    let numbers = (number(), number(), number(), number(), number(), number());
    let end = (any::<Option<i32>>(), any::<Option<i32>>(), proptest::option::of(number()));
    (causes, end, numbers).prop_map(|(cause, (exit_code, signal, kills), numbers)| {
        let (wall, cpu, memory, refused, stdout, stderr) = numbers;
        let ended = json!({
            "cause": cause, "exit_code": exit_code, "signal": signal, "wall_time_us": wall,
            "cpu_time_us": cpu, "memory_peak_bytes": memory, "memory_kills": kills,
            "memory_limit_hits": kills,
            "processes_refused": refused, "scratch_full": false, "scratch_files_used_up": false, "open_files_used_up": true, "stdout_bytes": stdout, "stderr_bytes": stderr,
        });
        framed(Kind::ExitReport, ended.to_string().as_bytes())
    })
}

fn artifact() -> impl Strategy<Value = Vec<Said>> {
    let names = prop_oneof![
        any::<String>(),
        select(vec!["a", "a/b", "../a", "/etc/passwd", "a/../b", "", ".", "a\u{1b}[2J"])
            .prop_map(str::to_owned),
    ];
    let sizes = prop_oneof![0..60u64, number()];
    (names, sizes, vec(vec(any::<u8>(), 0..40), 0..4)).prop_map(|(name, size, pieces)| {
        let header = json!({"name": name, "size": size}).to_string();
        let mut said = framed(Kind::Artifact, header.as_bytes());
        said.extend(pieces.into_iter().map(|piece| Said::Frame(Kind::Data, piece)));
        said
    })
}

/// An artifact as agents send it.
fn honest_artifact() -> impl Strategy<Value = Vec<Said>> {
    ("[a-z]{1,8}", vec(any::<u8>(), 0..50)).prop_map(|(name, content)| {
        let header = encode(&FileHeader { name, size: content.len() as u64 });
        let mut said = framed(Kind::Artifact, &header);
        said.extend((!content.is_empty()).then_some(Said::Frame(Kind::Data, content)));
        said
    })
}

/// One thing that a container says, more or less in its place.
fn saying() -> impl Strategy<Value = Vec<Said>> {
    let text = || vec(any::<u8>(), 0..60);
    let protocol = select(vec![u64::from(AGENT_PROTOCOL), 0, 1, u64::MAX]);
    prop_oneof![
        protocol.prop_map(|n| framed(Kind::Hello, json!({"protocol": n}).to_string().as_bytes())),
        Just(framed(Kind::Started, b"")),
        text().prop_map(|bytes| framed(Kind::Stdout, &bytes)),
        text().prop_map(|bytes| framed(Kind::Stderr, &bytes)),
        (0..6000usize).prop_map(|length| framed(Kind::StderrTail, &vec![b'x'; length])),
        ended(),
        artifact(),
        honest_artifact(),
        (0..6000usize).prop_map(|length| framed(Kind::Refused, &vec![0xff; length])),
        Just(framed(Kind::Done, b"")),
        text().prop_map(|bytes| framed(Kind::Failed, &bytes)),
        text().prop_map(|bytes| framed(Kind::Barrier, &bytes)),
        (any::<u8>(), any::<u32>()).prop_map(|(kind, length)| {
            let mut bytes = vec![kind];
            bytes.extend(length.to_le_bytes());
            vec![Said::Bytes(bytes)]
        }),
        // A frame without the MAC that it should have.
        text().prop_map(|text| {
            let mut bytes = Vec::new();
            push(&mut bytes, Kind::Stdout, &text);
            vec![Said::Bytes(bytes)]
        }),
        text().prop_map(|bytes| vec![Said::Bytes(bytes)]),
    ]
}

/// A whole session: often begun as agents begin it, so that what comes later is read too.
fn session() -> impl Strategy<Value = Vec<Said>> {
    let beginnings = (0..4usize, ended()).prop_map(|(how_far, ended)| {
        let hello = json!({"protocol": AGENT_PROTOCOL}).to_string();
        let steps = [framed(Kind::Hello, hello.as_bytes()), framed(Kind::Started, b""), ended];
        steps[..how_far].concat()
    });
    let flood = (any::<bool>(), saying(), 0..150usize).prop_map(|(floods, one, times)| {
        if floods { vec![one; times].concat() } else { Vec::new() }
    });
    (beginnings, vec(saying(), 0..8), flood, vec(saying(), 0..8))
        .prop_map(|(a, b, c, d)| [a, b.concat(), c, d.concat()].concat())
}

/// What was shown while it went on.
struct Shown {
    stdout: u64,
    stderr: u64,
}

/// Carries all that is said at once.
struct Reliable;

#[async_trait]
impl Transport for Reliable {
    async fn ping(&self) -> Result<(), SandboxError> {
        Ok(())
    }
}

fn held(said: &[Said]) -> (Result<(), SessionError>, Transcript, Shown) {
    let shown = Mutex::new(Shown { stdout: 0, stderr: 0 });
    let watcher = |stream: Stream, bytes: &[u8]| {
        let mut shown = shown.lock().expect("no holder panics");
        match stream {
            Stream::Stdout => shown.stdout += bytes.len() as u64,
            Stream::Stderr => shown.stderr += bytes.len() as u64,
        }
    };
    let mut transcript = Transcript::default();
    let bytes = on_the_wire(said);
    let held = RUNTIME.block_on(async {
        let start_by = Deadline::now() + START_DEADLINE;
        let (plan, isolation) = (&plan(), Isolation::Container);
        let context = SessionContext {
            plan,
            policy: &POLICY,
            isolation,
            cpus: 1.0,
            processors: &[],
            watcher: &watcher,
            transport: &Reliable,
            input: None,
        };
        read(bytes.as_slice(), KEY, &context, &mut transcript, start_by).await
    });
    (held, transcript, shown.into_inner().expect("no holder panicked"))
}

fn result(plan: &Plan, outcome: Outcome) -> JobResult {
    let description = Description {
        backend: "docker",
        runtime: "runc".into(),
        isolation: Isolation::Container,
        image: "image".into(),
        image_digest: None,
        policy_hash: String::new(),
    };
    let result_builder = ResultBuilder::unread("w", plan.job_id.clone(), Timestamp::UNIX_EPOCH);
    outcome::conclude(result_builder, plan, outcome, &description, &POLICY)
}

/// Heavy ones are tried on a quarter of the cases.
fn fewer() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: (all.cases / 4).max(1), ..all }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn nothing_that_a_container_says_is_kept_beyond_what_was_agreed(said in session()) {
        let (held, transcript, shown) = held(&said);
        prop_assert!(transcript.stdout.head.len() as u64 <= OUTPUT);
        prop_assert!(transcript.stderr.head.len() as u64 <= OUTPUT);
        prop_assert!(transcript.stderr.tail.len() as u64 <= POLICY.stderr_tail_bytes);
        prop_assert!(transcript.stdout.tail.is_empty());
        prop_assert!(shown.stdout <= OUTPUT && shown.stderr <= OUTPUT, "shown to the watcher");
        prop_assert!(transcript.artifacts.len() as u64 <= FILES);
        let sizes = transcript.artifacts.iter().map(|(_, content)| content.len() as u64);
        prop_assert!(sizes.sum::<u64>() <= ARTIFACTS);
        for (name, _) in &transcript.artifacts {
            prop_assert_eq!(validate_file_name(name), Ok(()));
        }
        prop_assert!(transcript.artifacts_skipped.len() <= MAX_REFUSALS);
        // A byte that is no text becomes a sign of three.
        prop_assert!(transcript.artifacts_skipped.iter().all(|said| said.len() <= 3 * MAX_SENTENCE));
        if held.is_ok() {
            prop_assert!(transcript.started.is_some() && transcript.ended.is_some(), "all was said");
        }
    }

    #[test]
    fn whatever_was_said_there_is_a_result_or_an_error(
        said in session(),
        loss in select(vec![
            Loss::OutOfMemory,
            Loss::HostOutOfMemory,
            Loss::Killed,
            Loss::Unheard,
            Loss::Unexplained,
        ]),
    ) {
        let (held, transcript, _) = held(&said);
        let started = transcript.started.is_some();
        if let Ok(outcome) = conclude(held, transcript, Ending::new(Instant::now(), loss)) {
            let plan = plan();
            let result = result(&plan, outcome);
            prop_assert!(started || loss == Loss::OutOfMemory, "a program that never ran has no verdict");
            prop_assert!(result.verdict.is_some() && !result.message.is_empty());
            // It can be stored and read again.
            let stored: JobResult = serde_json::from_slice(&encode(&result)).expect("a result");
            prop_assert_eq!(stored, result);
        }
    }
}

/// What an agent says of a program that prints two letters.
fn honest_session() -> Vec<Said> {
    let ended = json!({
        "cause": "itself", "exit_code": 0, "signal": null, "wall_time_us": 1, "cpu_time_us": 1,
        "memory_peak_bytes": 1, "memory_kills": 0, "processes_refused": 0, "scratch_full": false, "scratch_files_used_up": false,
        "open_files_used_up": false, "stdout_bytes": 2, "stderr_bytes": 0,
    });
    let hello = json!({"protocol": AGENT_PROTOCOL}).to_string();
    [
        framed(Kind::Hello, hello.as_bytes()),
        framed(Kind::Started, b""),
        framed(Kind::Stdout, b"hi"),
        framed(Kind::ExitReport, ended.to_string().as_bytes()),
        framed(Kind::Done, b""),
    ]
    .concat()
}

#[test]
fn an_honest_session_is_heard_to_its_end() {
    let (held, transcript, shown) = held(&honest_session());
    assert!(held.is_ok(), "{held:?}");
    assert_eq!((transcript.stdout.head.as_slice(), shown.stdout), (b"hi".as_slice(), 2));
}

#[test]
fn a_program_that_speaks_for_its_agent_is_found_out() {
    let honest = honest_session();
    // Until its end, a program could say anything in the agent's place, or take away what the agent
    // says.
    let mut tampered = Vec::new();
    let its_end = honest.len() - 2;
    for at in 2..=its_end {
        for said in &honest {
            let Said::Frame(kind, payload) = said else { continue };
            let mut forged = Vec::new();
            push(&mut forged, *kind, payload);
            let mut longer = honest.clone();
            longer.insert(at, Said::Bytes(forged));
            tampered.push(longer);
        }
        let mut wire = on_the_wire(&honest[..at]);
        let rest = on_the_wire(&honest);
        let next = on_the_wire(&honest[..=at]).len();
        wire.extend_from_slice(&rest[next..]);
        tampered.push(vec![Said::Bytes(wire)]);
    }
    for said in &tampered {
        let (held, transcript, _) = held(said);
        let outcome = conclude(held, transcript, Ending::new(Instant::now(), Loss::Unheard))
            .expect("a verdict");
        assert!(matches!(outcome.end, End::Tampered { .. }), "{said:?}: {outcome:?}");
    }
}
