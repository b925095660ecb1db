//! Names that gave way to the field's own terms stay away: as files, modules, types, functions, fields,
//! settings, metrics and options.

use std::{fs, path::Path, process::Command};

/// Retired names that are no everyday words; what stands for each today is in docs/glossary.md or beside
/// the code.
const RETIRED: &[&str] = &[
    // The worker and a job's path.
    "Company",
    "Seat",
    "keep_announcing",
    "Finaliser",
    "finaliser",
    "Accounting",
    "insist",
    "give_back",
    "called_off",
    // Queues and stores.
    "Lanes",
    "Quarantine",
    "quarantine",
    "CountedQueue",
    "AmqpReceipt",
    "Reachable",
    "Places",
    "Alarm",
    "alarms",
    "ServerFacts",
    "Forgotten",
    // The SDK.
    "Ledger",
    "ledger",
    "Announcements",
    "Told",
    // Sandboxes.
    "conversation",
    "Talk",
    "Heard",
    "greet",
    "Patience",
    "Carrier",
    "is_awake",
    "Broken",
    "Forged",
    "fragile",
    "Fragile",
    "Watched",
    "Nursery",
    "nursery",
    "Territory",
    "territory",
    "SlotGroup",
    "slot_group",
    "is_worn",
    "is_forsaken",
    "fitness",
    "Shelf",
    "shelf",
    // The agent.
    "Looks",
    "looks",
    "Refusals",
    "own_kernel",
    "Copies",
    "copies",
    "Legacy",
    "furnish",
    "Birth",
    "Born",
    "Seal",
    "seal",
    "Sequences",
    "show_start",
    "bequeath",
    "forget_signal_effects",
    // The tests.
    "Ground",
    "Pair",
    "Relay",
    "relay",
    "Authority",
    "house",
    "Leftovers",
    "leftovers",
    "OwnBroker",
    "own_broker",
    "OwnRedis",
    "own_redis",
    // Settings, the wire, metrics.
    "tenant_places",
    "job_ttl_ms",
    "caps",
    "artifacts_refused",
    "job_stage_seconds",
    "worker_slot_seconds",
    "component_ready",
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above")
}

/// Files below `directory` whose names end in one of `ends`, as paths from the top.
fn files_below(directory: &Path, ends: &[&str], found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("readable").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            files_below(&path, ends, found);
        } else if ends.iter().any(|end| name.ends_with(end)) {
            let path = path.strip_prefix(top()).expect("below it").to_string_lossy();
            found.push(path.into_owned());
        }
    }
}

fn files(ends: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    files_below(top(), ends, &mut found);
    assert!(!found.is_empty(), "no file ends in {ends:?}");
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(top().join(file)).expect("readable")
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

fn is_retired(word: &str) -> bool {
    RETIRED.contains(&word)
}

/// What a line of Rust declares: an item, or a field.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("pub").map_or(line, |rest| {
        rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest)
    });
    let mut words = line.split_whitespace();
    let mut word = words.next()?;
    while ["async", "unsafe", "extern", "\"C\"", "const"].contains(&word) {
        word = words.next()?;
    }
    let items = ["struct", "enum", "trait", "fn", "mod", "type", "static"];
    let name = match items.contains(&word) {
        true => words.next()?,
        // A field, or a constant, whose keyword is gone by now.
        false => word.strip_suffix(':')?,
    };
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

#[test]
fn no_file_and_nothing_that_is_declared_has_a_retired_name() {
    let mut found = Vec::new();
    for file in files(&[".rs", ".lua"]) {
        let parts = file.trim_end_matches(".rs").trim_end_matches(".lua").split('/');
        found.extend(parts.filter(|part| is_retired(part)).map(|part| format!("{file}: {part}")));
        if file.ends_with("retired_names.rs") {
            continue;
        }
        let text = read(&file);
        let names = text.lines().filter_map(declared).filter(|name| is_retired(name));
        found.extend(names.map(|name| format!("{file}: {name}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_declaration_is_found_in_its_line() {
    for (line, name) in [
        ("pub(crate) struct Ledger {", "Ledger"),
        ("    pub(super) async unsafe fn greet(", "greet"),
        ("mod lanes;", "lanes"),
        ("    ledger: Arc<JobRecords>,", "ledger"),
        ("pub const Told: u8 = 1;", "Told"),
    ] {
        assert_eq!(declared(line), Some(name), "{line}");
    }
}

#[test]
fn no_page_names_a_retired_name_as_code() {
    let mut found = Vec::new();
    for file in files(&[".md"]).into_iter().filter(|file| file != "CHANGELOG.md") {
        let text = read(&file);
        // What stands between the first backtick and the second, the third and the fourth…
        let code = text.split('`').skip(1).step_by(2).flat_map(words);
        found.extend(code.filter(|word| is_retired(word)).map(|word| format!("{file}: {word}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_help_names_a_retired_option() {
    let binary = std::env::var("SANDFLEET_TEST_BIN").expect("tests/run sets SANDFLEET_TEST_BIN");
    let help = |arguments: &[&str]| {
        let output = Command::new(&binary).args(arguments).arg("--help").output();
        String::from_utf8(output.expect("it runs").stdout).expect("text")
    };
    let main = help(&[]);
    let commands = main.split("Commands:").nth(1).expect("it lists its commands");
    let commands = commands.split("\n\n").next().unwrap_or_default().lines();
    let commands: Vec<_> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 5, "{main}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let text = help(&[command]);
        let found: Vec<_> = words(&text).filter(|word| is_retired(word)).collect();
        assert!(found.is_empty(), "{command}: {found:?}");
    }
}
