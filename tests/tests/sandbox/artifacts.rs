//! Which files come back, and which do not.

use sandfleet_common::{Encoding, Job, JobResult, Verdict};
use sandfleet_worker::sandbox::Sandbox;

use crate::{
    bench::{python, run},
    input::file,
};

fn names(result: &JobResult) -> Vec<&str> {
    result.artifacts.iter().map(|artifact| artifact.name.as_str()).collect()
}

fn content(result: &JobResult, name: &str) -> Vec<u8> {
    let artifact = result.artifacts.iter().find(|artifact| artifact.name == name).expect(name);
    let bytes = artifact.encoding.decode(&artifact.content).expect("as it says");
    assert_eq!(artifact.size_bytes, bytes.len() as u64);
    bytes
}

pub(crate) async fn matching_files_come_back_intact(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import hashlib, os
        os.makedirs('plots/deep')
        big = bytes(range(256)) * 8192
        open('plots/deep/big.png', 'wb').write(big)
        open('plots/empty.png', 'w')
        open('table.csv', 'w').write('a,b\\n1,ä\\n')
        open('unasked.txt', 'w').write('no')
        print(hashlib.sha256(big).hexdigest(), end='')
        ",
    );
    job.artifacts = vec!["plots/**/*.png".into(), "*.csv".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(names(&result), ["table.csv", "plots/empty.png", "plots/deep/big.png"]);
    let big: Vec<u8> = (0..=255).cycle().take(256 * 8192).collect();
    assert!(content(&result, "plots/deep/big.png") == big, "2 MiB come back as they were");
    assert_eq!(content(&result, "plots/empty.png"), b"");
    assert_eq!(content(&result, "table.csv"), "a,b\n1,ä\n".as_bytes());
    assert_eq!(result.artifacts[2].sha256, result.run.expect("it ran").stdout);
    assert_eq!(result.artifacts[2].content_type, "image/png");
    assert_eq!(result.artifacts_skipped, [""; 0]);
}

pub(crate) async fn inputs_come_back_only_when_changed(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os
        open('read.txt').read()
        open('appended.txt', 'a').write('!')
        open('new', 'w').write('same')
        os.replace('new', 'replaced.txt')
        # The same length, and the times as they were.
        times = os.stat('forged.txt')
        open('forged.txt', 'r+').write('FORGED')
        os.utime('forged.txt', ns=(times.st_atime_ns, times.st_mtime_ns))
        ",
    );
    let inputs = [
        ("read.txt", "r"),
        ("appended.txt", "a"),
        ("replaced.txt", "same"),
        ("forged.txt", "before"),
    ];
    job.files = inputs.map(|(name, text)| file(name, text, Encoding::Utf8)).to_vec();
    job.artifacts = vec!["**/*".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(names(&result), ["appended.txt", "forged.txt", "replaced.txt"]);
    assert_eq!(content(&result, "forged.txt"), b"FORGED");
}

/// Programs that look at a file's age: an archive, what is newer than what, and make.
pub(crate) async fn inputs_are_as_old_as_the_job(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os, subprocess, time, zipfile
        ages = {name: time.time() - os.stat(name).st_mtime for name in ['a.csv', 'deep/b.csv']}
        print(all(0 < age < 60 for age in ages.values()))
        print(len({os.stat(name).st_mtime_ns for name in [*ages, 'main.py']}))
        with zipfile.ZipFile('all.zip', 'w') as archive:
            [archive.write(name) for name in ages]
        print(zipfile.ZipFile('all.zip').namelist())
        open('made', 'w').write('x')
        newer = lambda this, that: subprocess.run(
            ['find', this, '-newer', that], capture_output=True, text=True, check=True).stdout
        print(repr(newer('made', 'a.csv')), repr(newer('a.csv', 'made')))
        ",
    );
    job.files = ["a.csv", "deep/b.csv"].map(|name| file(name, "1,2", Encoding::Utf8)).to_vec();
    job.artifacts = vec!["**".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(
        result.run.as_ref().expect("it ran").stdout,
        "True\n1\n['a.csv', 'deep/b.csv']\n'made\\n' ''\n",
        "{result:#?}"
    );
    assert_eq!(names(&result), ["all.zip", "made"]);
}

/// The first thing that a program does, in the second and most likely in the clock tick in which its
/// inputs were written.
pub(crate) async fn an_input_that_is_rewritten_at_once_with_the_same_size_is_an_artifact(
    sandbox: &dyn Sandbox,
) {
    let mut job = Job::new("bash", "echo 1,3 > a.csv; : < b.csv\n");
    job.files = ["a.csv", "b.csv"].map(|name| file(name, "1,2\n", Encoding::Utf8)).to_vec();
    job.artifacts = vec!["**".into()];
    for _ in 0..5 {
        let result = run(sandbox, &job).await;
        assert_eq!(names(&result), ["a.csv"]);
        assert_eq!(content(&result, "a.csv"), b"1,3\n");
    }
}

pub(crate) async fn what_is_no_plain_file_is_refused_with_a_sentence(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        import os
        os.symlink('/etc/passwd', 'link')
        os.symlink('/', 'root')
        os.mkfifo('pipe')
        open('one', 'w').write('x')
        os.link('one', 'two')
        open('secret', 'w').write('x')
        os.chmod('secret', 0)
        open(b'not\\xfftext', 'w').write('x')
        open('line\\nbreak', 'w').write('x')
        open('plain', 'w').write('x')
        ",
    );
    job.artifacts = vec!["**/*".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(names(&result), ["plain"]);
    let expected = [
        ("link: ", "symbolic link"),
        ("root: ", "symbolic link"),
        ("pipe: ", "named pipe"),
        ("one: ", "hard links"),
        ("two: ", "hard links"),
        ("secret: ", "can't be read"),
        ("\"not\\xFFtext\": ", "not plain text"),
        ("\"line\\nbreak\": ", "not plain text"),
    ];
    for (start, part) in expected {
        let said = result
            .artifacts_skipped
            .iter()
            .any(|sentence| sentence.starts_with(start) && sentence.contains(part));
        assert!(said, "{start}{part} is not in {:#?}", result.artifacts_skipped);
    }
    assert_eq!(result.artifacts_skipped.len(), expected.len(), "{:#?}", result.artifacts_skipped);
}

pub(crate) async fn a_directory_that_is_asked_for_by_name_is_refused_with_a_sentence(
    sandbox: &dyn Sandbox,
) {
    let mut job = python("import os; os.mkdir('plots'); open('plots/a', 'w').write('x')");
    job.artifacts = vec!["plots".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(names(&result), [""; 0]);
    assert_eq!(result.artifacts_skipped.len(), 1, "{:#?}", result.artifacts_skipped);
    assert!(result.artifacts_skipped[0].starts_with("plots: a directory"));
}

pub(crate) async fn more_bytes_than_agreed_are_refused(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        open('a', 'w').write('x' * 600)
        open('b', 'w').write('x' * 600)
        open('c', 'w').write('x' * 400)
        open('holes', 'w').truncate(50 << 20)
        ",
    );
    job.artifacts = vec!["*".into()];
    job.limits.artifact_bytes = Some(1000);
    let result = run(sandbox, &job).await;
    assert_eq!(names(&result), ["a", "c"]);
    for (start, size) in [("b: ", "600 bytes"), ("holes: ", "52428800 bytes")] {
        let said = result.artifacts_skipped.iter().any(|sentence| {
            sentence.starts_with(start)
                && sentence.contains(size)
                && sentence.contains("artifact_bytes")
        });
        assert!(said, "{start}{size} is not in {:#?}", result.artifacts_skipped);
    }
}

pub(crate) async fn more_files_than_agreed_are_refused(sandbox: &dyn Sandbox) {
    let mut job = python(
        "
        for number in range(200):
            open(f'{number:03}.txt', 'w').write('x')
        ",
    );
    job.artifacts = vec!["*.txt".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::Accepted));
    assert_eq!(names(&result).len(), 200, "as many as people make frames");
    assert_eq!(result.limits_hit, []);

    job.limits.artifact_count = Some(64);
    let result = run(sandbox, &job).await;
    assert_eq!(names(&result).len(), 64);
    let last = result.artifacts_skipped.last().expect("something was refused");
    assert_eq!(last, "72 more", "{:#?}", result.artifacts_skipped);
    let first = &result.artifacts_skipped[0];
    assert!(first.ends_with(": more artifacts than artifact_count = 64"), "{first}");
}

pub(crate) async fn artifacts_come_back_from_a_program_that_was_ended(sandbox: &dyn Sandbox) {
    let mut job = python("import time; open('partial', 'w').write('so far'); time.sleep(1000)");
    job.limits.wall_time_ms = Some(700);
    job.artifacts = vec!["partial".into()];
    let result = run(sandbox, &job).await;
    assert_eq!(result.verdict, Some(Verdict::TimeLimitExceeded));
    assert_eq!(content(&result, "partial"), b"so far");
}
