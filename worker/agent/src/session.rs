//! One job from the agent's side: take the order and the files, run the program within its
//! bounds, end everything it started, bring the artifacts back.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    process::{ChildStderr, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create},
    process::{
        Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit, kill_process_group,
        setrlimit, wait,
    },
};

use crate::{
    artifacts::{self, Inputs},
    barriers,
    counters::Counters,
    frame::{self, Kind},
    message::{AGENT_PROTOCOL, Bounds, Cause, Ended, FileHeader, Hello, Order},
    output::Output,
    system,
};

/// Where the program's files are and where it starts.
pub const WORKING_DIRECTORY: &str = "/box";

/// How often the counters are looked at while the program runs. A limit is noticed at most this
/// late; most programs end before the first look.
const TICK: Duration = Duration::from_millis(20);

/// CPU time for the agent's own work, in seconds: more than the worker waits for it.
const OWN_CPU_SECONDS: u64 = 60;

/// Serves one job over standard input and output: the agent of a container that somebody else's
/// runtime made.
///
/// # Errors
/// What kept the agent from doing its part; the worker was told, if it could be.
pub fn serve_standard_streams() -> io::Result<()> {
    let counters = Counters::open_mounted();
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    serve(File::from(input), File::from(output), &counters)
}

/// Serves one job.
pub(crate) fn serve(
    mut input: impl Read + AsFd,
    mut output: impl Write,
    counters: &Counters,
) -> io::Result<()> {
    let served = converse(&mut input, &mut output, counters);
    if let Err(error) = &served {
        // If the worker is gone there is nobody to tell; the error goes to the exit status.
        let _ = frame::write(&mut output, Kind::Failed, error.to_string().as_bytes());
    }
    served
}

fn converse(
    input: &mut (impl Read + AsFd),
    output: &mut impl Write,
    counters: &Counters,
) -> io::Result<()> {
    barriers::check().map_err(io::Error::other)?;
    let signals = system::child_signals()?;
    say(output, Kind::Hello, &Hello { protocol: AGENT_PROTOCOL })?;
    let Some(Received { order, stdin, inputs }) = receive(input)? else {
        return Ok(());
    };
    let bounds = order.bounds;
    let program = start(&order, stdin)?;
    frame::write(output, Kind::Started, &[])?;
    let ended = program.watch(input, output, &signals, counters, &bounds)?;
    say(output, Kind::Ended, &ended)?;
    artifacts::collect(output, WORKING_DIRECTORY, &inputs, &order.artifacts, &bounds)?;
    frame::write(output, Kind::Done, &[])
}

fn say(output: &mut impl Write, kind: Kind, message: &impl serde::Serialize) -> io::Result<()> {
    frame::write(output, kind, &serde_json::to_vec(message)?)
}

fn unexpected(kind: Kind) -> io::Error {
    io::Error::other(format!("the worker sent {kind:?} where it makes no sense"))
}

/// Everything that the worker sent before the start.
struct Received {
    order: Order,
    stdin: Stdio,
    inputs: Inputs,
}

/// Takes the order and puts the files into the working directory, which is empty and ours alone
/// until the program starts. `None` if the worker went away before it asked for anything.
fn receive(input: &mut impl Read) -> io::Result<Option<Received>> {
    let mut order: Option<Order> = None;
    let mut stdin = Stdio::null();
    let mut inputs = Inputs::default();
    while let Some((kind, payload)) = frame::read(input)? {
        match kind {
            Kind::Order => order = Some(serde_json::from_slice(&payload)?),
            Kind::File => write_file(serde_json::from_slice(&payload)?, input, &mut inputs)?,
            Kind::Stdin => stdin = hold_stdin(serde_json::from_slice(&payload)?, input)?,
            Kind::Start => {
                let order = order.ok_or_else(|| unexpected(kind))?;
                return Ok(Some(Received { order, stdin, inputs }));
            }
            other => return Err(unexpected(other)),
        }
    }
    Ok(None)
}

fn write_file(header: FileHeader, input: &mut impl Read, inputs: &mut Inputs) -> io::Result<()> {
    let path = Path::new(WORKING_DIRECTORY).join(&header.name);
    let create = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::options().write(true).create_new(true).mode(0o644).open(&path)
    };
    create()
        .and_then(|mut file| {
            copy_content(header.size, input, &mut file)?;
            inputs.remember(header.name.clone(), &file)
        })
        .map_err(|error| io::Error::new(error.kind(), format!("file {:?}: {error}", header.name)))
}

/// Stdin is a file without a name: no pipe has to be fed while the program runs.
fn hold_stdin(header: FileHeader, input: &mut impl Read) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    copy_content(header.size, input, &mut file)?;
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

fn copy_content(size: u64, input: &mut impl Read, file: &mut File) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        match frame::read(input)? {
            Some((Kind::Data, data)) if !data.is_empty() && data.len() as u64 <= left => {
                file.write_all(&data)?;
                left -= data.len() as u64;
            }
            Some((kind, _)) => return Err(unexpected(kind)),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(())
}

/// A program that runs, and what it writes.
struct Program {
    pid: Pid,
    started: Instant,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

fn start(order: &Order, stdin: Stdio) -> io::Result<Program> {
    let [name, arguments @ ..] = order.command.as_slice() else {
        return Err(io::Error::other("the order names no command"));
    };
    // The limits are the agent's own from here on, and its children have no others. Only so are
    // they in force before the program's first instruction without code between fork and exec.
    limit(&order.bounds)?;
    let started = Instant::now();
    let mut child = Command::new(name)
        .args(arguments)
        .env_clear()
        .envs(order.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(WORKING_DIRECTORY)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{name} can't be started: {error}"))
        })?;
    let pid = Pid::from_raw(child.id() as i32).ok_or(io::ErrorKind::InvalidData)?;
    let missing = || io::Error::other("the program has no output pipes");
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    Ok(Program { pid, started, stdout, stderr })
}

fn limit(bounds: &Bounds) -> io::Result<()> {
    let limits = [
        // A dump would fill the scratch space with what nobody reads.
        (Resource::Core, 0),
        (Resource::Fsize, bounds.file_size_bytes),
        (Resource::Nofile, bounds.open_files),
        (Resource::Stack, bounds.stack_bytes),
        (Resource::Memlock, 64 << 10),
        // POSIX message queues, queued signals, locks: kernel memory that is counted per user.
        (Resource::Msgqueue, 64 << 10),
        (Resource::Sigpending, 1024),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    for (resource, value) in limits {
        // The container may have less than the order allows; raising it isn't ours to do.
        let value = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    }
    // The second line behind the counters: whole seconds, and per process only. At the soft limit a
    // signal ends the program, and PID 1 goes on; the hard one would end PID 1 as well, which still
    // has to give its account.
    let value = bounds.cpu_time_ms / 1000 + 2;
    let maximum = value.saturating_add(OWN_CPU_SECONDS);
    let maximum = getrlimit(Resource::Cpu).maximum.map_or(maximum, |most| most.min(maximum));
    let current = Some(value.min(maximum));
    setrlimit(Resource::Cpu, Rlimit { current, maximum: Some(maximum) })?;
    Ok(())
}

impl Program {
    /// Runs the program to its end, however it comes, and leaves no process behind.
    fn watch(
        self,
        input: &mut (impl Read + AsFd),
        worker: &mut impl Write,
        signals: &OwnedFd,
        counters: &Counters,
        bounds: &Bounds,
    ) -> io::Result<Ended> {
        fcntl_setfl(&self.stdout, OFlags::NONBLOCK)?;
        fcntl_setfl(&self.stderr, OFlags::NONBLOCK)?;
        let (cap, tail_cap) = (bounds.output_bytes, bounds.stderr_tail_bytes as usize);
        let mut stdout = Output::new(self.stdout, Kind::Stdout, cap, 0);
        let mut stderr = Output::new(self.stderr, Kind::Stderr, cap, tail_cap);
        let before = counters.read();
        let deadline = self.started + Duration::from_millis(bounds.wall_time_ms);
        let mut next_look = self.started + TICK;
        let mut buffer = vec![0; 64 << 10];
        let mut status = None;

        let cause = loop {
            let ready = await_events(
                [Some(input.as_fd()), stdout.pending(), stderr.pending(), Some(signals.as_fd())],
                deadline.min(next_look),
            )?;
            if ready[1] {
                stdout.pump(worker, &mut buffer)?;
            }
            if ready[2] {
                stderr.pump(worker, &mut buffer)?;
            }
            if ready[3] {
                drain(signals);
                reap(self.pid, &mut status, WaitOptions::NOHANG)?;
                if status.is_some() {
                    break Cause::Itself;
                }
            }
            if ready[0] {
                return Err(match frame::read(input)? {
                    Some((kind, _)) => unexpected(kind),
                    // Without a worker nobody wants the answer; this process is the namespace's
                    // init, so its end is the end of all.
                    None => io::Error::other("the worker is gone"),
                });
            }
            let now = Instant::now();
            if now >= deadline {
                break Cause::WallTime;
            }
            if stdout.seen() + stderr.seen() >= bounds.output_kill_bytes {
                break Cause::Output;
            }
            if now >= next_look {
                next_look = now + TICK;
                let reading = counters.read();
                if reading.memory_kills > before.memory_kills {
                    break Cause::Memory;
                }
                let used = since(before.cpu_time_us, reading.cpu_time_us);
                if used.is_some_and(|used| used >= bounds.cpu_time_ms.saturating_mul(1000)) {
                    break Cause::CpuTime;
                }
            }
        };

        let wall_time = self.started.elapsed();
        kill_all()?;
        reap(self.pid, &mut status, WaitOptions::empty())?;
        // Nobody writes any more, so what is in the pipes now is all there is. Their end is not
        // waited for: a descriptor that was sent over a socket and never received keeps a pipe open
        // until the kernel gets round to collecting it.
        stdout.drain(worker, &mut buffer)?;
        stderr.drain(worker, &mut buffer)?;
        let after = counters.read();
        let ended = Ended {
            cause,
            exit_code: status.and_then(|status| status.exit_status()),
            signal: status.and_then(|status| status.terminating_signal()),
            wall_time_us: wall_time.as_micros() as u64,
            cpu_time_us: since(before.cpu_time_us, after.cpu_time_us)
                .unwrap_or_else(system::children_cpu_time_us),
            memory_peak_bytes: counters
                .memory_peak_bytes()
                .unwrap_or_else(system::children_memory_peak_bytes),
            memory_kills: since(before.memory_kills, after.memory_kills),
            processes_refused: since(before.processes_refused, after.processes_refused)
                .unwrap_or(0),
            stdout_bytes: stdout.seen(),
            stderr_bytes: stderr.seen(),
        };
        let tail = stderr.into_tail();
        if !tail.is_empty() {
            frame::write(worker, Kind::StderrTail, &tail)?;
        }
        Ok(ended)
    }
}

fn since(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// Waits until one of the descriptors has something or `until` has come; says which have.
fn await_events<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    until: Instant,
) -> io::Result<[bool; N]> {
    let mut waiting: Vec<PollFd<'_>> = Vec::with_capacity(N);
    for descriptor in descriptors.iter().flatten() {
        waiting.push(PollFd::from_borrowed_fd(*descriptor, PollFlags::IN));
    }
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
    match poll(&mut waiting, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut events = waiting.iter().map(|waited| !waited.revents().is_empty());
    Ok(descriptors.map(|descriptor| descriptor.is_some() && events.next().unwrap_or(false)))
}

fn drain(signals: &OwnedFd) {
    // Only says that something ended; which, wait says. The descriptor doesn't block.
    let mut buffer = [0u8; 128];
    while rustix::io::read(signals, &mut buffer).is_ok_and(|length| length > 0) {}
}

/// Collects children that ended, ours and orphans, and keeps the status of `main`.
fn reap(main: Pid, status: &mut Option<WaitStatus>, options: WaitOptions) -> io::Result<()> {
    loop {
        match wait(options) {
            Ok(Some((pid, ended))) if pid == main => *status = Some(ended),
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills every process of the namespace but this one. The kernel does it in one step: a process
/// that forks meanwhile is either seen or sees the signal before its child exists.
fn kill_all() -> io::Result<()> {
    // "Process group 1" is -1 for kill(2): everybody.
    match kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
