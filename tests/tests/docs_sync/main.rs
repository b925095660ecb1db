//! Promises about the code itself: what depends on what, and that the pages agree with it.

mod mutations;
mod pages;
mod protocol;
mod threat_model;

use std::{fs, path::Path, process::Command};

use serde_json::Value;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the checkout")
}

/// What stands between backticks on a page.
fn quoted(page: &str) -> impl Iterator<Item = &str> {
    page.split('`').skip(1).step_by(2)
}

fn entries_of_the_corpus() -> Vec<String> {
    let path = top().join("tests/hostile/manifest.json");
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("the manifest")).expect("JSON");
    let entries = manifest["entries"].as_array().expect("a list");
    let text = |entry: &Value, field: &str| entry[field].as_str().expect("text").to_owned();
    entries
        .iter()
        .map(|entry| format!("{}/{}", text(entry, "group"), text(entry, "name")))
        .collect()
}

/// Every file of the checkout that isn't made by a build, as paths from its top.
fn files_below(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory of the checkout").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type().expect("its kind").is_dir() {
            true => files_below(&path, found),
            false => {
                let path = path.strip_prefix(top()).expect("it is below the top");
                found.push(path.to_str().expect("a plain name").to_owned());
            }
        }
    }
}

#[test]
fn the_protocol_crate_has_no_runtime_and_no_client() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "-p", "sandfleet-common", "-e", "normal"])
        .args(["--prefix", "none"])
        .current_dir(top())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8_lossy(&output.stdout);
    assert!(tree.contains("serde_json"), "not the tree that was asked for: {tree}");
    for heavy in ["tokio", "lapin", "redis", "bollard", "hyper"] {
        let found = tree.lines().find(|line| line.split(' ').next() == Some(heavy));
        assert_eq!(found, None, "sandfleet-common depends on {heavy}");
    }
}

#[test]
fn the_apparmor_profile_is_one() {
    let profile = top().join("deploy/apparmor/sandfleet-sandbox");
    let text = fs::read_to_string(&profile).expect("the profile");
    assert!(text.contains("\nprofile sandfleet-sandbox "), "its name is what the settings say");
    // Only its own parser knows the language; it needs no kernel that has AppArmor.
    let parsed = Command::new("apparmor_parser")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(["--skip-kernel-load", "--skip-cache"])
        .arg(&profile)
        .output();
    let output = parsed.unwrap_or_else(|error| {
        panic!("apparmor_parser: {error}; install the package apparmor, as `bash tests/run` does")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The parts of a group of imports, up to its closing brace.
fn outermost(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// As docs/architecture.md says.
#[test]
fn the_queue_knows_no_other_stage() {
    let mut files = Vec::new();
    files_below(&top().join("worker/src"), &mut files);
    let own: Vec<_> = files.iter().filter(|file| file.starts_with("worker/src/queue/")).collect();
    assert!(own.len() > 3, "{own:?}");
    for file in own {
        let source = fs::read_to_string(top().join(file)).expect("it is listed");
        for used in source.split("crate::").skip(1) {
            // `use crate::{a::b, c}` names a module after each comma of the outer braces.
            let names: Vec<&str> = match used.strip_prefix('{') {
                Some(group) => outermost(group),
                None => vec![used],
            };
            // What the host has left, how long to wait before a retry, how an error is written, and who watches are no
            // stages.
            let allowed = ["queue", "pauses", "host", "causes", "trouble", "hooks", "labels"];
            for name in names {
                let module = name.trim().split(|c: char| !c.is_alphanumeric()).next();
                assert!(module.is_some_and(|it| allowed.contains(&it)), "{file} uses {name}");
            }
        }
    }
}
