//! What people see of a result.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use sandfleet_common::{JobResult, RunOutput};

use super::exit::{Exit, Failure};

/// Prints what the program printed, each stream to its own.
pub(super) fn output(run: &RunOutput) -> std::io::Result<()> {
    let bytes = |text: &str| run.encoding.decode(text).unwrap_or_default();
    std::io::stdout().write_all(&bytes(&run.stdout))?;
    std::io::stdout().flush()?;
    std::io::stderr().write_all(&bytes(&run.stderr))
}

/// Prints a result as one JSON object on one line.
pub(super) fn json(result: &JobResult) -> std::io::Result<()> {
    let mut bytes = sandfleet_common::encode(result);
    bytes.push(b'\n');
    std::io::stdout().write_all(&bytes)?;
    std::io::stdout().flush()
}

/// Writes the artifacts below `directory`. Their names were checked when they came; what stands
/// in their place is replaced, never written through.
pub(super) fn save_artifacts(result: &JobResult, directory: &Path) -> Result<(), Failure> {
    for artifact in &result.artifacts {
        let path = directory.join(&artifact.name);
        let failed = |error: std::io::Error| {
            Exit::Internal.with(format!("artifact {}: {error}", path.display()))
        };
        let content = artifact
            .encoding
            .decode(&artifact.content)
            .map_err(|why| Exit::Internal.with(format!("artifact {}: {why}", artifact.name)))?;
        sandfleet_common::validate_file_name(&artifact.name)
            .map_err(|why| Exit::Internal.with(format!("artifact {why}")))?;
        fs::create_dir_all(path.parent().unwrap_or(directory)).map_err(failed)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        let mut file =
            fs::File::options().write(true).create_new(true).open(&path).map_err(failed)?;
        file.write_all(&content).map_err(failed)?;
    }
    Ok(())
}

/// The closing line: verdict, and what it cost. Before it, a line for everything that was left
/// out.
pub(super) fn summary(result: &JobResult, saved_to: Option<&PathBuf>) -> String {
    let mut text = String::new();
    let mut note = |line: String| {
        text.push_str("sandfleet: ");
        text.push_str(&line);
        text.push('\n');
    };
    if let Some(run) = &result.run {
        for (name, cut) in [("stdout", run.stdout_truncated), ("stderr", run.stderr_truncated)] {
            if cut {
                note(format!("{name} was cut at output_bytes; raise it to see more"));
            }
        }
    }
    for refused in &result.artifacts_refused {
        note(format!("not brought back: {refused}"));
    }
    let name = result.verdict.map_or(result.status.as_str(), |verdict| verdict.as_str());
    let mut line = format!("{name}: {}", result.message);
    if let Some(usage) = result.usage {
        line.push_str(&format!(
            " | wall {} | CPU {} | peak memory {:.1} MiB",
            seconds(usage.wall_time_ms),
            seconds(usage.cpu_time_ms),
            usage.memory_peak_bytes as f64 / f64::from(1 << 20)
        ));
    }
    if let Some(directory) = saved_to
        && !result.artifacts.is_empty()
    {
        let names: Vec<_> = result.artifacts.iter().map(|a| a.name.as_str()).collect();
        line.push_str(&format!(" | {} in {}", names.join(", "), directory.display()));
    }
    note(line);
    text
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}
