//! Programs of languages that are compiled: the compiler has a container and limits of its own.

use sandfleet_common::{JobResult, Verdict};
use sandfleet_tests::Installation;

use crate::Programs;

const SANDBOXES: [&str; 2] = ["native", "docker"];

async fn run(installation: &Installation, sandbox: &str, code: &str, more: &[&str]) -> JobResult {
    let programs = Programs::new();
    let script = programs.write("main.c", code);
    let arguments = [&["run", "--sandbox", sandbox, "--json", &script], more].concat();
    installation.run(&arguments).await.result()
}

#[tokio::test]
async fn a_program_is_compiled_once_and_runs_with_its_own_limits() {
    let code = "
        #include <math.h>
        #include <stdio.h>
        #include <unistd.h>
        #include <sys/stat.h>
        int main(int count, char **words) {
            struct stat made;
            if (stat(\"a.out\", &made)) return 2;
            printf(\"%s %.3f %ld %o %d\\n\", words[1], sqrt(count), __STDC_VERSION__,
                   made.st_mode & 0777, access(\"main.c\", R_OK));
            return 0;
        }";
    for sandbox in SANDBOXES {
        // Less than a compiler needs, and a file where the program is made.
        let (programs, limits) = (Programs::new(), ["memory_bytes=16777216", "processes=1"]);
        let old = programs.write("a.out", "old");
        let more =
            ["--limit", limits[0], "--limit", limits[1], "--arg", "-x", "--file", old.as_str()];
        let result = run(&Installation::fresh(), sandbox, code, &more).await;
        assert_eq!(result.verdict, Some(Verdict::Accepted), "{sandbox}: {result:#?}");
        assert_eq!(result.run.expect("it ran").stdout, "-x 1.414 201710 555 0\n", "{sandbox}");
        let compile = result.compile.expect("it was compiled");
        assert_eq!(compile.exit_code, Some(0), "{sandbox}");
        assert!(compile.usage.cpu_time_ms > 0 && result.timing.compile_ms > 0, "{sandbox}");
    }
}

#[tokio::test]
async fn what_does_not_compile_has_its_own_verdict_and_the_compilers_words() {
    let code = "#warning first\nint main(void) { return nothing; }\n";
    for sandbox in SANDBOXES {
        let result = run(&Installation::fresh(), sandbox, code, &[]).await;
        assert_eq!(result.verdict, Some(Verdict::CompilationError), "{sandbox}: {result:#?}");
        let message = result.message.to_string();
        assert!(
            message.starts_with("did not compile: main.c:2:") && message.contains("nothing"),
            "{sandbox}: {message}"
        );
        let compile = result.compile.expect("it was tried");
        assert!(compile.output.stderr.contains("#warning first"), "{sandbox}");
        assert!(result.usage.is_none() && result.exit_code.is_none(), "{sandbox}: nothing ran");
        // For readers who know nothing of compilers.
        let run = result.run.expect("the compiler's words");
        assert_eq!((run.stdout.as_str(), run.stderr), ("", compile.output.stderr), "{sandbox}");
    }
}

#[tokio::test]
async fn the_compilers_words_are_seen_by_who_runs_a_program() {
    let programs = Programs::new();
    let script = programs.write("main.c", "int main(void) { return nothing; }\n");
    let ran = Installation::fresh().run(&["run", "--sandbox", "native", &script]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran:#?}");
    assert!(ran.stderr.contains("main.c:1:25: error:"), "{ran:#?}");
    assert!(ran.stderr.contains("\nsandfleet: compilation_error: did not compile"), "{ran:#?}");
}

#[tokio::test]
async fn a_compiler_has_limits_of_its_own_and_never_the_jobs() {
    let endless = "#include \"/dev/zero\"\nint main(void) { return 0; }\n";
    let large = "char much[96 << 20] = {1}; int main(void) { return 0; }\n";
    let open = "#include <stdio.h>\nint main(void) { return !fopen(\"main.c\", \"r\"); }\n";
    for sandbox in SANDBOXES {
        let installation = Installation::fresh()
            .set("LIMITS_COMPILE_WALL_TIME_MS", "4000")
            .set("LIMITS_COMPILE_MEMORY_BYTES", "134217728");
        for code in [endless, large] {
            let result =
                run(&installation, sandbox, code, &["--limit", "memory_bytes=1073741824"]).await;
            assert_eq!(result.verdict, Some(Verdict::CompilationError), "{sandbox}: {result:#?}");
            assert!(result.timing.compile_ms < 15_000, "{sandbox}: {:?}", result.timing);
        }
        let result = run(&installation, sandbox, open, &["--env", "CPATH=/nowhere"]).await;
        assert_eq!(result.verdict, Some(Verdict::Accepted), "{sandbox}: {result:#?}");
    }
}
