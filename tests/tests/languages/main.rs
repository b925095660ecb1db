//! Each language does what any language has to: its programs are in `tests/languages`.

use std::{collections::BTreeMap, fs};

use sandfleet_common::{Job, JobResult, Verdict};
use sandfleet_tests::Installation;
use sandfleet_worker::admission::catalogue::Catalogue;
use serde::Deserialize;
use serde_json::json;

const UNICODE: &str = "žluťoučký kůň 日本語 🦀\n";

/// The programs of one language.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Programs {
    /// Prints its stdin.
    echo: String,
    /// Ends with an error that says "it failed".
    fail: String,
    /// Is no program.
    broken: String,
    /// Never ends.
    spin: String,
    /// Takes memory without end.
    hoard: String,
    /// What it says itself when that is all, where its own bound is below the job's.
    hoard_fails: Option<String>,
    /// Prints letters, ideographs and an emoji.
    unicode: String,
    /// Writes `made` into out.txt.
    artifact: String,
}

/// Runs all programs of `language` in one batch, in a sandbox of its own.
async fn all_of(language: &str, sandbox: &str, place: &Installation) {
    let path = format!("{}/languages/{language}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("each language has its programs");
    let programs: Programs = toml::from_str(&text).expect("the programs of a language");
    let catalogue = Catalogue::embedded();
    let (_, known) = catalogue.find(language).expect("built in");
    let is_compiled = known.compile.is_some();

    let stdin = "1 2 3\nžluťoučký 🦀\n";
    let job = |id: &str, code: &str| {
        let mut job = Job::new(language, code);
        job.job_id = id.parse().expect("an id");
        job.limits.wall_time_ms = Some(20_000);
        job.limits.cpu_time_ms = Some(10_000);
        job.limits.memory_bytes = Some(512 << 20);
        job
    };
    let mut echo = job("echo", &programs.echo);
    echo.stdin = Some(stdin.into());
    let mut artifact = job("artifact", &programs.artifact);
    artifact.artifacts = vec!["out.txt".into()];
    let mut spin = job("spin", &programs.spin);
    spin.limits.cpu_time_ms = Some(2_000);
    let jobs = [
        job("hello", &known.hello),
        echo,
        job("fail", &programs.fail),
        job("broken", &programs.broken),
        spin,
        job("hoard", &programs.hoard),
        job("unicode", &programs.unicode),
        artifact,
    ];
    let results = batch(&jobs, sandbox, place).await;

    let result = |id: &str| &results[id];
    let stdout = |id: &str| {
        let result = result(id);
        assert_eq!(result.verdict, Some(Verdict::Accepted), "{language}, {id}: {result:#?}");
        result.run.as_ref().expect("it ran").stdout.as_str()
    };
    let stderr = |id: &str| result(id).run.as_ref().expect("it ran").stderr.as_str();
    let verdict = |id: &str| result(id).verdict.expect("it has one");
    assert_eq!(stdout("hello"), "Hello, world!\n", "{language}");
    assert_eq!(stdout("echo"), stdin, "{language}");
    assert_eq!(stdout("unicode"), UNICODE, "{language}");
    assert_eq!(verdict("fail"), Verdict::RuntimeError, "{language}: {:#?}", result("fail"));
    assert!(stderr("fail").contains("it failed"), "{language}: {:#?}", result("fail"));
    let refused = if is_compiled { Verdict::CompilationError } else { Verdict::RuntimeError };
    assert_eq!(verdict("broken"), refused, "{language}: {:#?}", result("broken"));
    assert_eq!(verdict("spin"), Verdict::TimeLimitExceeded, "{language}: {:#?}", result("spin"));
    match &programs.hoard_fails {
        None => assert_eq!(
            verdict("hoard"),
            Verdict::MemoryLimitExceeded,
            "{language}: {:#?}",
            result("hoard")
        ),
        Some(said) => {
            assert_eq!(verdict("hoard"), Verdict::RuntimeError, "{language}");
            assert!(stderr("hoard").contains(said), "{language}: {:#?}", result("hoard"));
        }
    }
    assert_eq!(stdout("artifact"), "", "{language}");
    let made = &result("artifact").artifacts;
    assert_eq!(made.len(), 1, "{language}: {made:#?}");
    let content = made[0].encoding.decode(&made[0].content).expect("what came back");
    assert_eq!((made[0].name.as_str(), content.as_slice()), ("out.txt", &b"made\n"[..]));
}

async fn batch(jobs: &[Job], sandbox: &str, place: &Installation) -> BTreeMap<String, JobResult> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("jobs.jsonl");
    let lines: Vec<String> = jobs.iter().map(|job| json!(job).to_string() + "\n").collect();
    fs::write(&file, lines.concat()).expect("written");
    let file = file.to_str().expect("a path that is text");
    let run = ["run", "--sandbox", sandbox, "--batch", file, "--concurrency", "2"];
    let ended = place.run(&run).await;
    assert_eq!(ended.stdout.lines().count(), jobs.len(), "{ended:#?}");
    let results = ended.stdout.lines().map(|line| {
        let result: JobResult = serde_json::from_str(line).expect("a result");
        (result.job_id.to_string(), result)
    });
    results.collect()
}

/// With each language's own image, which `tests/run languages` builds.
fn with_images() -> Installation {
    let images = std::env::var("SANDFLEET_TEST_IMAGES").expect("run `bash tests/run languages`");
    Installation::fresh()
        .set("IMAGES_DIRECTORY", &images)
        .set("SANDBOX_IMAGE", "sandfleet/{image}:latest")
}

macro_rules! languages {
    ($($name:ident: $language:literal)+) => {
        /// With the host's programs.
        mod native {
            $(#[tokio::test]
            async fn $name() {
                super::all_of($language, "native", &super::Installation::fresh()).await;
            })+
        }

        /// With those of each language's image.
        mod image {
            $(#[tokio::test]
            async fn $name() {
                super::all_of($language, "native", &super::with_images()).await;
            })+
        }

        mod docker_image {
            $(#[tokio::test]
            async fn $name() {
                super::all_of($language, "docker", &super::with_images()).await;
            })+
        }
    };
}

languages! {
    bash: "bash"
    c: "c"
    cpp: "cpp"
    go: "go"
    java: "java"
    javascript: "javascript"
    lua: "lua"
    perl: "perl"
    php: "php"
    python: "python"
    python_data: "python-data"
    r: "r"
    ruby: "ruby"
    rust: "rust"
    sqlite: "sqlite"
    typescript: "typescript"
}

/// What the one image of deploy/images/build has.
mod docker {
    #[tokio::test]
    async fn python() {
        super::all_of("python", "docker", &super::Installation::fresh()).await;
    }

    #[tokio::test]
    async fn c() {
        super::all_of("c", "docker", &super::Installation::fresh()).await;
    }
}
