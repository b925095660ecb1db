//! The program: started within its bounds, watched to its end, and every process of it ended.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    process::Pid,
};

use super::{
    children::{await_events_or_room, drain, end_all, reap},
    counters::{Counters, Reading},
    gvisor,
    job_files::JobFiles,
    live_stdin::LiveStdin,
    locks::Locks,
    mappings::Mappings,
    output::{self, Output},
    pending_output::PendingOutput,
    rlimits,
    sampler::{self, Sampler},
    sockets::Sockets,
    soft_limits::SoftLimits,
    spawner::{Spawner, Started},
    standstill::Standstill,
};
use crate::{
    protocol::{
        frame::Kind,
        message::{Cause, ExitReport, ProcessLimits, RunRequest},
        sender::Sender,
    },
    sys,
};

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
    /// What it reads while it runs, if it does.
    pub(crate) live_stdin: Option<LiveStdin>,
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
    rlimits::set(&request.bounds)?;
    let (before, processors) = (counters.read(), sampler::processors());
    let started = Instant::now();
    let Started { pid, stdout, stderr, pending_output } = spawner.start(request, stdin)?;
    let pending_output = match pending_output {
        Some(area) => Some(PendingOutput::new(area, pid, &stdout)?),
        None => None,
    };
    let live_stdin = None;
    Ok(Program { pid, started, processors, before, stdout, stderr, pending_output, live_stdin })
}

impl Program {
    /// Runs the program to its end, however it comes, and leaves no process behind.
    pub(crate) fn watch(
        self,
        input: &mut (impl Read + AsFd),
        worker: &mut Sender<impl Write>,
        signals: &OwnedFd,
        counters: &Counters,
        job_files: Option<&JobFiles>,
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
        let (mut pending_output, mut live_stdin) = (self.pending_output, self.live_stdin);
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
            let takes_more = live_stdin.as_ref().is_none_or(LiveStdin::takes_more);
            let full = live_stdin.as_ref().and_then(LiveStdin::pending);
            let (ready, has_room) = await_events_or_room(
                [
                    takes_more.then(|| input.as_fd()),
                    stdout.pending(),
                    stderr.pending(),
                    Some(signals.as_fd()),
                ],
                full,
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
                let read = input.read(&mut buffer)?;
                let is_input = |stdin: &mut LiveStdin| stdin.accept(&buffer[..read]).is_ok();
                if read > 0 && live_stdin.as_mut().is_some_and(is_input) {
                    live_stdin.iter_mut().for_each(LiveStdin::pump);
                } else if read > 0 {
                    // The worker said all it has to say before the start.
                    break Cause::Tampering;
                } else {
                    // Without a worker there is no reader for the result. This process is the namespace's init:
                    // its exit ends all others.
                    return Err(io::Error::other("the worker is gone"));
                }
            }
            if has_room {
                live_stdin.iter_mut().for_each(LiveStdin::pump);
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
                if let Some(files) = job_files {
                    files.go_on()?;
                }
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
            scratch_files_used_up: soft_limits.scratch_files_used_up,
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
