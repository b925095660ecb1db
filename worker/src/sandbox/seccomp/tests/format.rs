//! Profiles that are refused, and the text that is hashed.

use super::*;

#[test]
fn each_rule_is_in_the_canonical_text_and_no_order_and_no_comment() {
    let profile = Profile::embedded().unwrap();
    // Of two entries at a time: the whole text is long, and there are a thousand changes.
    for pair in profile.entries.windows(2) {
        let pair = Profile { entries: pair.to_vec(), ..profile.clone() };
        let entry = &pair.entries[0];
        let mut texts = vec![pair.canonical()];
        let mut change = |change: &dyn Fn(&mut Profile)| {
            let mut other = pair.clone();
            change(&mut other);
            texts.push(other.canonical());
        };
        change(&|other| drop(other.entries.remove(0)));
        change(&|other| other.entries[0].answer = Answer::Errno(4000));
        change(&|other| other.entries[0].gvisor_allows ^= true);
        for condition in 0..entry.conditions.len() {
            change(&|other| other.entries[0].conditions[condition].value ^= 1 << 63);
            change(&|other| other.entries[0].conditions[condition].value_two ^= 1 << 63);
            change(&|other| {
                other.entries[0].conditions.remove(condition);
            });
        }
        if entry.names.len() > 1 {
            for name in 0..entry.names.len() {
                change(&|other| drop(other.entries[0].names.remove(name)));
            }
        }
        change(&|other| other.default_errno = 38);
        change(&|other| other.architectures.truncate(1));
        let distinct: BTreeSet<_> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len(), "{entry:?}");
    }

    let mut reordered = profile.clone();
    reordered.entries.reverse();
    reordered.architectures.reverse();
    for entry in &mut reordered.entries {
        entry.names.reverse();
        entry.conditions.reverse();
    }
    assert_eq!(reordered.canonical(), profile.canonical());
    let keys = altered(
        r#""index": 1, "op": "SCMP_CMP_MASKED_EQ""#,
        r#""op": "SCMP_CMP_MASKED_EQ", "index": 1"#,
    );
    assert_eq!(keys.unwrap().canonical(), profile.canonical());
}

#[test]
fn a_misspelt_name_is_refused() {
    let error = altered(r#""ptrace""#, r#""ptrase""#).unwrap_err();
    assert!(matches!(error, ProfileError::UnknownSyscall(name) if name == "ptrase"));
}

#[test]
fn a_misspelt_field_is_refused() {
    assert!(matches!(altered("errnoRet", "errnoRat"), Err(ProfileError::Format(_))));
    assert!(matches!(altered("valueTwo", "value_two"), Err(ProfileError::Format(_))));
}

#[test]
fn a_second_calling_convention_is_refused() {
    let x86 = r#""subArchitectures": ["SCMP_ARCH_X86"]"#;
    let error = altered(r#""subArchitectures": []"#, x86).unwrap_err();
    assert!(matches!(error, ProfileError::ForeignCallingConvention));
    let error = altered("SCMP_ARCH_AARCH64", "SCMP_ARCH_X86_64").unwrap_err();
    assert!(matches!(error, ProfileError::ForeignCallingConvention));
    assert!(matches!(altered("SCMP_ARCH_AARCH64", "SCMP_ARCH_X86"), Err(ProfileError::Format(_))));
}

#[test]
fn a_default_that_allows_is_refused() {
    let allow = r#""defaultAction": "SCMP_ACT_ALLOW""#;
    let error = altered(r#""defaultAction": "SCMP_ACT_ERRNO""#, allow).unwrap_err();
    assert!(matches!(error, ProfileError::DefaultAllows));
    let error = altered(r#""defaultErrnoRet": 1"#, r#""defaultErrnoRet": 0"#).unwrap_err();
    assert!(matches!(error, ProfileError::DefaultAllows));
}

#[test]
fn a_call_both_allowed_and_refused_is_refused() {
    let error = altered(r#""read","#, r#""read", "ptrace","#).unwrap_err();
    assert!(matches!(error, ProfileError::Contradiction(name) if name == "ptrace"));
    let error = altered(r#""read","#, r#""read", "socket","#).unwrap_err();
    assert!(matches!(error, ProfileError::Contradiction(name) if name == "socket"));
}

#[test]
fn a_group_that_backends_would_read_differently_is_refused() {
    let refused =
        |from: &str, to: &str| matches!(altered(from, to), Err(ProfileError::Group { .. }));
    assert!(refused(r#""errnoRet": 38"#, r#""errnoRet": 0"#));
    assert!(refused(r#""errnoRet": 38"#, r#""errnoRet": 5000"#));
    assert!(refused(r#", "errnoRet": 38"#, ""));
    assert!(refused(
        r#""index": 1, "op": "SCMP_CMP_MASKED_EQ", "value": 15"#,
        r#""index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 15"#
    ));
    assert!(refused(r#""index": 1"#, r#""index": 6"#));
    assert!(refused(r#""action": "SUCCEED""#, r#""action": "SUCCEED", "errnoRet": 1"#));
    assert!(refused(
        r#""errnoRet": 38, "gvisor": "SCMP_ACT_ALLOW""#,
        r#""errnoRet": 38, "gvisor": "SCMP_ACT_ERRNO""#
    ));
    let options =
        |index: u8| format!("\"index\": {index}, \"values\": {{\n        \"SO_REUSEADDR\"");
    assert!(refused(&options(2), &options(1)));
    assert!(refused(r#""value": 15, "valueTwo": 1"#, r#""value": 14, "valueTwo": 1"#));
}
