//! Builds what every worker carries in its own binary: one `cargo build` makes all of sandfleet.
//!
//! The agent is linked statically, because it is PID 1 in root trees that have no libraries. The same
//! code as a module of CPython can't be: an interpreter loads it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    let manifests = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("agent");
    let (agent, flags) = ("sandfleet-agent", "-Ctarget-feature=+crt-static");
    let agent = build(&manifests.join("Cargo.toml"), &["--bin", agent], flags, agent);
    let warm = build(&manifests.join("warm/Cargo.toml"), &["--lib"], "", "lib_warm.so");
    let stdout =
        build(&manifests.join("stdout/Cargo.toml"), &["--lib"], "", "libsandfleet_stdout.so");
    // Not named SANDFLEET_…: `cargo run` passes it on, and there such names are settings.
    println!("cargo::rustc-env=AGENT_BINARY={}", agent.display());
    println!("cargo::rustc-env=WARM_MODULE={}", warm.display());
    println!("cargo::rustc-env=STDOUT_MODULE={}", stdout.display());
    for input in ["build.rs", "agent", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={input}");
    }
}

fn variable(name: &str) -> String {
    env::var(name).expect("cargo sets it for build scripts")
}

/// Builds `what` of a package for the profile `agent`; gives back the path of `artifact`.
fn build(manifest: &Path, what: &[&str], flags: &str, artifact: &str) -> PathBuf {
    let target = variable("TARGET");
    // Where this checkout is must not show in a release, and so not in the agent that it carries.
    let outer = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let remaps = outer.split('\x1f').filter(|flag| flag.starts_with("--remap-path-prefix="));
    let flags: Vec<&str> = [flags].into_iter().filter(|it| !it.is_empty()).chain(remaps).collect();
    let directory = PathBuf::from(variable("OUT_DIR")).join(artifact);
    let status = Command::new(variable("CARGO"))
        .args(["build", "--quiet", "--locked", "--profile", "agent"])
        .args(what)
        // Naming the target keeps the flags below from build scripts and procedural macros,
        // which can't be static.
        .args(["--target", &target])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // What the module of CPython is made for is no matter of which one this machine has.
        .env("PYO3_NO_PYTHON", "1")
        // Set while clippy or a compiler cache drives the outer build; this is a real one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "{} doesn't build; its errors are above", manifest.display());
    directory.join(&target).join("agent").join(artifact)
}
