//! A file of events, written by a thread of its own: no job waits for a disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use tracing::warn;

/// How many lines may wait for the disk; more are lost.
const BACKLOG: usize = 4096;
/// How long the end of the process waits for the lines that are left.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A file to which lines are added.
pub(crate) struct AuditFile {
    path: PathBuf,
    lines: Option<SyncSender<String>>,
    lost: AtomicU64,
    written: Mutex<Receiver<()>>,
}

impl AuditFile {
    /// Adds to the file at `path`, which is made when the first line is written.
    pub(crate) fn open(path: PathBuf) -> Self {
        let (lines, waiting) = mpsc::sync_channel(BACKLOG);
        let (ended, written) = mpsc::channel();
        let name = "audit".to_owned();
        let started = thread::Builder::new().name(name).spawn({
            let path = path.clone();
            move || {
                write_all(&path, waiting);
                // Without a receiver no caller waits.
                let _ = ended.send(());
            }
        });
        if let Err(error) = &started {
            warn!(file = %path.display(), %error, "audit.file is not written: no thread for it");
        }
        Self { path, lines: Some(lines), lost: AtomicU64::new(0), written: Mutex::new(written) }
    }

    /// Adds a line, unless too many wait for the disk. Returns at once.
    pub(crate) fn write(&self, line: String) {
        let Some(lines) = &self.lines else { return };
        // A closed channel was told of when the thread could not be started.
        if let Err(TrySendError::Full(_)) = lines.try_send(line)
            && self.lost.fetch_add(1, Ordering::Relaxed) == 0
        {
            warn!(
                file = %self.path.display(),
                "audit.file is too slow; events are missing in it from now on, and the store has them"
            );
        }
    }
}

impl Drop for AuditFile {
    fn drop(&mut self) {
        self.lines = None;
        let written = self.written.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(mpsc::RecvTimeoutError::Timeout) = written.recv_timeout(LAST_LINES) {
            warn!(file = %self.path.display(), "audit.file is too slow; the last events are missing in it");
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 {
            warn!(file = %self.path.display(), lost, "events are missing in audit.file");
        }
    }
}

fn write_all(path: &Path, lines: Receiver<String>) {
    let mut open: Option<File> = None;
    let mut has_warned = false;
    for line in lines {
        match write(path, &mut open, &line) {
            Ok(()) => has_warned = false,
            Err(error) => {
                // The next line may find a disk with room, or a directory that is there.
                open = None;
                if !std::mem::replace(&mut has_warned, true) {
                    warn!(file = %path.display(), %error, "an event could not be written to audit.file");
                }
            }
        }
    }
}

/// In one write, so that the lines of several processes don't mix.
fn write(path: &Path, open: &mut Option<File>, line: &str) -> io::Result<()> {
    let file = match open {
        Some(file) => file,
        None => {
            let mut options = OpenOptions::new();
            open.insert(options.append(true).create(true).mode(0o600).open(path)?)
        }
    };
    file.write_all(line.as_bytes())
}
