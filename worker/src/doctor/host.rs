//! The host itself: what of it hangs, what is short, and which kernel it has.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use tokio::time::sleep;

use super::{
    finding::{Finding, State},
    kernels,
    table_age::{self, today},
};
use crate::{
    config::Settings,
    host::{
        limits::{self, few_files, few_namespaces},
        memory,
        processes::{self, Process},
    },
};

pub(super) const HOST: &str = "host";

/// A process that is in uninterruptible sleep at both ends of this may hang.
const HANGS_FOR: Duration = Duration::from_secs(2);

/// Namespaces of each kind that a slot and what it leaves behind for a moment hold, generously.
const NAMESPACES_A_SLOT: u64 = 8;

pub(super) async fn host(settings: &Settings) -> Vec<Finding> {
    let mut findings = examine(Path::new("/proc"), settings, HANGS_FOR).await;
    findings.push(table_age::finding(
        HOST,
        "known kernel vulnerabilities",
        kernels::AS_OF,
        today(),
    ));
    findings
}

async fn examine(proc: &Path, settings: &Settings, hangs_for: Duration) -> Vec<Finding> {
    let before = processes::uninterruptible(proc);
    sleep(hangs_for).await;
    let mut findings = vec![hanging(&before, processes::uninterruptible(proc))];
    findings.push(match memory::reserve(proc, settings, &settings.limits.largest()) {
        Ok(figures) => Finding::ok(HOST, "memory", figures),
        Err(reason) => bad(reason, "memory", "lower worker.slots or limits.max.memory_bytes"),
    });
    findings.extend(limits::uses(proc).into_iter().map(used));
    let wanted = NAMESPACES_A_SLOT * settings.worker.slots as u64;
    for (sysctl, limit) in few_namespaces(proc, wanted) {
        let slots = settings.worker.slots;
        let detail = format!("{sysctl} is {limit}; {slots} slots may hold {wanted}");
        findings.push(bad(detail, "namespaces", "raise the sysctl, or lower worker.slots"));
    }
    findings.extend(files(proc, settings));
    findings.extend(kernel(&fs::read_to_string(proc.join("version")).unwrap_or_default()));
    findings
}

/// Files are the host's: what one job may hold, others can't open.
fn files(proc: &Path, settings: &Settings) -> Option<Finding> {
    let (slots, caps) = (settings.worker.slots, settings.limits.largest());
    let wanted = caps.processes.saturating_mul(caps.open_files).saturating_mul(slots as u64);
    let limit = few_files(proc, wanted)?;
    let detail = format!("fs.file-max is {limit}; {slots} slots may hold {wanted} open files");
    let fix =
        "raise the sysctl, or lower limits.max.processes, limits.max.open_files or worker.slots";
    Some(bad(detail, "open files of jobs", fix))
}

fn bad(detail: String, name: &str, fix: &str) -> Finding {
    let (detail, fix) = match detail.split_once("; lower ") {
        Some((detail, rest)) => (detail.to_owned(), format!("lower {rest}")),
        None => (detail, fix.to_owned()),
    };
    Finding::bad(HOST, name, State::Warning, detail, fix)
}

fn hanging(before: &[Process], now: Vec<Process>) -> Finding {
    let known: BTreeSet<u32> = before.iter().map(|process| process.number).collect();
    let still: Vec<_> = now.into_iter().filter(|it| known.contains(&it.number)).collect();
    if still.is_empty() {
        return Finding::ok(HOST, "processes that hang", "none waits in the kernel for long");
    }
    let detail = format!("{} can't be ended: {}", still.len(), processes::listed(&still));
    let fix = "see whether what they wait for is a disk or a network file system; if they are \
               sandfleet's or wait for system call filters, restart the host";
    Finding::bad(HOST, "processes that hang", State::Warning, detail, fix)
}

fn used(it: limits::Use) -> Finding {
    let detail = format!("{} of {} used ({})", it.used, it.limit, it.sysctl);
    match it.is_short() {
        false => Finding::ok(HOST, it.what, detail),
        true => {
            let fix = format!("raise {}, or end what holds them", it.sysctl);
            Finding::bad(HOST, it.what, State::Warning, detail, fix)
        }
    }
}

fn kernel(version: &str) -> Vec<Finding> {
    let Some(release) = kernels::release(version) else {
        let detail = "its release can't be read from /proc/version".to_owned();
        return vec![bad(detail, "kernel", "see yourself whether it is up to date")];
    };
    let (major, minor, patch) = release;
    let vulnerabilities: Vec<_> = kernels::vulnerabilities(release)
        .map(|it| {
            let detail = format!("Linux {major}.{minor}.{patch}: {}", it.meaning);
            Finding::bad(HOST, it.name, State::Warning, detail, it.fix)
        })
        .collect();
    if vulnerabilities.is_empty() {
        let detail =
            format!("Linux {major}.{minor}.{patch}, without vulnerabilities on this worker's list");
        return vec![Finding::ok(HOST, "kernel", detail)];
    }
    vulnerabilities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_in_trouble_is_shown_with_what_to_do() {
        let proc = tempfile::tempdir().expect("room");
        let set = |path: &str, text: &str| {
            let path = proc.path().join(path);
            fs::create_dir_all(path.parent().expect("in a directory")).expect("room");
            fs::write(path, text).expect("room");
        };
        set("7/stat", "7 (sandfleet) D 1 7 7");
        set("7/wchan", "do_seccomp");
        set("meminfo", "MemAvailable: 1024 kB\n");
        set("vmallocinfo", "0x1-0x2 950 bpf_jit_alloc_exec+0x1/0x2 pages=1\n");
        set("sys/net/core/bpf_jit_limit", "1000\n");
        set("sys/user/max_pid_namespaces", "1\n");
        set("sys/fs/file-nr", "100 0 5000\n");
        set("version", "Linux version 6.18.44 (x)\n");
        let settings = Settings::load(None, Vec::new()).expect("the defaults");
        let findings = examine(proc.path(), &settings, Duration::ZERO).await;
        let said: Vec<_> = findings
            .iter()
            .filter(|it| it.state == State::Warning && it.fix.is_some())
            .map(|it| it.detail.as_str())
            .collect();
        for part in [
            "do_seccomp",
            "1 MiB are available",
            "950 of 1000",
            "max_pid_namespaces is 1",
            "fs.file-max is 5000",
            "6.18.44",
        ] {
            assert!(said.iter().any(|detail| detail.contains(part)), "{part}: {said:#?}");
        }
        // What doesn't hang for long is nothing.
        assert_eq!(hanging(&[], processes::uninterruptible(proc.path())).state, State::Ok);
    }
}
