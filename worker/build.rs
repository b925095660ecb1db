//! Builds the agent and hands its path to the worker, which carries it in its own binary: one
//! `cargo build` makes all of sandfleet.
//!
//! The agent is linked statically, because it is PID 1 in root trees that have no libraries.

use std::{env, path::PathBuf, process::Command};

fn main() {
    let variable = |name: &str| env::var(name).expect("cargo sets it for build scripts");
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("agent/Cargo.toml");
    let target = variable("TARGET");
    let directory = PathBuf::from(variable("OUT_DIR")).join("agent");

    let status = Command::new(variable("CARGO"))
        .args(["build", "--quiet", "--locked", "--bin", "sandfleet-agent", "--profile", "agent"])
        // Naming the target keeps the flags below from build scripts and procedural macros,
        // which can't be static.
        .args(["--target", &target])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        // Set while clippy or a compiler cache drives the outer build; this is a real one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "the agent doesn't build; its errors are above");

    let agent = directory.join(&target).join("agent/sandfleet-agent");
    // Not named SANDFLEET_…: `cargo run` passes it on, and there such names are settings.
    println!("cargo::rustc-env=AGENT_BINARY={}", agent.display());
    for input in ["build.rs", "agent/src", "agent/Cargo.toml", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={input}");
    }
}
