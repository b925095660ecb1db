//! What it is measured on, and the CPU time that is spent there.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use sandfleet_tests::{TestCgroup, busy_time};
use serde::Serialize;

/// The machine and the programs that are compared.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    system: String,
    cgroups: &'static str,
    /// Name and version, or that it isn't there.
    programs: Vec<(String, String)>,
    /// The load average of the minute before: others' work makes every figure worse.
    load_before: String,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let first = |file: &str, name: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once([':', '='])
                .map_or("", |(_, value)| value)
                .trim()
                .trim_matches('"')
                .to_owned()
        };
        let unified = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: first("/proc/cpuinfo", "model name"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .unwrap_or_default()
                .trim()
                .into(),
            system: first("/etc/os-release", "PRETTY_NAME"),
            cgroups: if unified { "version 2" } else { "version 1" },
            programs: [
                ("/usr/bin/python3", "--version"),
                ("bwrap", "--version"),
                ("runc", "--version"),
                ("dockerd", "--version"),
                ("isolate", "--version"),
                ("nsjail", "--version"),
                ("rabbitmqctl", ""),
                ("redis-server", "--version"),
            ]
            .into_iter()
            .map(|(program, flag)| (program.to_owned(), version(program, flag)))
            .collect(),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    pub(crate) fn sentence(&self) -> String {
        let programs: Vec<String> =
            self.programs.iter().map(|(name, version)| format!("{name}: {version}")).collect();
        format!(
            "{} × {}; Linux {}; {}; control groups of {}; load average before: {}\n{}",
            self.cores,
            self.processor,
            self.kernel,
            self.system,
            self.cgroups,
            self.load_before,
            programs.join("; ")
        )
    }
}

/// Where `program` is found as root's shell would find it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').map(|directory| PathBuf::from(directory).join(program)).find(|it| it.exists())
}

fn version(program: &str, flag: &str) -> String {
    let Some(path) = find(program) else { return "absent".into() };
    if flag.is_empty() {
        // RabbitMQ's own programs want a node; the package knows without one.
        let asked =
            Command::new("dpkg-query").args(["-W", "-f", "${Version}", "rabbitmq-server"]).output();
        return asked.map_or("unknown".into(), |out| String::from_utf8_lossy(&out.stdout).into());
    }
    let output = Command::new(path).arg(flag).output();
    let text =
        output.map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).into_owned());
    text.lines().next().unwrap_or("unknown").to_owned()
}

/// CPU time until now, by two ways of counting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// This process, the children that it waited for, the containers and their launchers by their
    /// control group, and the processes that were named.
    pub(crate) own: Duration,
    /// Everything on the machine that wasn't idle: also the kernel's own work after a container's
    /// end, brokers and engines, and whatever else goes on.
    pub(crate) machine: Duration,
}

impl Spent {
    pub(crate) fn until_now(test_cgroup: &TestCgroup, processes: &[u32]) -> Self {
        let mut own = of_process("self") + of_group(test_cgroup);
        for process in processes {
            own += of_process(&process.to_string());
        }
        Self { own, machine: busy_time().unwrap_or_default() }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            own: self.own.saturating_sub(before.own),
            machine: self.machine.saturating_sub(before.machine),
        }
    }
}

/// The kernel counts in hundredths of a second in these files, on all known architectures.
fn ticks(count: u64) -> Duration {
    Duration::from_millis(count * 10)
}

fn of_process(name: &str) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
    // The second field is the name, which may contain anything.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    // utime, stime, cutime, cstime
    ticks(fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum())
}

fn of_group(test_cgroup: &TestCgroup) -> Duration {
    for directory in test_cgroup.directories() {
        if let Ok(text) = fs::read_to_string(directory.join("cpuacct.usage")) {
            return Duration::from_nanos(text.trim().parse().unwrap_or(0));
        }
        let text = fs::read_to_string(directory.join("cpu.stat")).unwrap_or_default();
        let used = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        if let Some(microseconds) = used.and_then(|text| text.parse().ok()) {
            return Duration::from_micros(microseconds);
        }
    }
    Duration::ZERO
}
