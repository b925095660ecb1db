//! Jobs that nobody would write: whatever arrives, it is read or refused, within bounds.
//!
//! `PROPTEST_CASES` says how many cases each property is tried on.

use std::{
    path::{Component, Path},
    sync::{Mutex, MutexGuard, PoisonError},
};

use peak_alloc::PeakAlloc;
use proptest::{collection::vec, prelude::*};
use sandfleet_common::{
    Encoding, InputFile, Job, LimitName, decode_job, encode, validate_file_name,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What is measured is the process's, the making of cases included: one property at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX: usize = 64 << 10;

/// Bytes that reading may take for each byte that arrives: `[0,0,…]` makes a value of 32 bytes of
/// every two, in a vector that doubles, and a job that is refused is looked at once more.
const EACH: usize = 128;
/// Bytes that it may take besides: messages, and what the test itself holds.
const BESIDES: usize = 64 << 10;

/// Reads `bytes`, and fails if that took too much memory, or if a job comes out that wouldn't
/// come out again.
fn read(bytes: &[u8]) -> Result<(), TestCaseError> {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let decoded = decode_job(bytes, MAX);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    prop_assert!(taken <= bytes.len() * EACH + BESIDES, "{taken} bytes for {}", bytes.len());
    match decoded {
        Ok(job) => {
            prop_assert_eq!(job.validate(), Ok(()));
            let again = decode_job(&encode(&job), usize::MAX);
            prop_assert_eq!(again, Ok(job));
        }
        Err(error) => prop_assert!(!error.message.is_empty()),
    }
    Ok(())
}

fn full_job() -> Vec<u8> {
    let mut job = Job::new("python", "print('a')\n");
    job.files.push(InputFile {
        name: "data/in.csv".into(),
        content: "YSxi".into(),
        encoding: Encoding::Base64,
    });
    job.args.push("x".into());
    job.env.insert("NAME".into(), "value".into());
    job.stdin = Some("in".into());
    job.artifacts.push("**/*.png".into());
    for name in LimitName::ALL {
        job.limits.set(*name, name.minimum());
    }
    (job.ttl_ms, job.result_ttl_ms) = (Some(1000), Some(1000));
    job.metadata
        .insert("k".into(), serde_json::json!({"a": [1, 122.416_294_033_786_58, null, "ü"]}));
    encode(&job)
}

/// A change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Repeat(usize, usize),
}

const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "0.1",
    "-9223372036854775809",
    "\\u0000",
    "\\ud800",
    "\"version\":1,",
    "\u{feff}",
    "\0",
    "true",
    "[[[[[[[[",
    "{\"a\":",
    "../",
    "999999999999999999999999999999999",
];

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    let token = prop::sample::select(TOKENS);
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Set),
        token.prop_map(|token| Change::Insert(token.as_bytes().to_vec())),
        vec(any::<u8>(), 1..8).prop_map(Change::Insert),
        (1..40usize).prop_map(Change::Remove),
        (1..60usize, 2..20usize).prop_map(|(length, times)| Change::Repeat(length, times)),
    ];
    (any::<prop::sample::Index>(), change)
}

fn apply(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    for (place, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = place.index(bytes.len());
        match change {
            Change::Set(byte) => bytes[at] = *byte,
            Change::Insert(more) => drop(bytes.splice(at..at, more.iter().copied())),
            Change::Remove(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
            Change::Repeat(length, times) => {
                let piece = bytes[at..(at + length).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// JSON without sense: deep, wide, with numbers that no type holds.
fn json() -> impl Strategy<Value = String> {
    let objects = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        "[0-9]{1,40}(\\.[0-9]{1,10})?(e[+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        (1..2000usize).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
        (1..500usize).prop_map(objects),
        (1..3000usize).prop_map(|count| format!("[{}0]", "0,".repeat(count))),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            vec((any::<String>(), inner), 0..6).prop_map(|fields| {
                let field = |(name, value)| format!("{}:{value}", serde_json::Value::from(name));
                format!("{{{}}}", fields.into_iter().map(field).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

const FIELDS: &[&str] = &[
    "version",
    "job_id",
    "language",
    "code",
    "files",
    "entrypoint",
    "args",
    "env",
    "stdin",
    "limits",
    "output_overflow",
    "artifacts",
    "network_policy",
    "isolation",
    "priority",
    "queued_at",
    "ttl_ms",
    "result_ttl_ms",
    "metadata",
    "other",
];

/// Heavy ones are tried on a quarter of the cases.
fn fewer() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: (all.cases / 4).max(1), ..all }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let _alone = alone();
    proptest!(|(bytes in vec(any::<u8>(), 0..2048))| read(&bytes)?);
}

#[test]
fn a_job_with_any_change_is_read_or_refused() {
    let _alone = alone();
    proptest!(|(changes in vec(change(), 1..8))| read(&apply(full_job(), &changes))?);
}

#[test]
fn a_field_with_any_json_is_read_or_refused() {
    let _alone = alone();
    proptest!(fewer(), |(name in prop::sample::select(FIELDS), value in json())| {
        let base = r#"{"version":1,"job_id":"x","language":"python","code":"""#;
        read(format!("{base},{}:{value}}}", serde_json::Value::from(name)).as_bytes())?;
        read(value.as_bytes())?;
        let mut job: serde_json::Value = serde_json::from_slice(&full_job()).expect("JSON");
        if let Ok(value) = serde_json::from_str(&value) {
            job[name] = value;
            read(job.to_string().as_bytes())?;
        }
    });
}

/// Names that come near to leading out.
fn near_name() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[./a\\-~\\\\\\u{0}\\u{2028}]{0,12}",
        "(\\.{0,3}/?){1,6}",
        "([a.]{1,3}/){0,3}[a.]{1,3}",
    ]
}

#[test]
fn an_accepted_file_name_stays_below_any_directory() {
    let _alone = alone();
    proptest!(|(name in near_name())| {
        if validate_file_name(&name).is_ok() {
            let directory = Path::new("/box");
            let path = directory.join(&name);
            prop_assert!(path.starts_with(directory) && path != directory, "{name:?}");
            let normal = |component| matches!(component, Component::Normal(_));
            prop_assert!(Path::new(&name).components().all(normal), "{name:?}");
            // What the kernel takes for a component is what was looked at.
            let parts = Path::new(&name).components().count();
            prop_assert_eq!(parts, name.split('/').count(), "{:?}", &name);
            prop_assert!(!name.contains('\0') && name.len() <= 1024);
            prop_assert!(name.split('/').all(|part| !part.is_empty() && part.len() <= 255));
        }
    });
}

#[test]
fn the_measure_of_memory_measures() {
    let _alone = alone();
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    drop(std::hint::black_box(vec![1u8; 10 << 20]));
    assert!(MEMORY.peak_usage() - before >= 10 << 20);
}
