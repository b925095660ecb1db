//! The binary that is measured.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// Builds the binary in this program's own profile, so that it is never an old one.
pub(crate) fn build() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.parent().context("a program is in a directory")?;
    if let Ok(cargo) = std::env::var("CARGO") {
        let mut command = Command::new(cargo);
        command.args([
            "build",
            "--quiet",
            "--locked",
            "-p",
            "sandfleet-worker",
            // With it the features are those that this program was built with: built once.
            "-p",
            "sandfleet-tests",
            "--bin",
            "sandfleet",
        ]);
        if directory.ends_with("release") {
            command.arg("--release");
        }
        let built = command.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
        ensure!(built.success(), "sandfleet could not be built");
    }
    let program = directory.join("sandfleet");
    ensure!(program.exists(), "{} is missing: build it", program.display());
    Ok(program)
}
