//! The files of a report, and what differs between two of them.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use sandfleet_common::hexadecimal;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    exit::{Exit, Failure},
    input::{self, Bound},
    output_directory::OutputDirectory,
    terminal,
};
use crate::doctor::report::{
    self, Report,
    changes::{self, Change, Kind},
    page,
};

const JSON: &str = "report.json";
const PAGE: &str = "report.html";

/// Where a report is written to.
pub(super) struct ReportFiles<'a> {
    path: &'a Path,
    directory: OutputDirectory,
}

impl<'a> ReportFiles<'a> {
    /// Opens the directory, and makes it if it isn't there.
    pub(super) fn create(path: &'a Path) -> Result<Self, Failure> {
        Ok(Self { path, directory: OutputDirectory::create("--report", path)? })
    }

    /// Writes `report` as JSON and as a page, and says where they are.
    pub(super) fn write(&self, report: &Report) -> Result<(), Failure> {
        let json = terminal::pretty_json(report)? + "\n";
        let page = page::html(report, &hexadecimal(&Sha256::digest(&json)));
        for (name, content) in [(JSON, &json), (PAGE, &page)] {
            self.directory.write(name, content.as_bytes()).map_err(|why| {
                let path = self.path.display();
                why.exit.with(format!("--report {path}: {}", why.sentence))
            })?;
        }
        terminal::say(report.summary());
        terminal::say(format!(
            "the report is {} and {JSON} beside it",
            self.path.join(PAGE).display()
        ));
        Ok(())
    }
}

/// Shows what differs between the reports `old` and `new`.
pub(super) fn diff(old: &Path, new: &Path, json: bool) -> Result<ExitCode, Failure> {
    let [old, new] = [read(old)?, read(new)?];
    let changes = changes::between(&old, &new);
    if json {
        terminal::print(&(terminal::pretty_json(&changes)? + "\n"))?;
    } else {
        for (name, it) in [("old", &old), ("new", &new)] {
            let Report { made_at, subject, .. } = it;
            terminal::print_line(format!(
                "{name}  {made_at}  {}  {}",
                subject.host.name,
                it.summary()
            ))?;
        }
        for change in &changes {
            terminal::print_line(change.sentence())?;
        }
        if changes.is_empty() {
            terminal::print_line("nothing differs")?;
        }
    }
    let worse: Vec<&Change> = changes.iter().filter(|it| it.kind == Kind::Worse).collect();
    match (worse.len(), changes.is_empty()) {
        (0, true) => Ok(Exit::Success.into()),
        (0, false) => Ok(Exit::Differs.into()),
        (count, _) => {
            let what = if count == 1 { "1 claim is" } else { &format!("{count} claims are") };
            Err(Exit::Breach
                .with(format!("{what} worse than in the older report; see what is WORSE")))
        }
    }
}

/// The report in the file `path`, or in the directory `path`.
fn read(path: &Path) -> Result<Report, Failure> {
    let path: PathBuf = if path.is_dir() { path.join(JSON) } else { path.to_owned() };
    let bytes = input::read_file(&path, Bound::Report)?;
    let refused = |why: String| Exit::Usage.with(format!("{}: {why}", path.display()));
    // Before all else, which another form may have otherwise.
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let no_report = |error: serde_json::Error| {
        refused(format!("no report of `sandfleet doctor --attack --report`: {error}"))
    };
    let Form { format } = serde_json::from_slice(&bytes).map_err(no_report)?;
    if format != report::FORMAT {
        return Err(refused(format!(
            "a report of form {format}, and this sandfleet reads form {}; compare with the sandfleet that wrote it",
            report::FORMAT
        )));
    }
    serde_json::from_slice(&bytes).map_err(no_report)
}
