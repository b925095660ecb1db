//! `sandfleet grade`: problem packages, and submissions to them.

use sandfleet_common::{JobResult, Verdict};
use sandfleet_tests::Installation;
use serde_json::Value;

use crate::Programs;

fn package(name: &str) -> String {
    format!("{}/../examples/problems/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn the_submissions_of_every_example_get_what_they_have_to() {
    let installation = Installation::fresh();
    for name in ["sum", "circle", "divisor", "squares", "echo", "golf", "guess"] {
        let ran = installation.run(&["grade", &package(name), "--verify"]).await;
        assert_eq!(ran.code, 0, "{name}: {ran:#?}");
        assert!(ran.stdout.lines().count() > 2, "{name}: {}", ran.stdout);
    }
}

#[tokio::test]
async fn what_is_not_offered_is_refused_by_name() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    let broken = installation.run(&["grade", &package("broken"), "--verify"]).await;
    assert_eq!(broken.code, 64, "{broken:#?}");
    assert!(broken.stderr.contains("data/secret/1.ans: missing"), "{}", broken.stderr);
    std::fs::create_dir_all(programs.path("p/data/secret")).expect("room");
    programs.write("p/data/secret/1.in", "1\n");
    programs.write("p/data/secret/1.ans", "1\n");
    let current = "problem_format_version: 2025-09\nname: P\n";
    for (text, said) in [
        (format!("{current}type: multi-pass\n"), "type: \"multi-pass\" is not offered here"),
        (format!("{current}limits:\n  validation_passes: 3\n"), "limits.validation_passes"),
        (format!("{current}limits:\n  disk: 3\n"), "disk"),
        (format!("{current}type: interactive\n"), "output_validator/: has none"),
        (format!("{current}constants:\n  n: 1\n"), "constants"),
        ("problem_format_version: 2031-01\nname: P\n".into(), "\"2031-01\" is not read"),
        ("name: [P\n".into(), "problem.yaml"),
    ] {
        programs.write("p/problem.yaml", &text);
        let ran = installation.run(&["grade", &programs.path("p"), "--verify"]).await;
        assert_eq!(ran.code, 64, "{text}: {ran:#?}");
        assert!(ran.stderr.contains(said), "{text}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn people_get_a_table_and_machines_json_and_xml() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    std::fs::create_dir(programs.path("all")).expect("room");
    programs.write("all/right.py", "print(sum(map(int, input().split())))");
    programs.write("all/wrong.sh", "echo 3");
    programs.write("all/notes.txt", "no program");
    let (json, xml) = (programs.path("out.json"), programs.path("out.xml"));
    let arguments = [
        "grade",
        &package("sum"),
        "--all-in",
        &programs.path("all"),
        "--json",
        &json,
        "--junit",
        &xml,
    ];
    let ran = installation.run(&arguments).await;
    assert_eq!(ran.code, 0, "graded, whatever they got: {ran:#?}");
    let rows: Vec<Vec<&str>> =
        ran.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..2], ["notes.txt", "not_graded"], "{}", ran.stdout);
    assert_eq!(rows[2][..4], ["right.py", "accepted", "-", "4/4"], "{}", ran.stdout);
    assert_eq!(rows[3][..4], ["wrong.sh", "wrong_answer", "-", "1/4"], "{}", ran.stdout);
    let text = std::fs::read_to_string(json).expect("written");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    assert!(results[0]["error"].as_str().is_some_and(|it| it.contains("says a language")));
    let result: JobResult = serde_json::from_value(results[2]["result"].clone()).expect("a result");
    assert_eq!(result.verdict, Some(Verdict::WrongAnswer));
    // The first failure decides, and the rest is skipped.
    assert!(result.tests[3].skipped, "{result:#?}");
    let xml = std::fs::read_to_string(xml).expect("written");
    assert!(
        xml.contains(
            "<testsuite name=\"wrong.sh\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"2\">"
        ),
        "{xml}"
    );
}

#[tokio::test]
async fn a_time_limit_that_is_not_stated_follows_from_accepted_submissions() {
    let (installation, programs) = (Installation::fresh(), Programs::new());
    for directory in ["p/data/secret", "p/submissions/accepted"] {
        std::fs::create_dir_all(programs.path(directory)).expect("room");
    }
    programs.write("p/problem.yaml", "name: P\n");
    programs.write("p/data/secret/1.in", "1\n");
    programs.write("p/data/secret/1.ans", "1\n");
    programs.write("p/submissions/accepted/a.sh", "cat");
    let ran = installation.run(&["grade", &programs.path("p"), "--verify"]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("time limit 1 s: 5 times the 0.0"), "{}", ran.stderr);
    // A package that says something wrong of its own submissions.
    programs.write("p/submissions/accepted/a.sh", "echo 2");
    let ran =
        installation.run(&["grade", &programs.path("p"), "--verify", "--time-limit", "1"]).await;
    assert_eq!(ran.code, 119, "{ran:#?}");
    assert!(ran.stderr.contains("wrong_answer is not permitted"), "{}", ran.stderr);
}
