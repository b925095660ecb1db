//! Bounds of single processes: setrlimit(2).

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::protocol::message::ProcessLimits;

/// CPU time for the agent's own work, in seconds: more than the worker waits for it.
const OWN_CPU_SECONDS: u64 = 60;

/// Sets the bounds that are this process's own, and its children's.
pub(crate) fn set(bounds: &ProcessLimits) -> io::Result<()> {
    let limits = [
        // A dump would only fill the scratch space, or go to a program of the host.
        (Resource::Core, 0),
        (Resource::Nofile, bounds.open_files),
        (Resource::Memlock, 64 << 10),
    ];
    for (resource, value) in limits {
        lower(resource, value)?;
    }
    // Only what it starts with: a stack is memory of the job, and programs that bound themselves set both limits.
    let maximum = getrlimit(Resource::Stack).maximum;
    let current = Some(maximum.map_or(bounds.stack_bytes, |most| most.min(bounds.stack_bytes)));
    setrlimit(Resource::Stack, Rlimit { current, maximum })?;
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
