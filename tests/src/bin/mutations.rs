//! Removes one barrier of the sandbox or one rule of a job's path at a time, and shows which hostile programs
//! and tests fail without it.
//!
//! The removal is an edit of the source, a mutant: what is shipped has no switch for it. The mutated copy of the
//! workspace is under `target/mutations`, with a build directory of its own. A surviving mutant, which no program
//! and no test detects, means that a test is missing, and fails the run.
//!
//! `bash tests/run mutations [NAME…]`; the edits are in `tests/hostile/mutations.json` and, each
//! called `chaos: …`, in `tests/tests/chaos/mutations.json`.
//! Barriers without which bounded programs could harm the host are not among them: the network, mount and
//! host name namespaces.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use sandfleet_tests::Mutation;

/// The workspace and its mutated copy.
struct Trees {
    original: PathBuf,
    mutated: PathBuf,
    target: PathBuf,
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(survivors) => {
            eprintln!(
                "a surviving mutant fails the run: {survivors} survived; add a test for each"
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mutations: {error:#}");
            ExitCode::from(70)
        }
    }
}

fn run() -> anyhow::Result<usize> {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace")?;
    let home = original.join("target/mutations");
    let trees = Trees {
        original: original.to_owned(),
        mutated: home.join("tree"),
        target: home.join("target"),
    };
    let mut mutations = Mutation::all(original)?;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if !wanted.is_empty() {
        mutations.retain(|mutation| wanted.iter().any(|name| mutation.barrier.contains(name)));
    }
    ensure!(!mutations.is_empty(), "no mutation's name contains any of {wanted:?}");

    trees.refresh()?;
    // A program or a test that fails without any mutation shows nothing.
    for runtime in ["native", "docker", "gvisor"] {
        let named = mutations.iter().filter(|mutation| mutation.runtime == runtime);
        let programs: BTreeSet<String> =
            named.clone().flat_map(|mutation| mutation.programs.iter().cloned()).collect();
        if named.count() > 0 {
            trees.build(runtime)?;
        }
        if !programs.is_empty() {
            let red = trees.red_programs(runtime, &programs.into_iter().collect::<Vec<_>>())?;
            ensure!(red.is_empty(), "failing without any mutation: {red:?}");
        }
    }
    let mut tests: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    for mutation in &mutations {
        tests.entry(mutation.binary.as_deref()).or_default().extend(mutation.test.as_deref());
    }
    for (binary, tests) in tests.into_iter().filter(|(_, tests)| !tests.is_empty()) {
        let red = trees.failed_tests(&format!("({})", tests.join(") or (")), binary)?;
        ensure!(red.is_empty(), "failing without any mutation: {red:?}");
    }
    println!("{:40} {:8} {:>7}  detected by", "mutant", "runtime", "seconds");
    let mut survivors = 0;
    for mutation in &mutations {
        let begun = Instant::now();
        let red = trees.try_without(mutation);
        trees.refresh()?;
        let red = red.with_context(|| format!("without {}", mutation.barrier))?;
        survivors += usize::from(red.is_empty());
        let shown = if red.is_empty() { "SURVIVED".to_owned() } else { red.join(", ") };
        let seconds = begun.elapsed().as_secs();
        println!("{:40} {:8} {seconds:>7}  {shown}", mutation.barrier, mutation.runtime);
    }
    println!("{} mutants, {survivors} survived", mutations.len());
    Ok(survivors)
}

impl Trees {
    /// Makes the copy as the original is. Only what differs is written, so that little is built.
    fn refresh(&self) -> anyhow::Result<()> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.original)
            .output()?;
        ensure!(listed.status.success(), "git ls-files failed in {}", self.original.display());
        for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            let (from, to) = (self.original.join(name), self.mutated.join(name));
            if !from.is_file() {
                continue;
            }
            let wanted = fs::read(&from).with_context(|| from.display().to_string())?;
            if fs::read(&to).is_ok_and(|found| found == wanted) {
                continue;
            }
            fs::create_dir_all(to.parent().context("a directory")?)?;
            fs::write(&to, wanted)?;
            fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        }
        Ok(())
    }

    fn try_without(&self, mutation: &Mutation) -> anyhow::Result<Vec<String>> {
        for edit in &mutation.edits {
            let mutated = edit.apply(&self.mutated)?;
            fs::write(self.mutated.join(&edit.file), mutated)?;
        }
        self.build(&mutation.runtime)?;
        let mut red = Vec::new();
        if !mutation.programs.is_empty() {
            red.extend(self.red_programs(&mutation.runtime, &mutation.programs)?);
        }
        if let Some(test) = &mutation.test {
            red.extend(self.failed_tests(test, mutation.binary.as_deref())?);
        }
        Ok(red)
    }

    fn build(&self, runtime: &str) -> anyhow::Result<()> {
        let mut cargo = self.command("cargo");
        // With the packages that nextest builds, so that dependencies have the same features and are built once.
        cargo.args(["build", "--quiet", "--locked", "--bin", "sandfleet"]);
        cargo.args(["-p", "sandfleet-worker", "-p", "sandfleet-tests"]);
        succeed(&mut cargo)?;
        if runtime != "native" {
            let host = std::env::var("SANDFLEET_TEST_DOCKER_HOST")?;
            let mut build = self.command("deploy/images/build");
            build.args(["--docker-host", &host, "--tag", IMAGE]);
            succeed(build.env("SANDFLEET_BIN", self.target.join("debug/sandfleet")))?;
        }
        Ok(())
    }

    /// Those of `programs` whose verdict isn't the expected one.
    fn red_programs(&self, runtime: &str, programs: &[String]) -> anyhow::Result<Vec<String>> {
        let mut nextest = self.nextest(&format!("test(/^{runtime}::/)"), Some("hostile"));
        nextest.arg("--no-capture").env("SANDFLEET_TEST_HOSTILE_ONLY", programs.join(","));
        let printed = nextest.output()?;
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        let red: Vec<String> = marked(&text, "FAILED");
        let ran = red.len() + marked(&text, "ok").len();
        if ran < programs.len() {
            let errors = String::from_utf8_lossy(&printed.stderr).into_owned();
            bail!("only {ran} of {programs:?} ran:\n{text}\n{errors}");
        }
        Ok(red)
    }

    fn failed_tests(&self, test: &str, binary: Option<&str>) -> anyhow::Result<Vec<String>> {
        let mut nextest = self.nextest(test, binary);
        let printed = nextest.env("SANDFLEET_TEST_CHAOS", "impatient").output()?;
        let text = String::from_utf8_lossy(&printed.stderr).into_owned();
        ensure!(text.contains("Summary"), "the tests did not run:\n{text}");
        let failed = text.lines().filter_map(|line| {
            let name = line.trim().strip_prefix("FAIL [")?.rsplit_once(' ')?.1;
            Some(name.to_owned())
        });
        Ok(failed.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Builds only the test `binary`, or all if there is none, and runs what `expression` selects.
    fn nextest(&self, expression: &str, binary: Option<&str>) -> Command {
        let mut nextest = self.command("cargo");
        nextest
            .args(["nextest", "run", "-p", "sandfleet-tests", "--locked", "-j", "1"])
            .args(["--no-fail-fast", "-E", expression])
            .args(binary.map(|binary| ["--test", binary]).into_iter().flatten())
            .env("SANDFLEET_TEST_IMAGE", IMAGE)
            .env("SANDFLEET_TEST_BIN", self.target.join("debug/sandfleet"));
        nextest
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.mutated)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never")
            // Most of the time would go to an agent that is as small as it can be.
            .env("CARGO_PROFILE_AGENT_LTO", "off")
            .env("CARGO_PROFILE_AGENT_CODEGEN_UNITS", "16")
            .stdin(Stdio::null());
        command
    }
}

/// Not the image that other tests use.
const IMAGE: &str = "sandfleet/mutation:latest";

/// The second word of every line whose first is `mark`.
fn marked(text: &str, mark: &str) -> Vec<String> {
    let entries = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(mark)).then(|| words.next().map(str::to_owned)).flatten()
    });
    entries.collect()
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let printed = command.output().with_context(|| format!("{command:?}"))?;
    let errors = String::from_utf8_lossy(&printed.stderr);
    ensure!(printed.status.success(), "{command:?} failed:\n{errors}");
    Ok(())
}
