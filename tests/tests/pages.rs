//! README.md and CONTRIBUTING.md against what they restate: suites, commands, figures, the picture.

use std::{fs, path::Path, process::Command};

fn read(file: &str) -> String {
    let top =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the checkout");
    fs::read_to_string(top.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines of a page's shell blocks, without their comments.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.split(" #").next());
    lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// What `tests/run` accepts as a suite.
fn suites() -> Vec<String> {
    let script = read("tests/run");
    let accepted = script.split("case ${1-} in\n").nth(1).and_then(|rest| rest.split(')').next());
    let accepted = accepted.expect("tests/run reads its suite in a case");
    accepted.split('|').map(|suite| suite.trim().to_owned()).collect()
}

/// The words after `bash tests/run` on a page.
fn named_suites(page: &str) -> Vec<String> {
    let named = page.split("bash tests/run").skip(1).filter_map(|rest| {
        let word = rest.strip_prefix(' ')?.split(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        word.into_iter().next().map(str::to_owned)
    });
    named.filter(|word| !word.is_empty() && !word.starts_with('-')).collect()
}

#[test]
fn contributing_lists_every_suite_and_pages_name_no_other() {
    let suites = suites();
    assert!(suites.len() > 8 && suites.iter().any(|suite| suite == "hostile"), "{suites:?}");
    let contributing = read("CONTRIBUTING.md");
    for suite in suites.iter().filter(|suite| *suite != "default") {
        let command = format!("`bash tests/run {suite}");
        let is_listed = contributing.lines().any(|line| line.starts_with(&format!("| {command}")));
        assert!(is_listed, "the table of CONTRIBUTING.md lacks {command}`");
    }
    assert!(contributing.contains("| `bash tests/run` |"), "the default suite has no name there");
    for page in ["README.md", "CONTRIBUTING.md", "docs/hardening.md", "docs/scaling.md"] {
        for named in named_suites(&read(page)) {
            assert!(suites.contains(&named), "{page}: tests/run has no suite {named}");
        }
    }
}

#[test]
fn the_readmes_commands_have_the_options_that_it_gives_them() {
    let binary = std::env::var("SANDFLEET_TEST_BIN").expect("tests/run sets SANDFLEET_TEST_BIN");
    let mut checked = 0;
    for line in commands(&read("README.md")) {
        let own = line.split_once("$(").map_or(line.as_str(), |(_, inner)| inner);
        let own = own.trim_start_matches("cargo run --release -- ");
        let mut words = own.trim_start_matches("sandfleet ").split_whitespace();
        if own == line && !line.starts_with("sandfleet ") {
            continue;
        }
        let command = words.next().expect("a command");
        let output = Command::new(&binary).args([command, "--help"]).output().expect("it runs");
        assert!(output.status.success(), "README.md: {line}: there is no {command}");
        let help = String::from_utf8(output.stdout).expect("text");
        for option in words.filter(|word| word.starts_with("--")) {
            let is_there = help.split_whitespace().any(|word| word == option);
            assert!(is_there, "README.md: {line}: {command} has no {option}");
        }
        checked += 1;
    }
    assert!(checked > 10, "only {checked} commands were found");
}

/// The rows of the first table below a heading, as cells.
fn table<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = page.split_once(heading).unwrap_or_else(|| panic!("no {heading}")).1;
    let rows = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_headline_numbers_are_those_of_the_results() {
    let (readme, results) = (read("README.md"), read("docs/performance/results.md"));
    let rows = table(&readme, "## Headline numbers");
    assert!(rows.len() > 5, "{rows:?}");
    for row in &rows[2..] {
        let is_measured = results.lines().any(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            row[1..].iter().all(|figure| cells.contains(figure))
        });
        assert!(is_measured, "no row of docs/performance/results.md has {row:?}");
    }
}

#[test]
fn the_picture_shows_the_readmes_first_command() {
    let first = commands(&read("README.md")).into_iter().find(|line| line.starts_with("cargo run"));
    let first = first.expect("the first command builds and runs");
    let arguments = first.strip_prefix("cargo run --release -- ").expect("it is a release build");
    let picture = read("docs/first-run.svg");
    assert!(picture.contains(&format!(">$ sandfleet {arguments}<")), "run docs/first-run again");
    assert!(picture.contains(">sandfleet: accepted: exit code 0 "), "run docs/first-run again");
}

#[test]
fn every_project_of_the_comparison_has_its_sources() {
    let (readme, sources) = (read("README.md"), read("docs/peers.md"));
    let rows = table(&readme, "## Comparison");
    let width = rows[0].len();
    assert!(rows.iter().all(|row| row.len() == width), "a row of the comparison lacks a cell");
    for project in &rows[0][2..] {
        assert!(sources.contains(&format!("**{project}.**")), "docs/peers.md lacks {project}");
        let is_dated = sources.lines().any(|line| line.starts_with(&format!("| [{project}")));
        assert!(is_dated, "docs/peers.md gives no commit of {project}");
    }
}

#[test]
fn suites_and_commands_are_found_in_a_page() {
    let page = "`bash tests/run`, bash tests/run --help\n```sh\nbash tests/run chaos-short  # all\n\n```\n";
    assert_eq!(named_suites(page), ["chaos-short"]);
    assert_eq!(commands(page), ["bash tests/run chaos-short"]);
}
