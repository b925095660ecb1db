//! `sandfleet run --tests`: tests of a program, and programs that try to get around them.

use std::fs;

use sandfleet_common::{Test, TestReport, Verdict};
use sandfleet_tests::Installation;
use serde_json::json;

use crate::Programs;

/// The tests of `tests/evaluation`: each stdin is the name, each answer has a word that is nowhere else.
fn hostile_tests(programs: &Programs) -> String {
    let tests: Vec<Test> = ["first", "second"]
        .map(|name| Test::new(name, format!("{name}\n"), format!("canary-{name}\n")))
        .into();
    programs.write("tests.json", &serde_json::to_string(&tests).expect("JSON"))
}

fn corpus() -> Vec<String> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/evaluation");
    let paths = fs::read_dir(directory).expect("the corpus").map(|it| it.expect("an entry").path());
    let programs = paths.filter(|path| path.extension().is_some_and(|it| it != "md"));
    let mut programs: Vec<String> = programs.map(|path| path.display().to_string()).collect();
    programs.sort();
    assert!(programs.len() > 8, "{programs:?}");
    programs
}

fn verdicts(tests: &[TestReport]) -> Vec<&str> {
    tests.iter().map(|it| it.verdict.map_or("skipped", Verdict::as_str)).collect()
}

#[tokio::test]
async fn a_program_is_compiled_once_and_tried_on_each_test() {
    let programs = Programs::new();
    let code = "#include <stdio.h>\nint main(int n, char **v) { int a; scanf(\"%d\", &a); if (a == 3) return 1;\n\
                FILE *f = fopen(\"more.txt\", \"r\"); char c = f ? fgetc(f) : '-';\n\
                printf(\"%d %s %c\\n\", a, n > 1 ? v[1] : \"\", c); return 0; }\n";
    let script = programs.write("it.c", code);
    let tests = json!([
        { "name": "plain", "stdin": "1", "answer": "1  -" },
        { "name": "args", "stdin": "2", "args": ["x"], "answer": "2 x -" },
        { "name": "files", "stdin": "4", "files": [{ "name": "more.txt", "content": "m" }], "answer": "4  m" },
        { "name": "none", "stdin": "1", "answer": "1  -" },
        { "name": "crash", "stdin": "3", "answer": "3" },
        { "name": "wrong", "stdin": "1", "answer": "2" },
        { "name": "limit", "stdin": "1", "answer": "1  -", "limits": { "output_bytes": 1 } },
        { "name": "any", "stdin": "9" },
    ]);
    let tests = programs.write("tests.json", &tests.to_string());
    for sandbox in ["native", "docker"] {
        let arguments = ["run", "--sandbox", sandbox, "--json", "--tests", &tests, &script];
        let ran = Installation::fresh().run(&arguments).await;
        let result = ran.result();
        assert_eq!(
            verdicts(&result.tests),
            [
                "accepted",
                "accepted",
                "accepted",
                "accepted",
                "runtime_error",
                "wrong_answer",
                "output_limit_exceeded",
                "accepted"
            ],
            "{sandbox}: {result:#?}"
        );
        assert_eq!((ran.code, result.verdict), (1, Some(Verdict::RuntimeError)), "{sandbox}");
        assert!(result.message.starts_with("test crash: exit code 1"), "{}", result.message);
        assert!(result.compile.is_some() && result.run.is_none(), "{sandbox}");
        let run = result.tests[1].run.as_ref().expect("its beginning");
        assert_eq!(run.stdout, "2 x -\n", "{sandbox}");
        assert!(result.tests.iter().all(|test| test.usage.is_some()), "{sandbox}");
    }
}

#[tokio::test]
async fn what_does_not_compile_is_tried_on_no_test() {
    let programs = Programs::new();
    let script = programs.write("it.c", "int main(void) { return nothing; }");
    let tests = hostile_tests(&programs);
    let ran = Installation::fresh().run(&["run", "--json", "--tests", &tests, &script]).await;
    let result = ran.result();
    assert_eq!(result.verdict, Some(Verdict::CompilationError));
    assert_eq!(result.tests, []);
}

#[tokio::test]
async fn no_program_changes_the_verdict_of_another_test() {
    let programs = Programs::new();
    let tests = hostile_tests(&programs);
    for slots in ["1", "2"] {
        let installation = Installation::fresh().set("WORKER_SLOTS", slots);
        for program in corpus() {
            let ran = installation.run(&["run", "--json", "--tests", &tests, &program]).await;
            let result = ran.result();
            assert_eq!(result.tests.len(), 2, "{program}: {result:#?}");
            for test in &result.tests {
                assert!(!test.is_accepted() && !test.skipped, "{program}, {slots}: {test:#?}");
                let shown = test.run.as_ref().map_or("", |run| run.stdout.as_str());
                let is_told = shown.contains("canary") && !program.ends_with("output.py");
                assert!(!is_told, "{program}, {slots}: {test:#?}");
            }
        }
    }
}

#[tokio::test]
async fn a_program_that_looks_for_an_answer_finds_one_that_is_there() {
    // Otherwise the test above shows nothing.
    let programs = Programs::new();
    let tests = hostile_tests(&programs);
    let search = corpus().into_iter().find(|it| it.ends_with("search.py")).expect("it is there");
    let planted = programs.write("planted.txt", "canary-first");
    let arguments = ["run", "--json", "--tests", &tests, "--file", &planted, &search];
    let result = Installation::fresh().run(&arguments).await.result();
    assert_eq!(verdicts(&result.tests), ["accepted", "wrong_answer"], "{result:#?}");
}

#[tokio::test]
async fn tests_start_warm_as_programs_do() {
    let programs = Programs::new();
    let script = programs.write("it.py", "print(int(input()) + 1)");
    let tests: Vec<Test> =
        (0..20).map(|n| Test::new(n.to_string(), n.to_string(), (n + 1).to_string())).collect();
    let tests = programs.write("tests.json", &serde_json::to_string(&tests).expect("JSON"));
    let ran = Installation::fresh().run(&["run", "--tests", &tests, &script]).await;
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.stdout.lines().count(), 21, "{}", ran.stdout);
    assert!(
        ran.stderr.starts_with("sandfleet: accepted: 20 of 20 tests accepted"),
        "{}",
        ran.stderr
    );
    let cpu = |line: &str| line.split_whitespace().nth(2).and_then(|it| it.parse::<u64>().ok());
    let last: Vec<_> = ran.stdout.lines().skip(16).filter_map(cpu).collect();
    // An interpreter takes ten times as long to start.
    assert!(last.iter().any(|ms| *ms < 8), "{}", ran.stdout);
}

#[tokio::test]
async fn what_is_wrong_with_tests_is_named() {
    let programs = Programs::new();
    let script = programs.write("it.py", "print(1)");
    let file = |text: &str| programs.write("tests.json", text);
    let installation = Installation::fresh();
    for (text, said) in [
        ("[]", "has no tests"),
        (r#"[{"name":""}]"#, "tests[0].name: is empty"),
        (r#"[{"name":"a"},{"name":"a"}]"#, "tests[1].name"),
        (r#"[{"stdin":"a"}]"#, "missing field `name`"),
        (r#"[{"name":"a","answer":1}]"#, "invalid type"),
    ] {
        let ran = installation.run(&["run", "--tests", &file(text), &script]).await;
        assert_eq!(ran.code, 64, "{text}: {ran:#?}");
        assert!(ran.stderr.contains(said), "{text}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_program_and_an_interactive_validator_can_not_hang_each_other() {
    let programs = Programs::new();
    let validator = "import sys\nhow = open(sys.argv[1]).read().strip()\n\
        if how == 'deaf': sys.exit(42)\n\
        if how == 'broken': sys.exit(1)\n\
        if how == 'silent': sys.exit(42 if sys.stdin.readline() else 43)\n\
        print(how, flush=True)\n\
        sys.exit(42 if sys.stdin.readline().strip() == how else 43)\n";
    let test =
        |name: &str| json!({ "name": name, "stdin": name, "comparison": { "type": "validator" } });
    let tests = json!({
        "tests": (["talk", "deaf", "broken", "silent"].map(test)),
        "output_validator": { "language": "python", "code": validator, "interactive": true },
    });
    let tests = programs.write("tests.json", &tests.to_string());
    let installation = Installation::fresh().set("WORKER_SLOTS", "1");
    // Where it matters which of the two ends first, only that nothing is accepted and nothing hangs.
    let (ok, late) = (Some("accepted"), Some("time_limit_exceeded"));
    for (code, expected) in [
        ("print(input())", [ok, Some("runtime_error"), None, late]),
        (
            "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)",
            [ok, ok, Some("judge_error"), late],
        ),
        ("while True: print('x' * 100000)", [None; 4]),
        ("exit(3)", [Some("runtime_error"), Some("runtime_error"), None, Some("runtime_error")]),
    ] {
        let script = programs.write("it.py", code);
        let arguments = ["run", "--json", "--tests", &tests, "--limit", "wall_time_ms=3s", &script];
        let result = installation.run(&arguments).await.result();
        for (verdict, expected) in verdicts(&result.tests).into_iter().zip(expected) {
            match expected {
                Some(expected) => assert_eq!(verdict, expected, "{code}: {result:#?}"),
                None => assert_ne!(verdict, "accepted", "{code}: {result:#?}"),
            }
        }
    }
}
