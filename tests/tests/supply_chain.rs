//! Dependencies come from one registry, with a checksum each, under licences that deny.toml allows; Cargo.lock says
//! all of them. `bash tests/run supply-chain` checks more, with cargo-deny.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use spdx::{Expression, ParseMode};
use toml::Table;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the checkout")
}

fn toml(file: &str) -> Table {
    let text =
        fs::read_to_string(top().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.parse().unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What is wrong with where the packages of a lock file come from.
fn faults(lock: &Table) -> Vec<String> {
    let packages = lock["package"].as_array().expect("a list of packages");
    let fault = |package: &toml::Value| {
        let (name, source) = (&package["name"], package.get("source").and_then(|it| it.as_str()));
        let checksum = package.get("checksum").and_then(|it| it.as_str());
        match (source, checksum) {
            // This workspace's own.
            (None, None) if name.as_str()?.starts_with("sandfleet-") => None,
            (Some(CRATES_IO), Some(sum)) if sum.len() == 64 => None,
            _ => Some(format!("{name}: from {source:?} with checksum {checksum:?}")),
        }
    };
    packages.iter().filter_map(fault).collect()
}

#[test]
fn every_dependency_is_from_crates_io_with_its_checksum() {
    let lock = toml("Cargo.lock");
    assert!(lock["package"].as_array().is_some_and(|packages| packages.len() > 100));
    assert_eq!(faults(&lock), [""; 0]);
}

#[test]
fn a_dependency_from_elsewhere_or_without_a_checksum_is_found() {
    for package in [
        "name = \"a\"\nsource = \"git+https://example.org/a\"\nchecksum = \"00\"",
        "name = \"a\"\nsource = \"registry+https://example.org/index\"\nchecksum = \"00\"",
        "name = \"a\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"",
        "name = \"a\"",
    ] {
        let lock = format!("[[package]]\n{package}\n").parse().expect("a lock file");
        assert_eq!(faults(&lock).len(), 1, "{package}");
    }
}

/// All packages, by a Cargo that may change nothing in Cargo.lock: it fails if a manifest wants something else.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(top())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

/// Whether one of the choices that a package's licence offers is among those that are allowed.
fn is_allowed(licence: &str, allowed: &[Expression]) -> bool {
    let expression = Expression::parse_mode(licence, ParseMode::LAX);
    let is_allowed = |wanted: &spdx::LicenseReq| {
        let requirements = allowed.iter().flat_map(Expression::requirements);
        requirements.map(|it| &it.req).any(|it| it == wanted)
    };
    expression.is_ok_and(|it| it.evaluate(is_allowed))
}

fn allowed() -> Vec<Expression> {
    let deny = toml("deny.toml");
    let names = deny["licenses"]["allow"].as_array().expect("a list");
    let parsed = names.iter().map(|name| Expression::parse(name.as_str().expect("text")));
    parsed.collect::<Result<_, _>>().expect("names of licences")
}

#[test]
fn every_dependency_has_a_licence_that_is_allowed_and_the_lock_file_is_complete() {
    let (packages, allowed) = (packages(), allowed());
    assert!(packages.len() > 100, "{}", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|it| !is_allowed(it["license"].as_str().unwrap_or_default(), &allowed))
        .map(|it| format!("{} {}: {}", it["name"], it["version"], it["license"]))
        .collect();
    assert!(refused.is_empty(), "deny.toml allows none of their licences: {refused:#?}");
}

#[test]
fn a_licence_needs_all_of_its_parts_or_one_of_its_choices() {
    let allowed = allowed();
    for fine in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR GPL-2.0) AND ISC"] {
        assert!(is_allowed(fine, &allowed), "{fine}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "", "no licence", "AGPL-3.0-or-later"] {
        assert!(!is_allowed(refused, &allowed), "{refused}");
    }
}
