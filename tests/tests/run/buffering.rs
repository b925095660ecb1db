//! What a killed program had printed, by how its language buffers its stdout.

use sandfleet_common::Verdict;
use sandfleet_tests::Installation;

use crate::Programs;

const C: &str = "#include <stdio.h>\n#include <unistd.h>\n\
                 int main(void) { printf(\"first\\nunfinished\"); sleep(60); }\n";

#[tokio::test]
async fn a_line_buffered_program_keeps_its_lines_when_it_is_killed() {
    let programs = Programs::new();
    let c = programs.write("main.c", C);
    let bash = programs.write("main.sh", "printf 'first\\n' | sed s/x/y/; sleep 60\n");
    let python = programs.write("main.py", "import time\nprint('first')\ntime.sleep(60)\n");
    for sandbox in ["native", "docker"] {
        let installation = Installation::fresh();
        let run = async |script: &str, flags: &[&str]| {
            let arguments = ["run", "--json", "--sandbox", sandbox, "--limit", "wall_time_ms=1000"];
            let result = installation.run(&[&arguments, flags, &[script]].concat()).await.result();
            assert_eq!(result.verdict, Some(Verdict::TimeLimitExceeded), "{sandbox}: {result:#?}");
            result.run.expect("it ran").stdout
        };
        // As on any host: it is lost in the program's buffer.
        assert_eq!(run(&c, &[]).await, "", "{sandbox}");
        for script in [&c, &bash, &python] {
            assert_eq!(run(script, &["--line-buffered"]).await, "first\n", "{sandbox} {script}");
        }
        // A library of the job's own stays beside it.
        let own = ["--line-buffered", "--env", "LD_PRELOAD=/usr/lib/none.so"];
        assert_eq!(run(&c, &own).await, "first\n", "{sandbox}");
    }
}
