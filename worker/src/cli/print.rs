//! What people see of a result.

use std::path::Path;

use sandfleet_common::{JobId, JobResult, PrintableText, RunOutput};

use super::{
    artifacts, evaluation,
    exit::{Failure, code_of},
    terminal::{self, ProgramOutput, line},
};
use crate::hooks::Stream;

/// The most artifacts that the closing line names.
const MAX_NAMES: usize = 20;
/// The most notes before the closing line.
pub(super) const MAX_NOTES: usize = 100;

/// Prints what the program printed, each stream to its own, and before it to stderr what its compiler did.
pub(super) fn output(result: &JobResult, to: &ProgramOutput) -> std::io::Result<()> {
    let bytes = |output: &RunOutput, text: &str| output.encoding.decode(text).unwrap_or_default();
    // Without a run, `run` has what the compiler printed.
    if let (Some(compile), Some(_)) = (&result.compile, &result.usage) {
        for text in [&compile.output.stdout, &compile.output.stderr] {
            to.write(Stream::Stderr, &bytes(&compile.output, text))?;
        }
    }
    if let Some(run) = &result.run {
        to.write(Stream::Stdout, &bytes(run, &run.stdout))?;
        to.write(Stream::Stderr, &bytes(run, &run.stderr))?;
    }
    to.finish()
}

/// The end of a command that has a result: its artifacts saved below `directory`, itself as JSON or in a
/// closing line, which names the job if it is one of `several`, and the exit code that goes with it.
pub(super) fn end(
    result: &JobResult,
    directory: Option<&Path>,
    as_json: bool,
    several: Option<&JobId>,
) -> Result<u8, Failure> {
    let saved = directory.map(|directory| artifacts::save(result, directory));
    if as_json {
        terminal::print(&(terminal::json(result) + "\n"))?;
    } else {
        if !result.tests.is_empty() {
            terminal::print(&terminal::lines(&evaluation::tables(result)))?;
        }
        let saved_to = directory.filter(|_| matches!(saved, Some(Ok(()))));
        terminal::say_lines(&summary(result, saved_to, several));
    }
    if let Some(Ok(())) = &saved
        && result.artifacts.is_empty()
        && result.artifacts_skipped.is_empty()
    {
        terminal::say(format_args!(
            "sandfleet: job {}: the result has no artifacts: the job asked for none (--artifact GLOB when it \
             is submitted), or left no file that matches",
            result.job_id
        ));
    }
    saved.transpose()?;
    Ok(code_of(result))
}

/// The closing line: verdict, and what it cost. Before it, a line for everything that was left
/// out.
pub(super) fn summary(
    result: &JobResult,
    saved_to: Option<&Path>,
    several: Option<&JobId>,
) -> String {
    let mut text = String::new();
    let of = several.map(|id| format!("job {id}: ")).unwrap_or_default();
    let mut note = |sentence: String| {
        text.push_str(&line(format_args!("sandfleet: {of}{sentence}")));
        text.push('\n');
    };
    if let Some(run) = &result.run {
        for (name, cut) in [("stdout", run.stdout_truncated), ("stderr", run.stderr_truncated)] {
            if cut {
                note(format!("{name} was cut at output_bytes; raise it to see more"));
            }
        }
    }
    for refused in result.artifacts_skipped.iter().take(MAX_NOTES) {
        note(format!("not brought back: {refused}"));
    }
    if let Some(more) = result.artifacts_skipped.len().checked_sub(MAX_NOTES + 1) {
        note(format!("not brought back: {} more; --json has them", more + 1));
    }
    let name = result.verdict.map_or(result.status.as_str(), |verdict| verdict.as_str());
    let mut sentence = format!("{name}: {}", result.message);
    if let Some(usage) = result.usage {
        sentence.push_str(&format!(
            " | wall {} | CPU {}",
            seconds(usage.wall_time_ms),
            seconds(usage.cpu_time_ms),
        ));
        if let Some(peak) = usage.memory_peak_bytes {
            let mib = peak as f64 / f64::from(1 << 20);
            sentence.push_str(&format!(" | peak memory {mib:.1} MiB"));
        }
    }
    if let Some(directory) = saved_to
        && !result.artifacts.is_empty()
    {
        let directory = PrintableText::new(directory.display());
        sentence.push_str(&format!(" | {} in {directory}", names(result)));
    }
    note(sentence);
    text
}

/// The artifacts' names, the first of them if they are many.
fn names(result: &JobResult) -> String {
    let shown = result.artifacts.iter().take(MAX_NAMES).map(|it| PrintableText::new(&it.name));
    let mut names: Vec<String> = shown.map(String::from).collect();
    if result.artifacts.len() > MAX_NAMES {
        names.push(format!("{} more", result.artifacts.len() - MAX_NAMES));
    }
    names.join(", ")
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03} s", milliseconds / 1000, milliseconds % 1000)
}
