//! A crate outside of the workspace (`tests/outside`) builds what README shows, and names every field's type.

use std::{fs, path::Path, process::Command};

#[test]
fn a_crate_outside_of_the_workspace_can_use_all_of_the_sdk() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| fs::read_to_string(top.join(path)).expect(path);
    let source = read("tests/outside/src/main.rs");
    let readme = read("README.md");
    let (_, block) = readme.split_once("```rust\n").expect("README shows the SDK");
    let (block, _) = block.split_once("```").expect("it ends");
    for line in block.lines() {
        assert!(source.contains(line.trim()), "README's line is not built: {line}");
    }
    // The versions of this workspace, which are there already: a registry isn't asked.
    fs::copy(top.join("Cargo.lock"), top.join("tests/outside/Cargo.lock")).expect("room");
    let built = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline", "--manifest-path"])
        .arg(top.join("tests/outside/Cargo.toml"))
        .env("CARGO_TARGET_DIR", top.join("target/outside"))
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}
