//! PID 1's side of an area.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Stat, fstat, stat},
    io::ioctl_fionread,
    process::Pid,
};

use super::output::Output;
use crate::{
    pending_output::{Area, CAPACITY, DATA, FREE, TAKING},
    protocol::sender::Sender,
};

/// How often it is looked at: so late, at most, is what a program printed and doesn't flush.
const PAUSE: Duration = Duration::from_millis(50);

/// What the program `program` has printed and not written.
pub(crate) struct PendingOutput {
    file: File,
    area: Area,
    /// The program's stdout, as /proc has it.
    link: String,
    /// Which pipe PID 1 reads.
    pipe: (u64, u64),
    next: Instant,
    /// How many bytes were taken from here.
    taken: u64,
    /// How many came through the pipe from others than the area's program, when that was last known.
    others: u64,
    /// Whether the program's stdout was last seen to be something else than the pipe.
    is_elsewhere: bool,
}

impl PendingOutput {
    /// The one in `file`; its program writes to the pipe that `stdout` reads.
    pub(crate) fn new(file: OwnedFd, program: Pid, stdout: impl AsFd) -> io::Result<Self> {
        let area = Area::header_of(&file)?;
        let link = format!("/proc/{}/fd/1", program.as_raw_nonzero());
        let pipe = identity(&fstat(stdout)?);
        let (taken, others) = (0, 0);
        let next = Instant::now() + PAUSE;
        let file = file.into();
        Ok(Self { file, area, link, pipe, next, taken, others, is_elsewhere: false })
    }

    /// When it is to be looked at again.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Passes on what is pending, after what is in the pipe by now. Leaves it for the next time if the program
    /// is just writing, or its stdout is no longer the pipe.
    pub(crate) fn pass_on<R: Read + AsFd>(
        &mut self,
        now: Instant,
        stdout: &mut Output<R>,
        worker: &mut Sender<impl Write>,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        self.next = now + PAUSE;
        let header = self.area.header();
        if header.end.load(Relaxed) == header.taken.load(Relaxed)
            || header.state.compare_exchange(FREE, TAKING, AcqRel, Relaxed).is_err()
        {
            return Ok(());
        }
        let taken = self.take(stdout);
        self.area.header().state.store(FREE, Release);
        let Some((in_pipe, bytes)) = taken? else { return Ok(()) };
        stdout.pump_exactly(in_pipe, worker, buffer)?;
        self.taken += bytes.len() as u64;
        stdout.pass(&bytes, worker)
    }

    /// Takes what is pending, and how many bytes are in the pipe by now, which were written before.
    fn take<R: Read + AsFd>(&mut self, stdout: &Output<R>) -> io::Result<Option<(u64, Vec<u8>)>> {
        let header = self.area.header();
        let (taken, end) = (header.taken.load(Relaxed), header.end.load(Acquire));
        let bytes = self.read(taken, end)?;
        let in_pipe = match stdout.pending() {
            Some(pipe) => ioctl_fionread(pipe)?,
            None => 0,
        };
        // After the bytes were read: what was printed behind a redirection isn't among them, or is seen.
        match stat(self.link.as_str()) {
            Ok(now) => self.is_elsewhere = identity(&now) != self.pipe,
            // Closed, or hidden by a program that may not be looked into: then in the end.
            Err(_) => return Ok(None),
        }
        if self.is_elsewhere {
            return Ok(None);
        }
        header.taken.store(end, Release);
        let through_pipe = stdout.seen() - self.taken + in_pipe;
        self.others = through_pipe.saturating_sub(header.written.load(Relaxed));
        Ok(Some((in_pipe, bytes)))
    }

    /// Passes on what is left, once the program is gone and its pipe is empty.
    pub(crate) fn pass_on_rest<R: Read + AsFd>(
        self,
        stdout: &mut Output<R>,
        worker: &mut Sender<impl Write>,
    ) -> io::Result<()> {
        let header = self.area.header();
        if self.is_elsewhere || header.refused.load(Relaxed) != 0 {
            return Ok(());
        }
        let (mut taken, end) = (header.taken.load(Relaxed), header.end.load(Acquire));
        let length = header.write_length.load(Relaxed);
        if length != 0 && header.write_from.load(Relaxed) == taken {
            // It was killed in a write, which the pipe has taken wholly or not at all.
            let others = self.others.saturating_add(header.written.load(Relaxed));
            let through_pipe = stdout.seen() - self.taken;
            if through_pipe.saturating_sub(others) >= length.into() {
                taken = taken.saturating_add(length);
            }
        }
        let bytes = self.read(taken, end)?;
        stdout.pass(&bytes, worker)
    }

    /// The bytes between; none if the program has made up what can't be.
    fn read(&self, taken: u32, end: u32) -> io::Result<Vec<u8>> {
        if end as usize > CAPACITY || taken >= end {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; (end - taken) as usize];
        self.file.read_exact_at(&mut bytes, (DATA + taken as usize) as u64)?;
        Ok(bytes)
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;
    use crate::{
        init::output,
        pending_output::{FLUSHING, file},
        protocol::frame::{self, Kind},
    };

    /// A program's side of an area, and a pipe as its stdout.
    struct Printer {
        area: Area,
        pipe: File,
        pending: Option<PendingOutput>,
        stdout: Output<File>,
        sent: Vec<u8>,
    }

    impl Printer {
        fn new() -> Self {
            let (reader, writer) =
                pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
            let file = file().expect("memory");
            let area = Area::whole(&file).expect("memory");
            let mut pending = PendingOutput::new(file, Pid::INIT, &reader).expect("memory");
            pending.link = format!("/proc/self/fd/{}", writer.as_raw_fd());
            Self {
                area,
                pipe: writer.into(),
                pending: Some(pending),
                stdout: Output::new(reader.into(), Kind::Stdout, 1 << 20, 0),
                sent: Vec::new(),
            }
        }

        fn print(&self, text: &[u8]) {
            let end = &self.area.header().end;
            let place = end.load(Relaxed) as usize;
            assert!(place + text.len() <= CAPACITY);
            for (index, byte) in text.iter().enumerate() {
                #[expect(unsafe_code, reason = "as a program does")]
                // SAFETY: there is room, and nothing else writes there.
                unsafe {
                    self.area.data().add(place + index).write(*byte);
                }
            }
            end.store((place + text.len()) as u32, Release);
        }

        fn write(&mut self, text: &[u8]) {
            self.pipe.write_all(text).expect("room");
        }

        fn look(&mut self) {
            let pending = self.pending.as_mut().expect("not at its end");
            let mut buffer = output::buffer();
            pending
                .pass_on(
                    Instant::now(),
                    &mut self.stdout,
                    &mut Sender::new(&mut self.sent),
                    &mut buffer,
                )
                .expect("readable");
        }

        /// All that was passed on, once the program is gone.
        fn end(mut self) -> String {
            let mut buffer = output::buffer();
            let mut sender = Sender::new(&mut self.sent);
            self.stdout.drain(&mut sender, &mut buffer).expect("readable");
            let pending = self.pending.take().expect("only once");
            pending.pass_on_rest(&mut self.stdout, &mut sender).expect("readable");
            let mut bytes = self.sent.as_slice();
            let mut text = String::new();
            while let Some((Kind::Stdout, payload)) = frame::read(&mut bytes).expect("frames") {
                text.push_str(&String::from_utf8_lossy(&payload));
            }
            assert_eq!(self.stdout.seen(), text.len() as u64);
            text
        }
    }

    #[test]
    fn what_is_printed_follows_what_was_written_before() {
        let mut printer = Printer::new();
        printer.write(b"a");
        printer.print(b"b");
        printer.look();
        printer.print(b"c");
        printer.look();
        printer.look();
        printer.write(b"d");
        printer.print(b"e");
        assert_eq!(printer.end(), "abcde");
    }

    #[test]
    fn what_has_no_way_to_the_pipe_is_not_taken() {
        let mut printer = Printer::new();
        let pipe = std::mem::take(&mut printer.pending.as_mut().expect("there").link);
        printer.print(b"into a file");
        printer.pending.as_mut().expect("there").link = "/dev/null".into();
        printer.look();
        assert_eq!(printer.area.header().taken.load(Relaxed), 0);
        assert_eq!(printer.area.header().state.load(Relaxed), FREE);
        printer.pending.as_mut().expect("there").link = pipe;
        printer.look();
        printer.print(b"refused");
        printer.area.header().refused.store(1, Relaxed);
        assert_eq!(printer.end(), "into a file");
    }

    #[test]
    fn a_program_that_writes_is_left_alone() {
        let mut printer = Printer::new();
        printer.print(b"a");
        printer.area.header().state.store(FLUSHING, Relaxed);
        printer.look();
        assert_eq!(printer.area.header().taken.load(Relaxed), 0);
        assert_eq!(printer.end(), "a");
    }

    #[test]
    fn a_write_that_was_cut_off_is_passed_on_once() {
        for came in [false, true] {
            let mut printer = Printer::new();
            printer.write(b"of another process ");
            printer.print(b"first ");
            printer.look();
            printer.print(b"x x last");
            let header = printer.area.header();
            header.state.store(FLUSHING, Relaxed);
            header.write_from.store(6, Relaxed);
            header.write_length.store(4, Relaxed);
            if came {
                printer.write(b"x x ");
            }
            assert_eq!(printer.end(), "of another process first x x last");
        }
    }

    #[test]
    fn numbers_that_can_not_be_are_nothing_pending() {
        let largest = u32::MAX;
        for (taken, end) in [(1, 0), (0, largest), (largest, 5), (5, largest), (0, 1 << 17)] {
            let mut printer = Printer::new();
            let header = printer.area.header();
            header.taken.store(taken, Relaxed);
            header.end.store(end, Relaxed);
            header.write_from.store(taken, Relaxed);
            header.write_length.store(largest, Relaxed);
            header.written.store(u64::MAX, Relaxed);
            printer.look();
            assert_eq!(printer.end(), "");
        }
    }

    #[test]
    fn the_area_keeps_its_size() {
        let file = file().expect("memory");
        for size in [0, 1 << 20] {
            let error = rustix::fs::ftruncate(&file, size).expect_err("it is sealed");
            assert_eq!(error, rustix::io::Errno::PERM);
        }
    }
}
