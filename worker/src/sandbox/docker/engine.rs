//! The Docker engine: starts containers and reaps abandoned ones.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bollard::{
    Docker,
    query_parameters::{InspectContainerOptions, ListContainersOptions},
};
use jiff::Timestamp;

use super::{
    config::DockerConfig,
    confinement,
    container::{self, Container, Removals, Running},
    label,
    request::{ask, ask_within, unless_gone},
    spec::{self, ContainerKey},
};
use crate::labels::Call;
use crate::sandbox::{SandboxError, policy::Policy, session::Transport, uid_pool::ReservedUser};

/// How long a container waits for a job at most; then another replaces it.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What a container may take beyond its wait and its wall time limit before another worker may take
/// it for left behind, in seconds: start, end and artifacts have deadlines that are shorter together.
const SLACK_SECONDS: u64 = 120;

/// For how long a container has to be made and not started, or ended and not removed, to be taken
/// for left behind, in seconds. Its worker needs moments for either.
const IDLE_SECONDS: i64 = 60;

/// How long an engine that works may take to answer a ping, however busy its host is.
const PING_DEADLINE: Duration = Duration::from_secs(5);

/// An engine that containers can be started with.
pub(super) struct Engine {
    pub(super) docker: Docker,
    pub(super) config: DockerConfig,
    pub(super) policy: Policy,
    pub(super) removals: Removals,
    /// Counts containers, so that those alive at a time hardly ever share a user.
    made: AtomicU32,
}

impl Engine {
    pub(super) fn new(docker: Docker, config: DockerConfig, policy: Policy) -> Self {
        // Other workers of the same engine count too; they begin somewhere else.
        let made = AtomicU32::new(uuid::Uuid::now_v7().as_fields().0 ^ std::process::id());
        let removals = Removals::new(config.isolation(), config.slots);
        Self { docker, config, policy, removals, made }
    }

    /// Makes a container and starts it.
    pub(super) async fn start(&self, key: &ContainerKey) -> Result<Running, SandboxError> {
        let first = self.made.fetch_add(1, Ordering::Relaxed);
        let user = ReservedUser::reserve(self.config.user_base, first)?;
        let seconds = LONGEST_WAIT.as_secs() + SLACK_SECONDS;
        let seconds = key.minutes.saturating_mul(60).saturating_add(seconds);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let deadline = Timestamp::now().as_second().saturating_add(seconds);
        let body = spec::lower(&self.policy, &self.config, key, user.id, deadline);
        let worker = &self.config.worker_id;
        let observer = &self.config.observer;
        let created = Container::create(&self.docker, &self.removals, worker, user, body);
        let container = observer.timed(Call::Create, created).await?;
        let started = container.start(observer).await;
        started.map_err(|error| confinement::explain(error, &self.config))
    }

    /// Removes what dead workers have left behind; gives back how much that was.
    pub(super) async fn reap(&self) -> Result<usize, SandboxError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some([("label".to_owned(), vec![label::WORKER.to_owned()])].into()),
            ..ListContainersOptions::default()
        };
        let found = ask("listing containers", self.docker.list_containers(Some(options))).await?;
        let now = Timestamp::now().as_second();
        let mut reaped = 0;
        for summary in found {
            let labels = summary.labels.unwrap_or_default();
            let deadline = labels.get(label::DEADLINE).and_then(|text| text.parse().ok());
            let Some(id) = summary.id else { continue };
            let idle_since = match summary.state.map(|state| state.to_string().to_lowercase()) {
                Some(state) if state == "created" => summary.created,
                Some(state) if state == "exited" => self.ended_at(&id).await?,
                _ => None,
            };
            if is_abandoned(deadline, idle_since, now) && container::remove(&self.docker, &id).await
            {
                reaped += 1;
            }
        }
        Ok(reaped)
    }

    /// When a container ended, in Unix seconds; `None` if it is gone meanwhile or runs.
    async fn ended_at(&self, id: &str) -> Result<Option<i64>, SandboxError> {
        let inspect = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let inspected = unless_gone("inspecting a container", inspect).await?;
        let ended = inspected.and_then(|it| it.state?.finished_at);
        Ok(ended.and_then(|at| at.parse::<Timestamp>().ok()).map(|at| at.as_second()))
    }
}

#[async_trait]
impl Transport for Engine {
    async fn ping(&self) -> Result<(), SandboxError> {
        ask_within(PING_DEADLINE, "pinging the Docker engine", self.docker.ping()).await.map(drop)
    }
}

/// Whether a container was left behind: past its deadline, or for so long made and not started, or
/// ended and not removed. Times are Unix seconds.
fn is_abandoned(deadline: Option<i64>, idle_since: Option<i64>, now: i64) -> bool {
    deadline.is_none_or(|deadline| now > deadline)
        || idle_since.is_some_and(|since| now - since > IDLE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_living_worker_can_need_is_abandoned() {
        let now = 1_000_000;
        assert!(!is_abandoned(Some(now), None, now), "running, in time");
        assert!(is_abandoned(Some(now - 1), None, now), "running, past its deadline");
        assert!(!is_abandoned(Some(now + 9), Some(now - IDLE_SECONDS), now), "about to start");
        assert!(is_abandoned(Some(now + 9), Some(now - IDLE_SECONDS - 1), now), "idle too long");
        assert!(is_abandoned(None, None, now), "no deadline");
    }
}
