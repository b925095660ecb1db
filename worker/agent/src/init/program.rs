//! The program: started within its bounds, watched to its end, and every process of it ended.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create},
    pipe::{PipeFlags, pipe_with},
    process::{
        Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus, getrlimit, kill_process_group,
        setrlimit, wait,
    },
};

use super::{
    cold_python,
    counters::{Counters, Reading},
    gvisor,
    locks::Locks,
    mappings::Mappings,
    output::{self, Output},
    pending_output::PendingOutput,
    sampler::{self, Sampler},
    sockets::Sockets,
    soft_limits::SoftLimits,
    standstill::Standstill,
};
use crate::{
    container::scratch::WORKING_DIRECTORY,
    protocol::{
        frame::Kind,
        message::{Cause, ExitReport, ProcessLimits, RunRequest},
        sender::Sender,
    },
    sys::{self, Affinity},
};

/// How long after a kill it is tried again on what lives on.
const KILL_AGAIN: Duration = Duration::from_millis(20);

/// CPU time for the agent's own work, in seconds: more than the worker waits for it.
const OWN_CPU_SECONDS: u64 = 60;

/// A program that runs, and what it writes.
pub(crate) struct Program {
    pid: Pid,
    started: Instant,
    processors: u32,
    /// The counters before it, read before it is there: it may be over at once, however late the agent
    /// gets to look.
    before: Reading,
    stdout: File,
    stderr: File,
    pending_output: Option<PendingOutput>,
}

/// A program that has been started, and what it writes to.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) stdout: File,
    pub(crate) stderr: File,
    /// The memory with what it has printed and not written, if it uses one.
    pub(crate) pending_output: Option<OwnedFd>,
}

/// How a program is started.
pub(crate) trait Spawner {
    /// A file for what the program is to read on stdin; it is empty.
    ///
    /// # Errors
    /// If there is none.
    fn stdin(&mut self) -> io::Result<File>;

    /// Starts the program as a child of this process. Without `stdin` it reads nothing there.
    ///
    /// # Errors
    /// If it can't be started.
    fn start(&mut self, request: &RunRequest, stdin: Option<File>) -> io::Result<Started>;
}

/// By executing the request's command.
pub(crate) struct Exec;

impl Spawner for Exec {
    fn stdin(&mut self) -> io::Result<File> {
        stdin_file()
    }

    fn start(&mut self, request: &RunRequest, stdin: Option<File>) -> io::Result<Started> {
        let Some(name) = request.command.first() else {
            return Err(io::Error::other("the request names no command"));
        };
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let stdin = stdin.map_or_else(|| File::open("/dev/null"), Ok)?;
        let mut streams = vec![stdin.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        let (mut environment, mut pending_output) = (Cow::Borrowed(&request.environment), None);
        if request.pending_output {
            pending_output = cold_python::prepare(environment.to_mut())?;
        }
        streams.extend(pending_output.as_ref().map(OwnedFd::as_fd));
        let pid = sys::spawn(
            name,
            &request.command,
            &environment,
            WORKING_DIRECTORY,
            &streams,
            Affinity::choose(&request.processors),
        )
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{name} can't be started: {error}"))
        })?;
        Ok(Started { pid, stdout: stdout.into(), stderr: stderr.into(), pending_output })
    }
}

/// Stdin is a file without a name in any directory: no pipe has to be fed while the program runs.
pub(crate) fn stdin_file() -> io::Result<File> {
    Ok(memfd_create("stdin", MemfdFlags::CLOEXEC)?.into())
}

/// Starts the program; it is within its bounds from its first instruction on.
pub(crate) fn start(
    request: &RunRequest,
    stdin: Option<File>,
    counters: &Counters,
    spawner: &mut dyn Spawner,
) -> io::Result<Program> {
    // The limits are the agent's own from here on, and its children have no others. Only so are
    // they in force before the program's first instruction without more code between its process and its exec.
    limit(&request.bounds)?;
    let (before, processors) = (counters.read(), sampler::processors());
    let started = Instant::now();
    let Started { pid, stdout, stderr, pending_output } = spawner.start(request, stdin)?;
    let pending_output = match pending_output {
        Some(area) => Some(PendingOutput::new(area, pid, &stdout)?),
        None => None,
    };
    Ok(Program { pid, started, processors, before, stdout, stderr, pending_output })
}

/// Sets the bounds that are this process's own, and its children's.
pub(crate) fn limit(bounds: &ProcessLimits) -> io::Result<()> {
    let limits = [
        // A dump would only fill the scratch space.
        (Resource::Core, 0),
        (Resource::Fsize, bounds.file_size_bytes),
        (Resource::Nofile, bounds.open_files),
        (Resource::Stack, bounds.stack_bytes),
        (Resource::Memlock, 64 << 10),
    ];
    for (resource, value) in limits {
        lower(resource, value)?;
    }
    // POSIX message queues, queued signals, priorities: kernel memory that is counted per user.
    let quotas = [
        (Resource::Msgqueue, 64 << 10),
        (Resource::Sigpending, 1024),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ];
    for (resource, value) in quotas {
        match lower(resource, value) {
            // Linux lets every process lower every limit. gVisor's kernel has none of these four
            // things, and says so.
            Err(rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => {}
            lowered => lowered?,
        }
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

fn lower(resource: Resource, value: u64) -> rustix::io::Result<()> {
    // The container may have less than the request allows, and then keeps it.
    let value = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}

impl Program {
    /// Runs the program to its end, however it comes, and leaves no process behind.
    pub(crate) fn watch(
        self,
        input: &mut (impl Read + AsFd),
        worker: &mut Sender<impl Write>,
        signals: &OwnedFd,
        counters: &Counters,
        bounds: &ProcessLimits,
    ) -> io::Result<ExitReport> {
        fcntl_setfl(&self.stdout, OFlags::NONBLOCK)?;
        fcntl_setfl(&self.stderr, OFlags::NONBLOCK)?;
        let (cap, tail_cap) = (bounds.output_bytes, bounds.stderr_tail_bytes as usize);
        let mut stdout = Output::new(self.stdout, Kind::Stdout, cap, 0);
        let mut stderr = Output::new(self.stderr, Kind::Stderr, cap, tail_cap);
        let before = self.before;
        let asks_gvisor = gvisor::is_witness(bounds, &before);
        let deadline = self.started + Duration::from_millis(bounds.wall_time_ms);
        let mut sampler = Sampler::since(self.started, self.processors, asks_gvisor);
        let mut pending_output = self.pending_output;
        let mut buffer = output::buffer();
        let mut status = None;
        let mut soft_limits = SoftLimits::default();
        let (mut sockets, mut mappings, mut locks) =
            (Sockets::default(), Mappings::default(), Locks::default());
        // One that waited for its call may have ended before its signal was waited for.
        reap(self.pid, &mut status)?;

        let cause = loop {
            if status.is_some() {
                break Cause::Itself;
            }
            let ready = await_events(
                [Some(input.as_fd()), stdout.pending(), stderr.pending(), Some(signals.as_fd())],
                pending_output
                    .as_ref()
                    .map_or(deadline, |pending| pending.next().min(deadline))
                    .min(sampler.next()),
            )?;
            if ready[1] {
                stdout.pump(worker, &mut buffer)?;
            }
            if ready[2] {
                stderr.pump(worker, &mut buffer)?;
            }
            if ready[3] {
                drain(signals);
                reap(self.pid, &mut status)?;
                if status.is_some() {
                    break Cause::Itself;
                }
            }
            if ready[0] {
                if input.read(&mut buffer)? > 0 {
                    // The worker said all it has to say before the start.
                    break Cause::Tampering;
                }
                // Without a worker there is no reader for the result. This process is the namespace's init:
                // its exit ends all others.
                return Err(io::Error::other("the worker is gone"));
            }
            let now = Instant::now();
            if let Some(pending) = &mut pending_output
                && now >= pending.next()
            {
                pending.pass_on(now, &mut stdout, worker, &mut buffer)?;
            }
            if now >= deadline {
                break Cause::WallTime;
            }
            if stdout.seen() + stderr.seen() >= bounds.output_kill_bytes {
                break Cause::Output;
            }
            if now >= sampler.next() {
                let mut reading = Reading { cpu_time_us: counters.cpu_time_us(), ..before };
                let mut was_stopped = false;
                if sampler.are_worth_it(now, reading.cpu_time_us) {
                    reading = counters.read();
                    if let Some(cause) = exceeded(&before, &reading, bounds) {
                        break cause;
                    }
                    if !bounds.is_gvisor {
                        let used = since(before.cpu_time_us, reading.cpu_time_us);
                        let mut standstill = Standstill::until(deadline);
                        let exceeded = sockets
                            .exceeded(bounds)
                            .or_else(|| mappings.exceeded(bounds, &mut standstill))
                            .or_else(|| locks.exceeded(used, bounds, &mut standstill));
                        if let Some(cause) = exceeded {
                            break cause;
                        }
                        was_stopped = standstill.has_stopped_it();
                    }
                    if asks_gvisor && let Some(cause) = gvisor::exceeded(bounds, now - self.started)
                    {
                        break cause;
                    }
                    // Last: before Linux 6.2 it reads every directory of descriptors, and what protects the
                    // host must not wait for that.
                    soft_limits.look(bounds);
                }
                let many = sockets.are_many() || mappings.are_many() || locks.are_many();
                // What stood still goes on for a while, however long that took.
                let (now, quickly) =
                    if was_stopped { (Instant::now(), false) } else { (now, many) };
                sampler.plan(now, cpu_left(&before, &reading, bounds), quickly);
            }
        };

        let wall_time = self.started.elapsed();
        end_all(self.pid, &mut status, signals)?;
        // No process is left to write, so what is in the pipes now is all there is. Their end is not
        // waited for: a descriptor that was sent over a socket and never received keeps a pipe open
        // until the kernel gets round to collecting it.
        stdout.drain(worker, &mut buffer)?;
        if let Some(pending) = pending_output {
            pending.pass_on_rest(&mut stdout, worker)?;
        }
        stderr.drain(worker, &mut buffer)?;
        let after = counters.read();
        soft_limits.look_at_files();
        let largest_process = sys::children_memory_peak_bytes();
        let ended = ExitReport {
            cause,
            exit_code: status.and_then(|status| status.exit_status()),
            signal: status.and_then(|status| status.terminating_signal()),
            wall_time_us: wall_time.as_micros() as u64,
            cpu_time_us: since(before.cpu_time_us, after.cpu_time_us).unwrap_or_else(|| {
                match sys::children_cpu_time_us() {
                    counted if bounds.is_gvisor => gvisor::granted_us(counted, bounds, wall_time),
                    counted => counted,
                }
            }),
            // Under gVisor there is no counter, so it is that of the largest process.
            memory_peak_bytes: counters
                .memory_peak_bytes(largest_process)
                .or(bounds.is_gvisor.then_some(largest_process)),
            memory_kills: since(before.memory_kills, after.memory_kills),
            memory_limit_hits: since(before.memory_limit_hits, after.memory_limit_hits)
                .or(after.was_at_memory_limit.map(u64::from)),
            processes_refused: since(before.processes_refused, after.processes_refused)
                .unwrap_or(0),
            scratch_full: soft_limits.scratch_full,
            open_files_used_up: soft_limits.open_files_used_up,
            stdout_bytes: stdout.seen(),
            stderr_bytes: stderr.seen(),
        };
        let tail = stderr.into_tail();
        if !tail.is_empty() {
            worker.send(Kind::StderrTail, &tail)?;
        }
        Ok(ended)
    }
}

/// Which of the bounds that the counters tell of is exceeded.
fn exceeded(before: &Reading, now: &Reading, bounds: &ProcessLimits) -> Option<Cause> {
    if now.memory_kills > before.memory_kills {
        return Some(Cause::Memory);
    }
    (cpu_left(before, now, bounds)?.is_zero()).then_some(Cause::CpuTime)
}

/// How much CPU time the program may use yet, where that is counted.
fn cpu_left(before: &Reading, now: &Reading, bounds: &ProcessLimits) -> Option<Duration> {
    let used = since(before.cpu_time_us, now.cpu_time_us)?;
    Some(Duration::from_millis(bounds.cpu_time_ms).saturating_sub(Duration::from_micros(used)))
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

/// Ends every process of the namespace but this one, and collects them all.
fn end_all(main: Pid, status: &mut Option<WaitStatus>, signals: &OwnedFd) -> io::Result<()> {
    loop {
        kill_all()?;
        if reap(main, status)? == Children::None {
            return Ok(());
        }
        // Linux kills them in one step: a process that forks meanwhile is either seen or sees the
        // signal before its child exists. In gVisor the child of such a process lives on, and has
        // children of its own: once isn't enough there.
        await_events([Some(signals.as_fd())], Instant::now() + KILL_AGAIN)?;
        drain(signals);
    }
}

fn kill_all() -> io::Result<()> {
    // "Process group 1" is -1 for kill(2): every process but this one.
    match kill_process_group(Pid::INIT, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether there are any that have not been collected.
#[derive(Debug, PartialEq, Eq)]
enum Children {
    Some,
    None,
}

/// Collects children that ended, orphans included, and keeps the status of `main`.
fn reap(main: Pid, status: &mut Option<WaitStatus>) -> io::Result<Children> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid == main => *status = Some(ended),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Children::Some),
            Err(rustix::io::Errno::CHILD) => return Ok(Children::None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
