//! What the Docker sandbox owes to the engine's ways.

use std::collections::HashMap;

use bollard::{
    Docker,
    models::ContainerCreateBody,
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions,
        ListContainersOptions, RemoveContainerOptions,
    },
};
use jiff::Timestamp;
use sandfleet_common::{JobId, Verdict};
use sandfleet_tests::eventually;
use sandfleet_worker::{
    hooks::Stream,
    sandbox::{Sandbox, docker::DockerConfig},
};
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::bench::{admitted, docker_config, open, python, stdout_of, watch};

fn worker() -> String {
    format!("engine-{}", JobId::generate())
}

pub(crate) async fn connect(config: &DockerConfig) -> Docker {
    let docker = Docker::connect_with_host(&config.host).expect("a valid address");
    docker.negotiate_version().await.expect("the engine runs")
}

/// A container as a worker makes them, not started, with this deadline in Unix seconds.
async fn left_behind(docker: &Docker, config: &DockerConfig, deadline: i64) -> String {
    let body = ContainerCreateBody {
        image: Some(config.image.clone()),
        labels: Some(HashMap::from([
            ("sandfleet.worker".to_owned(), config.worker_id.clone()),
            ("sandfleet.deadline".to_owned(), deadline.to_string()),
        ])),
        ..ContainerCreateBody::default()
    };
    let made = docker.create_container(None::<CreateContainerOptions>, body).await;
    made.expect("the engine has the image").id
}

/// The ids of the containers that the worker of `config` has made.
pub(crate) async fn containers_of(docker: &Docker, config: &DockerConfig) -> Vec<String> {
    let label = format!("sandfleet.worker={}", config.worker_id);
    let options = ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..ListContainersOptions::default()
    };
    let listed = docker.list_containers(Some(options)).await.expect("the engine answers");
    listed.into_iter().filter_map(|container| container.id).collect()
}

async fn is_there(docker: &Docker, id: &str) -> bool {
    docker.inspect_container(id, None::<InspectContainerOptions>).await.is_ok()
}

#[tokio::test]
async fn the_reaper_removes_containers_past_their_deadline_and_no_others() {
    let config = docker_config(worker(), "runc");
    let docker = connect(&config).await;
    let now = Timestamp::now().as_second();
    let dead = left_behind(&docker, &config, now - 1).await;
    let alive = left_behind(&docker, &config, now + 3600).await;
    let sandbox = open(config).await;
    assert!(sandbox.reap().await.expect("the engine runs") >= 1);
    let (dead_is_there, alive_is_there) =
        (is_there(&docker, &dead).await, is_there(&docker, &alive).await);
    let options = RemoveContainerOptions { force: true, ..Default::default() };
    docker.remove_container(&alive, Some(options)).await.expect("it is ours");
    assert!(!dead_is_there && alive_is_there, "dead {dead_is_there}, alive {alive_is_there}");
    sandbox.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runtime_that_never_comes_back_is_named_and_holds_nobody_up() {
    let config = docker_config(worker(), "stuck");
    let docker = connect(&config).await;
    let stuck = open(config.clone()).await;
    let sound = open(docker_config(worker(), "runc")).await;
    let plan = admitted(&python("print('never')")).plan;
    let other = python("print('meanwhile')");
    let (tried, printed) = tokio::join!(stuck.run(&plan, &|_, _| ()), stdout_of(&sound, &other),);
    assert_eq!(printed, "meanwhile\n");
    let error = tried.expect_err("it never starts").to_string();
    assert!(error.contains("did not answer in 15 s"), "{error}");
    sound.close().await;
    stuck.close().await;
    eventually("the end of the container that never started", || async {
        containers_of(&docker, &config).await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agent_is_told_after_the_start_ends_the_job() {
    let config = docker_config(worker(), "runc");
    let docker = connect(&config).await;
    let sandbox = open(config.clone()).await;
    let job = python("import time\nprint('started', flush=True)\ntime.sleep(5)\nprint('went on')");
    let started = Notify::new();
    let watcher = |_: Stream, _: &[u8]| started.notify_one();
    let another_client = async {
        started.notified().await;
        let options = AttachContainerOptions { stream: true, stdin: true, ..Default::default() };
        let [container] = &containers_of(&docker, &config).await[..] else { panic!("one runs") };
        let attached = docker.attach_container(container, Some(options)).await;
        let mut input = attached.expect("it runs").input;
        // A start without anything to start: kind 5, no payload.
        input.write_all(&[5, 0, 0, 0, 0]).await.expect("the engine takes it");
        input.flush().await.expect("the engine takes it");
        // What is dropped is detached: kept until the job ends.
        input
    };
    let (result, _) = tokio::join!(watch(&sandbox, &job, &watcher), another_client);
    sandbox.close().await;
    assert_eq!(result.verdict, Some(Verdict::SecurityViolation), "{result:#?}");
    assert_eq!(result.run.expect("it ran").stdout, "started\n");
}
