//! Every struct of the protocol is an object on the wire, and every value of a closed list a string.

use std::collections::BTreeMap;

use sandfleet_common::{
    Artifact, Comparison, ComparisonKind, Encoding, EndedJob, InputFile, Isolation, Job, JobResult,
    LimitHit, LimitName, Limits, LimitsRequest, NetworkKind, NetworkPolicy, OutputOverflow,
    OutputValidator, Priority, RunOutput, SandboxReport, ScoreAggregation, SecurityEvent, Status,
    Test, TestGroup, TestGroupReport, TestKind, TestReport, Timing, Usage, Verdict, WorkerInfo,
    decode_job, encode,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Reads an object, and refuses its values as an array, in whatever order: that of the members is tried
/// for all that have one.
fn is_an_object<T: DeserializeOwned>(members: &[(&str, Value)]) {
    let name = std::any::type_name::<T>();
    let object: BTreeMap<_, _> = members.iter().cloned().collect();
    let object = serde_json::to_string(&object).expect("JSON");
    serde_json::from_str::<T>(&object).unwrap_or_else(|error| panic!("{name}: {error}"));
    let values: Vec<_> = members.iter().map(|(_, value)| value).collect();
    let array = serde_json::to_string(&values).expect("JSON");
    for refused in [array.as_str(), "[]"] {
        let error = serde_json::from_str::<T>(refused).err();
        let error = error.unwrap_or_else(|| panic!("{name} takes {refused}")).to_string();
        assert!(error.starts_with("invalid type: sequence, expected struct "), "{name}: {error}");
    }
}

fn is_a_string<T: DeserializeOwned>(value: &str) {
    let name = std::any::type_name::<T>();
    serde_json::from_str::<T>(&format!("{value:?}")).unwrap_or_else(|e| panic!("{name}: {e}"));
    for refused in [format!("{{{value:?}:null}}"), format!("[{value:?}]"), "0".into()] {
        assert!(serde_json::from_str::<T>(&refused).is_err(), "{name} takes {refused}");
    }
}

#[test]
fn no_struct_is_read_from_an_array() {
    let limits: Vec<(&str, Value)> =
        LimitName::ALL.iter().map(|name| (name.as_str(), json!(1_000_000))).collect();
    let time = json!("2020-01-01T00:00:00Z");
    is_an_object::<Job>(&[
        ("version", json!(1)),
        ("job_id", json!("x")),
        ("tenant", json!(null)),
        ("language", json!("python")),
        ("code", json!("")),
    ]);
    is_an_object::<InputFile>(&[
        ("name", json!("a")),
        ("content", json!("")),
        ("encoding", json!("utf-8")),
    ]);
    is_an_object::<Test>(&[("name", json!("a")), ("kind", json!("secret")), ("group", json!("g"))]);
    is_an_object::<Comparison>(&[("type", json!("tokens")), ("case_sensitive", json!(true))]);
    is_an_object::<OutputValidator>(&[("language", json!("python")), ("code", json!(""))]);
    is_an_object::<TestGroup>(&[("name", json!("g")), ("score_aggregation", json!("sum"))]);
    is_an_object::<TestReport>(&[("name", json!("a")), ("message", json!(""))]);
    is_an_object::<TestGroupReport>(&[("name", json!("g")), ("verdict", json!("accepted"))]);
    is_an_object::<NetworkPolicy>(&[("type", json!("disabled")), ("allowed_domains", json!([]))]);
    is_an_object::<Limits>(&limits);
    is_an_object::<LimitsRequest>(&limits);
    is_an_object::<RunOutput>(&[
        ("stdout", json!("")),
        ("stderr", json!("")),
        ("encoding", json!("utf-8")),
        ("stdout_truncated", json!(false)),
        ("stderr_truncated", json!(false)),
    ]);
    is_an_object::<Artifact>(&[
        ("name", json!("a")),
        ("size_bytes", json!(0)),
        ("sha256", json!("")),
        ("content_type", json!("")),
        ("content", json!("")),
        ("encoding", json!("utf-8")),
    ]);
    is_an_object::<LimitHit>(&[("limit", json!("open_files")), ("value", json!(1))]);
    is_an_object::<Usage>(&[
        ("cpu_time_ms", json!(1)),
        ("wall_time_ms", json!(1)),
        ("memory_peak_bytes", json!(1)),
    ]);
    is_an_object::<Timing>(&[
        ("queue_ms", json!(1)),
        ("setup_ms", json!(1)),
        ("run_ms", json!(1)),
        ("collect_ms", json!(1)),
    ]);
    is_an_object::<SandboxReport>(&[
        ("backend", json!("native")),
        ("runtime", json!("sandfleet")),
        ("isolation", json!("container")),
        ("image", json!("")),
        ("image_digest", json!(null)),
        ("landlock_abi", json!(null)),
        ("warm", json!(false)),
        ("limits", serde_json::to_value(Limits::default()).expect("JSON")),
        ("policy_hash", json!("")),
    ]);
    is_an_object::<SecurityEvent>(&[("rule", json!("")), ("detail", json!(""))]);
    is_an_object::<JobResult>(&[
        ("job_id", json!("x")),
        ("status", json!("succeeded")),
        ("message", json!("")),
        ("started_at", time.clone()),
        ("finished_at", time.clone()),
        ("worker_id", json!("w")),
        ("attempt", json!(1)),
    ]);
    let timing =
        json!({ "queue_ms": 1, "setup_ms": 1, "compile_ms": 1, "run_ms": 1, "collect_ms": 1 });
    is_an_object::<EndedJob>(&[
        ("job_id", json!("x")),
        ("status", json!("succeeded")),
        ("message", json!("")),
        ("finished_at", time.clone()),
        ("timing", timing),
        ("worker_id", json!("w")),
        ("attempt", json!(1)),
    ]);
    is_an_object::<WorkerInfo>(&[
        ("worker_id", json!("w")),
        ("version", json!("1")),
        ("backend", json!("native")),
        ("isolation", json!("container")),
        ("languages", json!([])),
        ("priorities", json!([])),
        ("protocol_version", json!(1)),
        ("protocol_minor", json!(1)),
        ("max_job_bytes", json!(1)),
        ("slots", json!(1)),
        ("busy", json!(0)),
        ("stopping", json!(false)),
        ("started_at", time),
    ]);
}

#[test]
fn no_value_of_a_closed_list_is_read_from_an_object() {
    is_a_string::<Encoding>("base64");
    is_a_string::<OutputOverflow>("kill");
    is_a_string::<NetworkKind>("allowlist");
    is_a_string::<Isolation>("gvisor");
    is_a_string::<Priority>("batch");
    is_a_string::<LimitName>("open_files");
    is_a_string::<Status>("failed");
    is_a_string::<Verdict>("accepted");
    is_a_string::<TestKind>("sample");
    is_a_string::<ComparisonKind>("numeric");
    is_a_string::<ScoreAggregation>("pass-fail");
}

/// A type that is added to the protocol has to be added here as well.
#[test]
fn all_types_of_the_protocol_are_tried_here() {
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("there");
    for source in sources {
        let path = source.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        let mut derives = text.split("Deserialize)]").skip(1);
        let lax = derives.find(|rest| {
            let attributes = rest.split("pub").next().unwrap_or(rest);
            !attributes.contains("remote = \"Self\"") && !attributes.contains("try_from")
        });
        assert!(lax.is_none(), "{}: {}", path.display(), lax.unwrap_or_default());
    }
}

#[test]
fn a_job_with_an_array_for_an_object_is_refused_with_its_id() {
    let job = |member: &str, value: Value| {
        let mut job = serde_json::to_value(Job::new("python", "")).expect("JSON");
        job["job_id"] = json!("x");
        job[member] = value;
        decode_job(&encode(&job), 1 << 20).expect_err(member)
    };
    for (member, value) in [
        ("limits", json!([1000])),
        ("files", json!([["a", "", "utf-8"]])),
        ("network_policy", json!(["disabled", []])),
        ("priority", json!({ "batch": null })),
        ("env", json!([])),
        ("tests", json!([["a"]])),
        ("test_groups", json!([["g"]])),
        ("output_validator", json!(["python", ""])),
        ("metadata", json!([])),
    ] {
        let error = job(member, value);
        assert_eq!(error.job_id.map(String::from).as_deref(), Some("x"), "{member}");
        assert!(error.message.starts_with(member), "{}", error.message);
    }
    // The job itself, and what is looked for in one that can't be read.
    let array = br#"[1,"x",null,"python","print(1)"]"#;
    assert_eq!(decode_job(array, 1 << 20).expect_err("no job").job_id, None);
}
