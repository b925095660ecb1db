//! What nobody in his right mind sends or leaves behind.
//!
//! `PROPTEST_CASES` says how many cases each property is tried on.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path};

use proptest::{collection::vec, prelude::*};

use crate::{
    artifacts::{self, Inputs},
    frame::{self, HEADER, Kind, MAX_PAYLOAD, Sender},
    message::{Bounds, FileHeader, Order},
};

fn bounds() -> Bounds {
    Bounds {
        wall_time_ms: 1,
        cpu_time_ms: 1,
        memory_bytes: 1,
        processes: 1,
        socket_bytes: 1,
        own_kernel: false,
        output_bytes: 1,
        output_kill_bytes: 1,
        stderr_tail_bytes: 1,
        file_size_bytes: 1,
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
    artifacts::collect(&mut sender, directory, &Inputs::default(), globs, &bounds())
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
    fn any_payload_is_a_message_or_refused(
        bytes in prop_oneof![vec(any::<u8>(), 0..64), "[\\[\\]{}\",:a-z0-9.\\-e]{0,200}".prop_map(String::into_bytes)],
    ) {
        let _ = serde_json::from_slice::<Order>(&bytes);
        let _ = serde_json::from_slice::<FileHeader>(&bytes);
    }

    #[test]
    fn a_glob_of_any_form_matches_or_does_not(glob in glob(), path in "[a-z/.*{}]{0,40}|\\PC{0,12}") {
        let _ = fast_glob::glob_match(&glob, &path);
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
            let _ = match left {
                Left::File(content) => fs::write(&path, content),
                Left::Directory => fs::create_dir(&path),
                Left::Link(target) => {
                    std::os::unix::fs::symlink(OsStr::from_bytes(target), &path)
                }
                Left::OtherName => fs::hard_link(outside.path().join("secret"), &path),
            };
        }
        let (files, _) = collect(&top, &globs);
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
