//! What compilers made lately, so that a proven tenant's program is compiled once.
//!
//! Only successes are kept, and each only for the tenant that it was made for: from how long a job takes, no tenant learns
//! what another has submitted.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sandfleet_common::{CompileReport, Usage};
use sha2::{Digest, Sha256};

use crate::{
    outcome::compile::{Compiled, Made},
    sandbox::Plan,
};

/// How long it is kept: the host's compilers may be upgraded meanwhile.
const KEPT: Duration = Duration::from_secs(600);

type Key = [u8; 32];

/// Programs by what they were made of, at most so many bytes of them.
#[derive(Debug)]
pub struct CompileCache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// The oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    report: CompileReport,
    made: Arc<Made>,
    bytes: usize,
    since: Instant,
}

impl CompileCache {
    /// One that keeps at most so many bytes; 0 for none.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, kept: Mutex::default() }
    }

    /// The key of what `plan` makes for `tenant` in an image; nothing if it is not kept.
    pub(super) fn key(
        &self,
        tenant: Option<&str>,
        image: Option<&str>,
        plan: &Plan,
    ) -> Option<Key> {
        let tenant = tenant.filter(|_| self.max_bytes > 0)?;
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_le_bytes());
            digest.update(bytes);
        };
        part(tenant.as_bytes());
        part(image.unwrap_or_default().as_bytes());
        // Each list with its length, so that no two plans have one text.
        part(&plan.command.len().to_le_bytes());
        plan.command.iter().for_each(|word| part(word.as_bytes()));
        part(&plan.environment.len().to_le_bytes());
        for (name, value) in &plan.environment {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        part(&plan.files.len().to_le_bytes());
        for (name, content) in &plan.files {
            part(name.as_bytes());
            part(content);
        }
        plan.artifacts.iter().for_each(|glob| part(glob.as_bytes()));
        Some(digest.finalize().into())
    }

    /// What was made under this key.
    pub(super) fn get(&self, key: &Key, begun: Instant) -> Option<(Compiled, Made)> {
        let kept = self.lock();
        let entry = kept.entries.get(key).filter(|entry| entry.since.elapsed() < KEPT)?;
        // Nothing was used.
        let report = CompileReport { usage: Usage::default(), ..entry.report.clone() };
        let made = entry.made.as_ref().clone();
        Some((Compiled { report, took: begun.elapsed() }, made))
    }

    /// Keeps what was made, and drops the oldest for it.
    pub(super) fn put(&self, key: Key, compiled: &Compiled, made: &Made) {
        let bytes = made.iter().map(|(name, content)| name.len() + content.len()).sum::<usize>()
            + compiled.report.output.stdout.len()
            + compiled.report.output.stderr.len();
        if bytes > self.max_bytes {
            return;
        }
        let (report, made) = (compiled.report.clone(), Arc::new(made.clone()));
        let mut kept = self.lock();
        let entry = Entry { report, made, bytes, since: Instant::now() };
        match kept.entries.insert(key, entry) {
            Some(old) => kept.bytes -= old.bytes,
            None => kept.order.push_back(key),
        }
        kept.bytes += bytes;
        while kept.bytes > self.max_bytes {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(entry) = kept.entries.remove(&oldest) {
                kept.bytes -= entry.bytes;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Every change is whole before anything can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::smallest_plan;

    fn made(bytes: usize) -> (Compiled, Made) {
        let compiled = Compiled {
            report: CompileReport {
                usage: Usage { cpu_time_ms: 7, ..Usage::default() },
                ..CompileReport::default()
            },
            took: Duration::ZERO,
        };
        (compiled, vec![("a.out".into(), vec![1; bytes - 5])])
    }

    #[test]
    fn a_program_is_kept_for_its_tenant_and_what_it_was_made_of() {
        let cache = CompileCache::new(100);
        let plan = smallest_plan();
        let key = |tenant, image, plan: &Plan| cache.key(tenant, image, plan);
        let own = key(Some("acme"), Some("image"), &plan).expect("kept");
        assert_eq!(key(None, None, &plan), None, "no tenant is proven");
        let mut other = plan.clone();
        other.files.push(("main.c".into(), b"int".to_vec()));
        let mut moved = plan.clone();
        moved.files.push(("main.cint".into(), Vec::new()));
        for (tenant, image, plan) in [
            ("acme", None, &plan),
            ("other", Some("image"), &plan),
            ("acme", Some("image"), &other),
            ("acme", Some("image"), &moved),
        ] {
            assert_ne!(key(Some(tenant), image, plan), Some(own));
        }
        let (compiled, program) = made(40);
        cache.put(own, &compiled, &program);
        let (again, found) = cache.get(&own, Instant::now()).expect("it is there");
        assert_eq!((found, again.report.usage), (program, Usage::default()));
        assert_eq!(CompileCache::new(0).key(Some("acme"), None, &plan), None, "it is off");
    }

    #[test]
    fn the_oldest_make_room() {
        let cache = CompileCache::new(100);
        let (compiled, program) = made(40);
        for key in [[1; 32], [2; 32], [2; 32], [3; 32]] {
            cache.put(key, &compiled, &program);
        }
        let is_there = |key| cache.get(&key, Instant::now()).is_some();
        assert_eq!([[1; 32], [2; 32], [3; 32]].map(is_there), [false, true, true]);
        assert_eq!(cache.lock().bytes, 80);
        let (compiled, program) = made(101);
        cache.put([4; 32], &compiled, &program);
        assert!(!is_there([4; 32]) && is_there([3; 32]), "what never fits moves nothing");
    }
}
