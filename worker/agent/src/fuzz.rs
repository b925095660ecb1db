//! Hostile input: any bytes in place of frames, any tree in place of artifacts.
//!
//! `PROPTEST_CASES` says how many cases each property is tried on.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use proptest::{collection::vec, prelude::*};
use rustix::time::Timespec;
use serde_json::Value;

use crate::{
    init::artifacts::{self, Inputs},
    protocol::{
        frame::{self, HEADER, Kind, MAX_PAYLOAD},
        mac::Key,
        message::{FileHeader, ProcessLimits, RunRequest},
        sender::Sender,
    },
};

pub(crate) fn bounds() -> ProcessLimits {
    ProcessLimits {
        wall_time_ms: 1,
        cpu_time_ms: 1,
        memory_bytes: 1,
        processes: 1,
        socket_bytes: 1,
        mappings: 1,
        record_locks: 1,
        is_gvisor: false,
        cpu_quota_ms: 1000,
        output_bytes: 1,
        output_kill_bytes: 1,
        stderr_tail_bytes: 1,
        open_files: 16,
        stack_bytes: 1,
        artifact_bytes: 40,
        artifact_count: 4,
    }
}

/// Everything that was collected: headers with their content, and refusals.
fn collect(directory: &Path, globs: &[String]) -> (Vec<(FileHeader, Vec<u8>)>, usize) {
    let mut sent = Vec::new();
    let directory = directory.to_str().expect("a plain name");
    let mut sender = Sender::new(&mut sent);
    let inputs = Inputs::since(Timespec::default());
    artifacts::collect(&mut sender, directory, &inputs, globs, &bounds())
        .expect("nothing that a program leaves is an error");
    let (mut input, mut files, mut refused) = (sent.as_slice(), Vec::new(), 0);
    while let Some((kind, payload)) = frame::read(&mut input).expect("whole frames") {
        match kind {
            Kind::Artifact => {
                let header: FileHeader = serde_json::from_slice(&payload).expect("a header");
                files.push((header, Vec::new()));
            }
            Kind::Data => files.last_mut().expect("a header first").1.extend(payload),
            Kind::Refused => refused += 1,
            other => panic!("{other:?} is nothing that is collected"),
        }
    }
    (files, refused)
}

/// A component of a path that the kernel takes.
fn component() -> impl Strategy<Value = Vec<u8>> {
    let any = vec(any::<u8>(), 1..12);
    let odd = prop::sample::select(vec![
        "...",
        "-rf",
        "~",
        "a b",
        "\\..\\",
        "a\u{202e}b",
        "ä",
        "*",
        "{a,b}",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let long = (200..=255usize).prop_map(|length| vec![b'x'; length]);
    prop_oneof![4 => any, 4 => odd, 1 => long].prop_filter("no component", |name| {
        !name.contains(&0) && !name.contains(&b'/') && name != b"." && name != b".."
    })
}

#[derive(Debug, Clone)]
enum Left {
    File(Vec<u8>),
    Directory,
    Link(Vec<u8>),
    OtherName,
}

fn left() -> impl Strategy<Value = Left> {
    prop_oneof![
        vec(any::<u8>(), 0..30).prop_map(Left::File),
        Just(Left::Directory),
        prop::sample::select(vec!["/etc/passwd", "..", "/", "x"])
            .prop_map(|text| Left::Link(text.as_bytes().to_vec())),
        Just(Left::OtherName),
    ]
}

fn glob() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("**".to_owned()),
        "[a-z*?/!{},\\[\\]\\\\\\-^.]{1,24}",
        any::<String>().prop_filter("empty or long", |text| {
            !text.is_empty() && text.len() <= 255 && !text.contains('\0')
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_refused(bytes in vec(any::<u8>(), 0..256)) {
        let mut input = bytes.as_slice();
        while let Ok(Some((_, payload))) = frame::read(&mut input) {
            prop_assert!(payload.len() <= MAX_PAYLOAD);
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_or_refused(bytes in any::<[u8; HEADER]>()) {
        if let Ok((kind, length)) = frame::parse_header(bytes) {
            prop_assert!(length <= MAX_PAYLOAD);
            prop_assert_eq!(frame::header(kind, length), bytes);
        }
    }

    #[test]
    fn an_order_that_was_damaged_is_refused_or_says_what_is_understood(
        at in any::<prop::sample::Index>(),
        damage in prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            "[\\[\\]{}\",:a-z0-9.\\-e]{0,20}".prop_map(String::into_bytes),
        ],
        cut in 0..40usize,
    ) {
        let mut bytes = serde_json::to_vec(&order()).expect("serialises");
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, damage);
        if let Ok(order) = serde_json::from_slice::<RunRequest>(&bytes) {
            let said: Value = serde_json::from_slice(&bytes).expect("it was an order");
            let understood = serde_json::to_value(&order).expect("serialises");
            for (name, value) in understood.as_object().expect("an object") {
                prop_assert_eq!(Some(value), said.get(name), "{}", name);
            }
        }
    }

    #[test]
    fn any_bytes_are_no_order_and_no_file(bytes in vec(any::<u8>(), 0..64)) {
        // Shorter than any order; and a file's header by chance is none of 64 bytes at random.
        prop_assert!(serde_json::from_slice::<RunRequest>(&bytes).is_err());
        prop_assert!(serde_json::from_slice::<FileHeader>(&bytes).is_err());
    }

    #[test]
    fn a_plain_glob_matches_what_it_says(
        glob in "[ab?]{0,2}\\*?[ab?]{1,2}(/[ab?]{1,3}){0,2}",
        path in "[ab]{1,4}(/[ab]{1,3}){0,2}",
    ) {
        prop_assert_eq!(fast_glob::glob_match(&glob, &path), says(glob.as_bytes(), path.as_bytes()));
    }

    #[test]
    fn nothing_matches_both_a_glob_of_any_form_and_its_negation(
        glob in glob(),
        path in "[a-z/.*{}]{0,40}|\\PC{0,12}",
    ) {
        let is_match = |glob: &str| fast_glob::glob_match(glob, &path);
        let negation = format!("!{glob}");
        let (is_match, is_other) = (is_match(&glob), is_match(&negation));
        prop_assert!(!(is_match && is_other), "{} and {}", glob, negation);
    }
}

fn order() -> RunRequest {
    RunRequest {
        key: Key([7; 32]),
        command: vec!["/usr/bin/python3".into(), "main.py".into()],
        environment: vec![("HOME".into(), "/box".into())],
        live_stdin: false,
        pending_output: true,
        artifacts: vec!["**".into()],
        bounds: bounds(),
        memory_bytes: 1,
        processors: vec![0],
    }
}

/// What a glob of letters, `?`, `*` and `/` means, by its definition.
fn says(glob: &[u8], path: &[u8]) -> bool {
    match (glob, path) {
        ([], []) => true,
        ([b'*', rest @ ..], _) if says(rest, path) => true,
        ([b'*', ..], [byte, left @ ..]) => *byte != b'/' && says(glob, left),
        ([b'?', rest @ ..], [byte, left @ ..]) => *byte != b'/' && says(rest, left),
        ([letter, rest @ ..], [byte, left @ ..]) => letter == byte && says(rest, left),
        _ => false,
    }
}

/// A request that lacks a field is refused with the field's name.
#[test]
fn an_order_without_one_of_its_fields_is_refused() {
    let whole = serde_json::to_value(order()).expect("serialises");
    assert_eq!(serde_json::from_value::<RunRequest>(whole.clone()).expect("whole"), order());
    let lacks = |order: Value, name: &str| {
        let error = serde_json::from_value::<RunRequest>(order).expect_err(name);
        assert!(error.to_string().contains(&format!("missing field `{name}`")), "{error}");
    };
    let names = |value: &Value| value.as_object().expect("fields").keys().cloned().collect();
    let (fields, bounds): (Vec<String>, Vec<String>) = (names(&whole), names(&whole["bounds"]));
    // So that taking names away from what is serialised can't make this pass.
    assert!(fields.len() >= 5 && bounds.len() >= 14, "{fields:?} {bounds:?}");
    for name in fields {
        let mut order = whole.clone();
        order.as_object_mut().expect("fields").remove(&name);
        lacks(order, &name);
    }
    for name in bounds {
        let mut order = whole.clone();
        order["bounds"].as_object_mut().expect("fields").remove(&name);
        lacks(order, &name);
    }
}

/// Heavy ones are tried on a quarter of the cases.
fn fewer() -> ProptestConfig {
    let all = ProptestConfig::default();
    ProptestConfig { cases: (all.cases / 4).max(1), ..all }
}

proptest! {
    #![proptest_config(fewer())]

    #[test]
    fn whatever_a_program_leaves_what_comes_back_is_plain_and_within_bounds(
        tree in vec((vec(component(), 1..4), left()), 0..12),
        globs in vec(glob(), 1..3),
    ) {
        let outside = tempfile::tempdir().expect("room");
        let top = outside.path().join("box");
        fs::create_dir(&top).expect("room");
        fs::write(outside.path().join("secret"), "secret").expect("room");
        let mut leaves = 0;
        for (components, left) in &tree {
            let mut path = top.clone();
            path.extend(components.iter().map(|name| OsStr::from_bytes(name)));
            let parent = path.parent().expect("a component");
            // A link in its way may lead outside: that is not where this test writes.
            let is_inside = fs::create_dir_all(parent).is_ok()
                && fs::canonicalize(parent).is_ok_and(|real| real.starts_with(&top));
            if !is_inside || path.symlink_metadata().is_ok() {
                continue;
            }
            match left {
                Left::File(content) => fs::write(&path, content),
                Left::Directory => fs::create_dir(&path),
                Left::Link(target) => {
                    std::os::unix::fs::symlink(OsStr::from_bytes(target), &path)
                }
                Left::OtherName => fs::hard_link(outside.path().join("secret"), &path),
            }
            .expect("there is room, and nothing of that name");
            leaves += usize::from(!matches!(left, Left::Directory));
        }
        let (files, refused) = collect(&top, &globs);
        if globs.iter().any(|glob| glob == "**") {
            prop_assert!(files.len() + refused >= leaves, "nothing is left out silently");
        }
        prop_assert!(files.len() as u64 <= bounds().artifact_count);
        prop_assert!(files.iter().map(|(header, _)| header.size).sum::<u64>() <= bounds().artifact_bytes);
        for (header, content) in &files {
            prop_assert_eq!(sandfleet_common::validate_file_name(&header.name), Ok(()));
            prop_assert_eq!(content.len() as u64, header.size);
            let path = top.join(&header.name);
            prop_assert!(path.symlink_metadata().expect("it is there").is_file());
            prop_assert!(fs::canonicalize(&path).expect("it is there").starts_with(&top));
            prop_assert_eq!(&fs::read(&path).expect("it is there"), content);
            prop_assert_ne!(content.as_slice(), b"secret");
        }
    }
}
