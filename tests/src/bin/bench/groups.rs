//! Which lanes there are, and which of them this machine can measure.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Result;
use sandfleet_common::Job;
use sandfleet_tests::TestCgroup;
use sandfleet_worker::config::Backend;

use super::{
    arguments::Arguments,
    data, evaluation, fleet,
    lanes::{
        BARE, COLD, COLD_OFFERED, DOCKER, DOCKER_LIGHT, DOCKER_RUN, Engine, OFFERED, WARM, skipped,
        warmth,
    },
    memory,
    native::{self, Sandboxed},
    peers, printing,
    rounds::{Group, Lane, Row, Warm},
    subject::{Paced, Repeated, Subject},
    workers,
};

/// The engine takes that long to start and to end a container.
const DOCKER_PAUSE: Duration = Duration::from_millis(700);

/// Measures all groups that were asked for.
pub(crate) async fn measure(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    program: &Path,
) -> Result<Vec<Row>> {
    let directory = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for (name, concurrency) in [("print, 1 at a time", 1), ("print, 2 at a time", 2)] {
        if arguments.wants(name) {
            let place = directory.path().join(concurrency.to_string());
            std::fs::create_dir(&place)?;
            rows.extend(print(arguments, test_cgroup, name, concurrency, &place).await?);
        }
    }
    rows.extend(docker(arguments, test_cgroup).await?);
    rows.extend(printing::measure(arguments, test_cgroup, directory.path()).await?);
    rows.extend(data::measure(arguments, test_cgroup).await?);
    rows.extend(evaluation::measure(arguments, test_cgroup).await?);
    rows.extend(fleet::measure(arguments, test_cgroup, program, directory.path()).await?);
    rows.extend(workers::measure(arguments, test_cgroup, program).await?);
    rows.extend(memory::measure(arguments, test_cgroup, program).await?);
    Ok(rows)
}

/// The smallest program, by everything that starts a process for it.
async fn print(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    name: &'static str,
    concurrency: usize,
    directory: &Path,
) -> Result<Vec<Row>> {
    let jobs = arguments.choose(200, 40);
    let lane = |name: &str, subject: Arc<dyn Subject>| Lane {
        name: name.into(),
        subject,
        jobs,
        concurrency,
        warm: Warm::None,
    };
    let mut lanes = vec![
        lane(BARE, Arc::new(peers::bare())),
        lane(OFFERED, Arc::new(peers::bare_as_offered(directory)?)),
    ];
    let (mut absent, mut open) = (Vec::new(), Vec::new());
    let plain = native_lane(test_cgroup, Some(native::plain_catalogue()?), false).await?;
    lanes.push(lane(COLD, Arc::new(Repeated(Arc::clone(&plain)))));
    open.push(plain);
    let offered = native_lane(test_cgroup, None, false).await?;
    lanes.push(lane(COLD_OFFERED, Arc::new(Repeated(Arc::clone(&offered)))));
    open.push(offered);
    let warm = native_lane(test_cgroup, None, true).await?;
    lanes.push(Lane { warm: Warm::All, ..lane(WARM, Arc::new(Repeated(Arc::clone(&warm)))) });
    open.push(warm);
    for (peer, process) in peers::local(directory) {
        match process {
            Ok(process) => lanes.push(lane(peer, Arc::new(process))),
            Err(why) => absent.push((peer.into(), why)),
        }
    }
    let rounds = arguments.choose(9, 3);
    let rows = Group { name, lanes, absent, rounds }.measure(test_cgroup).await;
    for sandboxed in open {
        sandboxed.sandbox.close().await;
    }
    Ok(rows)
}

/// The native sandbox with the smallest program.
async fn native_lane(
    test_cgroup: &TestCgroup,
    catalogue: Option<sandfleet_worker::admission::catalogue::Catalogue>,
    warm: bool,
) -> Result<Arc<Sandboxed>> {
    let settings = native::settings(test_cgroup, warmth(warm))?;
    let mut job = Job::new("python", "print(1+1)");
    job.artifacts = vec!["*.txt".into()];
    Sandboxed::open(Backend::Native, &settings, catalogue, job, "2").await
}

/// The Docker backend against `docker run`, both with the tests' engine and image.
async fn docker(arguments: &Arguments, test_cgroup: &TestCgroup) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, concurrency) in
        [(DOCKER_LIGHT, 1), ("docker, 1 at a time", 1), ("docker, 2 at a time", 2)]
    {
        if !arguments.wants(name) {
            continue;
        }
        let Some(engine) = Engine::find() else {
            rows.push(skipped(
                name,
                DOCKER,
                "skipped: no Docker engine; use `bash tests/run bench`",
            ));
            continue;
        };
        let settings = native::settings(
            test_cgroup,
            &[
                ("SANDBOX_BACKEND", "docker"),
                ("SANDBOX_DOCKER_HOST", &engine.host),
                ("SANDBOX_IMAGE", &engine.image),
                // Debian 12 has no newer one.
                ("SANDBOX_ALLOW_OUTDATED_ENGINE", "true"),
            ],
        )?;
        let job = Job::new("python", "print(1+1)");
        let catalogue = Some(native::plain_catalogue()?);
        let ours = Sandboxed::open(Backend::Docker, &settings, catalogue, job, "2").await;
        let is_light = name == DOCKER_LIGHT;
        let jobs = if is_light { arguments.choose(10, 4) } else { arguments.choose(20, 6) };
        let lane = |name: &str, subject: Arc<dyn Subject>| Lane {
            name: name.into(),
            subject: match is_light {
                true => Arc::new(Paced { subject, pause: DOCKER_PAUSE }),
                false => subject,
            },
            jobs,
            concurrency,
            warm: Warm::None,
        };
        let run = peers::docker_run(&engine.host, &engine.image, Vec::new(), &peers::PROGRAM, "2");
        let mut lanes = vec![lane(DOCKER_RUN, Arc::new(run)), lane(BARE, Arc::new(peers::bare()))];
        let mut absent = Vec::new();
        match &ours {
            Ok(ours) => lanes.push(lane(DOCKER, Arc::new(Repeated(Arc::clone(ours))))),
            Err(error) => absent.push((DOCKER.into(), format!("{error:#}"))),
        }
        rows.extend(
            Group { name, lanes, absent, rounds: arguments.choose(5, 2) }
                .measure(test_cgroup)
                .await,
        );
        if let Ok(ours) = ours {
            ours.sandbox.close().await;
        }
    }
    Ok(rows)
}
