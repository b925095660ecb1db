//! Writes log lines from a thread of its own. Who logs never waits: what standard error doesn't take in time, and what can't be
//! written there, is lost and counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

/// How many lines wait at most. Lines are bounded, and few are longer than 500 bytes.
const BACKLOG: usize = 8192;
/// How long the process waits at its end for standard error to take what is left.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How often it is said at most that lines were lost.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// A line that says that so many others were lost.
pub(super) type Notice = fn(u64) -> String;

/// Takes lines. Clones write to the same place.
#[derive(Clone)]
pub(super) struct LogWriter {
    lines: SyncSender<Message>,
    lost: LostLines,
}

/// How many lines were lost so far.
#[derive(Debug, Clone, Default)]
pub(super) struct LostLines(Arc<AtomicU64>);

enum Message {
    Line(Vec<u8>),
    /// All lines before it are written when the sender gets an answer.
    Flush(SyncSender<()>),
}

/// Writes what is left when it is dropped, for a second at most.
#[must_use]
pub(super) struct Flush(LogWriter);

impl LostLines {
    /// The number.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl LogWriter {
    /// A writer to `target`. When it takes lines again after some were lost, `notice` is the next.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn to(
        target: impl Write + Send + 'static,
        notice: Notice,
    ) -> io::Result<(Self, Flush)> {
        let (lines, waiting) = mpsc::sync_channel(BACKLOG);
        let writer = Self { lines, lost: LostLines::default() };
        let mut output =
            Output { target, notice, lost: writer.lost.clone(), said: 0, said_at: None };
        thread::Builder::new().name("log".into()).spawn(move || output.write_all(&waiting))?;
        Ok((writer.clone(), Flush(writer)))
    }

    pub(super) fn lost(&self) -> LostLines {
        self.lost.clone()
    }
}

/// What the thread writes to.
struct Output<W> {
    target: W,
    notice: Notice,
    lost: LostLines,
    /// How many lost lines were spoken of, and when.
    said: u64,
    said_at: Option<Instant>,
}

impl<W: Write> Output<W> {
    fn write_all(&mut self, waiting: &Receiver<Message>) {
        while let Ok(message) = waiting.recv() {
            match message {
                Message::Line(line) if self.target.write_all(&line).is_ok() => {
                    if self.said_at.is_none_or(|at| at.elapsed() > SAID_EVERY) {
                        self.say_lost();
                    }
                }
                Message::Line(_) => self.lost.add(),
                Message::Flush(done) => {
                    self.say_lost();
                    // Nothing waits for the answer if it took too long.
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn say_lost(&mut self) {
        let lost = self.lost.count();
        let notice = (self.notice)(lost - self.said);
        if lost > self.said && self.target.write_all(notice.as_bytes()).is_ok() {
            (self.said, self.said_at) = (lost, Some(Instant::now()));
        }
    }
}

impl Write for LogWriter {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.add();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, answer) = mpsc::sync_channel(1);
        // A full backlog is a standard error that takes nothing, or a lot of lines just now.
        let mut message = Message::Flush(done);
        let pause = Duration::from_millis(10);
        for _ in 0..LAST_WORD.as_millis() / pause.as_millis() {
            match self.0.lines.try_send(message) {
                Ok(()) => {
                    let _ = answer.recv_timeout(LAST_WORD);
                    return;
                }
                Err(TrySendError::Full(again)) => message = again,
                Err(TrySendError::Disconnected(_)) => return,
            }
            thread::sleep(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicBool};

    use super::*;

    /// Takes lines while it isn't full.
    #[derive(Clone, Default)]
    struct Target {
        taken: Arc<Mutex<Vec<u8>>>,
        is_full: Arc<AtomicBool>,
    }

    impl Target {
        fn text(&self) -> String {
            String::from_utf8(self.taken.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    fn notice(lines: u64) -> String {
        format!("{lines} lost\n")
    }

    impl Write for Target {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.taken.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn at_the_end_all_lines_are_there_and_in_order() {
        let target = Target::default();
        let (mut writer, flush) = LogWriter::to(target.clone(), notice).expect("a thread");
        let lines: Vec<_> = (0..5000).map(|n| format!("line {n}\n")).collect();
        for line in &lines {
            writer.write_all(line.as_bytes()).expect("never fails");
        }
        drop(flush);
        assert_eq!(target.text(), lines.concat());
        assert_eq!(writer.lost().count(), 0);
    }

    #[test]
    fn a_disk_that_is_full_loses_lines_and_later_it_is_said_once_how_many() {
        let target = Target::default();
        target.is_full.store(true, Ordering::Relaxed);
        let (mut writer, flush) = LogWriter::to(target.clone(), notice).expect("a thread");
        for _ in 0..10 {
            writer.write_all(b"a line\n").expect("never fails");
        }
        drop(Flush(writer.clone()));
        assert_eq!((writer.lost().count(), target.text().as_str()), (10, ""));
        target.is_full.store(false, Ordering::Relaxed);
        for line in ["one\n", "two\n"] {
            writer.write_all(line.as_bytes()).expect("never fails");
        }
        drop(flush);
        assert_eq!(target.text(), "one\n10 lost\ntwo\n");
    }

    #[test]
    fn a_pipe_that_nothing_reads_delays_nobody() {
        let (reader, pipe) = io::pipe().expect("a pipe");
        let (mut writer, flush) = LogWriter::to(pipe, notice).expect("a thread");
        let begun = Instant::now();
        let line = [b'x'; 500];
        for _ in 0..20_000 {
            writer.write_all(&line).expect("never fails");
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let lost = writer.lost().count();
        assert!((10_000..20_000).contains(&lost), "{lost}");
        let begun = Instant::now();
        drop(flush);
        assert!(begun.elapsed() < 3 * LAST_WORD, "{:?}", begun.elapsed());
        drop(reader);
    }
}
