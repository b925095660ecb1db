//! No number that a job or an operator names may come out as none, as no limit, or negative.
//!
//! `PROPTEST_CASES` says how many cases each property is tried on.

use std::sync::LazyLock;

use proptest::{option, prelude::*, sample::select};
use sandfleet_common::{Isolation, Job, LimitName, Limits, OutputOverflow, encode};

use super::*;
use crate::admission::{Admission, catalogue::Catalogue};

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::strict);

fn number() -> impl Strategy<Value = u64> {
    let edges = vec![
        0,
        1,
        2,
        4095,
        1 << 20,
        1 << 31,
        (1 << 32) - 1,
        1 << 50,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    prop_oneof![select(edges), any::<u64>(), 0..100_000u64]
}

fn limits() -> impl Strategy<Value = Limits> {
    prop::collection::vec(number(), LimitName::ALL.len()).prop_map(|numbers| {
        let mut limits = Limits::default();
        for (name, number) in LimitName::ALL.iter().zip(numbers) {
            limits.set(*name, number);
        }
        limits
    })
}

/// As configuration lets them be: neither below what a job may ask for nor without end.
fn configured(mut limits: Limits) -> Limits {
    for name in LimitName::ALL {
        limits.set(*name, limits.get(*name).clamp(name.minimum(), name.maximum()));
    }
    limits
}

fn config(cpus: f64) -> DockerConfig {
    DockerConfig {
        host: "unix:///nowhere".into(),
        runtime: "runc".into(),
        image: "image".into(),
        images: Vec::new(),
        user_base: 200_000,
        cpus,
        worker_id: "w".into(),
        allow_outdated: false,
        apparmor_profile: None,
        pool_size: 0,
        slots: 64,
        observer: Default::default(),
    }
}

/// What tmpfs is told under `name`.
fn option(options: &str, name: &str) -> Option<u64> {
    let prefix = format!("{name}=");
    options.split(',').find_map(|option| option.strip_prefix(&prefix)?.parse().ok())
}

fn assert_everything_is_limited(host: &HostConfig, limits: &Limits) -> Result<(), TestCaseError> {
    let positive = |number: Option<i64>| number.is_some_and(|number| number > 0);
    prop_assert!(positive(host.memory) && host.memory == host.memory_swap, "{limits:?}");
    prop_assert!(positive(host.pids_limit), "{limits:?}");
    prop_assert!(positive(host.nano_cpus));
    // Docker takes 0 for 64 MiB, and tmpfs for as much as there is.
    prop_assert!(positive(host.shm_size), "{limits:?}");
    for options in host.tmpfs.as_ref().expect("scratch space").values() {
        prop_assert!(option(options, "size").is_some_and(|size| size > 0), "{options}");
        prop_assert!(option(options, "nr_inodes").is_some_and(|count| count > 0), "{options}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_job_gets_what_it_asks_for_within_the_caps(
        requested in prop::collection::vec(option::of(number()), LimitName::ALL.len()),
        defaults in limits(),
        caps in limits(),
        cpus in 0.01..1024.0f64,
    ) {
        let mut job = Job::new("python", "");
        for (name, number) in LimitName::ALL.iter().zip(&requested) {
            if let Some(number) = number {
                job.limits.set(*name, *number);
            }
        }
        let (defaults, caps) = (configured(defaults), configured(caps));
        let admission = Admission {
            max_job_bytes: 1 << 20,
            default_limits: defaults,
            max_limits: caps.clone(),
            compile_limits: Limits::default(),
            catalogue: Catalogue::embedded(),
            max_tests: 1,
            job_wall_time_ms: 1,
            cpus: 1.0,
            isolation: Isolation::Container,
        };
        let is_too_small = LimitName::ALL
            .iter()
            .any(|name| job.limits.get(*name).is_some_and(|number| number < name.minimum()));
        let admitted = admission.admit(&encode(&job));
        prop_assert_eq!(admitted.is_err(), is_too_small);
        if let Ok(admitted) = admitted {
            let limits = &admitted.plan.limits;
            for name in LimitName::ALL {
                let got = limits.get(*name);
                prop_assert!(got >= name.minimum() && got <= name.maximum(), "{name}: {got}");
                prop_assert!(got <= caps.get(*name), "{name}: {got}");
                if let Some(asked) = job.limits.get(*name) {
                    prop_assert!(got <= asked, "{name}: {got}");
                }
            }
            let policy = &*POLICY;
            let body = lower(policy, &config(cpus), &ContainerKey::of(&"".into(), limits), 200_000, 0);
            assert_everything_is_limited(&body.host_config.expect("there is one"), limits)?;
            let bounds = policy.bounds(limits, OutputOverflow::Kill, Isolation::Container, cpus);
            // All ones is what kernels call no limit.
            let limited = |number: u64| number > 0 && number <= i64::MAX as u64;
            for number in [
                bounds.wall_time_ms,
                bounds.cpu_time_ms,
                bounds.cpu_quota_ms,
                bounds.output_bytes,
                bounds.output_kill_bytes,
                bounds.open_files,
                bounds.stack_bytes,
                bounds.artifact_bytes,
                bounds.artifact_count,
            ] {
                prop_assert!(limited(number), "{bounds:?}");
            }
            prop_assert!(bounds.output_kill_bytes <= policy.output_kill_bytes);
        }
    }

    #[test]
    fn limits_that_nobody_checked_are_limits_all_the_same(limits in limits()) {
        let body = lower(&POLICY, &config(1.0), &ContainerKey::of(&"".into(), &limits), 200_000, 0);
        assert_everything_is_limited(&body.host_config.expect("there is one"), &limits)?;
    }
}
