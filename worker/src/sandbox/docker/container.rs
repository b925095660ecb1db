//! One container, from its making to its removal.

use std::{io, ops::RangeInclusive, pin::Pin, sync::Arc, time::Duration};

use bollard::{
    Docker,
    container::{AttachContainerResults, LogOutput},
    errors::Error,
    models::ContainerCreateBody,
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions,
        RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
    },
};
use futures_util::StreamExt;
use sandfleet_common::Isolation;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{bytes::Bytes, io::StreamReader, task::TaskTracker};
use tracing::warn;

use super::request::{ask, unless_gone};
use crate::{
    hooks::Observer,
    labels::Call,
    pauses::Pauses,
    sandbox::{SandboxError, capacity::Capacity, session::Loss, uid_pool::ReservedUser},
};

/// How often one removal is tried: engines fail it for a moment when a container is just ending.
const REMOVAL_TRIES: u32 = 5;

/// How long the engine may take over a removal before the container takes a slot out.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// How long after all of these it is tried again: at first, and at most.
const REMOVAL_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_REMOVAL_PAUSE: Duration = Duration::from_secs(60);

/// How many removals may go on in the background. Each takes the engine tens of milliseconds; a worker that
/// ends jobs faster than that waits here.
const REMOVALS_AT_A_TIME: usize = 32;

/// For how long a container of gVisor's may take to end by itself.
const OWN_END: Duration = Duration::from_secs(5);

/// For how long a container may turn up whose making was not answered.
const LATE_MAKING: Duration = Duration::from_secs(60);

/// Exit codes of containers whose PID 1 was ended by a signal, plus its number.
const SIGNALLED: RangeInclusive<i64> = 129..=192;

pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Removals in the background.
#[derive(Clone)]
pub(super) struct Removals {
    pub(super) tasks: TaskTracker,
    places: Arc<Semaphore>,
    /// Whether containers get a moment to end by themselves before they are ended.
    may_end_first: bool,
    /// The places that containers have, whether they run or can't be ended.
    pub(super) capacity: Arc<Capacity>,
}

impl Removals {
    pub(super) fn new(isolation: Isolation, slots: usize) -> Self {
        let places = Arc::new(Semaphore::new(REMOVALS_AT_A_TIME));
        let may_end_first = isolation == Isolation::GVisor;
        let capacity = Capacity::new(slots);
        Self { tasks: TaskTracker::new(), places, may_end_first, capacity }
    }
}

/// A container that is removed when this goes, whichever way.
pub(super) struct Container {
    docker: Docker,
    /// The engine's, or before its answer the name that it was told.
    id: String,
    /// Whether the engine has said that it made it, or didn't.
    is_answered: bool,
    removed: bool,
    removals: Removals,
    /// Reserved until the container is gone.
    user: Option<ReservedUser>,
    /// Among the removals, if there was time to wait for one.
    place: Option<OwnedSemaphorePermit>,
}

/// A container whose agent runs, and both directions of its stream.
pub(super) struct Running {
    pub(super) container: Container,
    pub(super) from: Reader,
    pub(super) to: Writer,
}

impl Container {
    /// Has the engine make a container of `worker`'s.
    pub(super) async fn create(
        docker: &Docker,
        removals: &Removals,
        worker: &str,
        user: ReservedUser,
        body: ContainerCreateBody,
    ) -> Result<Self, SandboxError> {
        // Known beforehand, so that it can be removed if the answer is lost.
        let name = format!("sandfleet-{worker}-{}", uuid::Uuid::now_v7().simple());
        let mut container = Self {
            docker: docker.clone(),
            id: name.clone(),
            is_answered: false,
            removed: false,
            removals: removals.clone(),
            user: Some(user),
            place: None,
        };
        let options =
            CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let is_answered = &mut container.is_answered;
        let created = async {
            let answer = docker.create_container(Some(options), body).await;
            // Anything else is a lost connection, and no answer.
            *is_answered = matches!(answer, Ok(_) | Err(Error::DockerResponseServerError { .. }));
            answer
        };
        let created = ask("creating a container", created).await?;
        container.id = created.id;
        Ok(container)
    }

    /// The engine's name for it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Starts it and attaches to its agent.
    pub(super) async fn start(self, observer: &Observer) -> Result<Running, SandboxError> {
        let options = AttachContainerOptions {
            stream: true,
            stdin: true,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        // Attached first: what a container prints before that is lost.
        let attach = self.docker.attach_container(&self.id, Some(options));
        let AttachContainerResults { output, input } =
            observer.timed(Call::Attach, ask("attaching to a container", attach)).await?;
        let start = self.docker.start_container(&self.id, None::<StartContainerOptions>);
        observer.timed(Call::Start, ask("starting a container", start)).await?;
        let frames = output.filter_map(|part| async move {
            match part {
                Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
                // The agent writes there only if it fails.
                Ok(LogOutput::StdErr { message }) => {
                    let text = String::from_utf8_lossy(&message[..message.len().min(500)]);
                    warn!(agent = %text.trim_end(), "a container's agent wrote to stderr");
                    None
                }
                Ok(_) => None,
                Err(error) => Some(Err(io::Error::other(error))),
            }
        });
        let reader = StreamReader::<_, Bytes>::new(Box::pin(frames));
        Ok(Running { container: self, from: Box::pin(reader), to: input })
    }

    /// Asks the engine why the container has ended.
    pub(super) async fn explain_loss(&self, isolation: Isolation) -> Result<Loss, SandboxError> {
        // The stream's end comes a moment before the engine has seen the container's.
        for _ in 0..50 {
            let inspect = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>);
            let Some(inspected) = unless_gone("inspecting a container", inspect).await? else {
                return Ok(Loss::Unexplained);
            };
            let state = inspected.state.unwrap_or_default();
            if state.running != Some(true) {
                if state.oom_killed == Some(true) {
                    return Ok(Loss::OutOfMemory);
                }
                // Linux shields PID 1 from its own container; gVisor doesn't. An engine that
                // is stopped or restarted answers nothing here, or says another code.
                let was_killed = state.exit_code.is_some_and(|code| SIGNALLED.contains(&code));
                return Ok(match isolation {
                    Isolation::GVisor if was_killed => Loss::Killed,
                    Isolation::GVisor if state.exit_code == Some(0) => Loss::Unheard,
                    _ => Loss::Unexplained,
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Loss::Unexplained)
    }

    /// Ends and removes it, if the engine does that when it is told to. An engine that has to be told
    /// again is told in the background, so that the job gets its verdict.
    pub(super) async fn remove(mut self) {
        if self.removals.may_end_first {
            wait_until_ended(&self.docker, &self.id).await;
        }
        self.removed = try_to_remove(&self.docker, &self.id).await.is_ok();
    }

    /// Removes it in the background, while the next job runs. Nothing runs in it any more; its user stays
    /// reserved until it is gone.
    pub(super) async fn leave(mut self) {
        let place = Arc::clone(&self.removals.places).acquire_owned();
        // The semaphore is never closed.
        self.place = place.await.ok();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.removed {
            let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
            let held = (self.user.take(), self.place.take());
            let (is_answered, may_end_first) = (self.is_answered, self.removals.may_end_first);
            let capacity = Arc::clone(&self.removals.capacity);
            self.removals.tasks.spawn(async move {
                if !is_answered {
                    wait_until_made(&docker, &id).await;
                }
                if may_end_first {
                    wait_until_ended(&docker, &id).await;
                }
                if !remove(&docker, &id).await && is_stuck(&docker, &id).await {
                    // Nothing that closes waits for this: it may never end.
                    tokio::spawn(outlast(docker, id, capacity, held));
                }
            });
        }
    }
}

/// Whether the engine is there, knows the container and can't remove it. If the engine is away, so are its
/// containers' ends.
async fn is_stuck(docker: &Docker, id: &str) -> bool {
    let inspect = docker.inspect_container(id, None::<InspectContainerOptions>);
    matches!(unless_gone("inspecting a container", inspect).await, Ok(Some(_)))
}

/// Retries a removal that failed until the container is gone. After a while a slot is taken out for it. What it
/// `held` stays reserved until then.
async fn outlast<T>(docker: Docker, id: String, capacity: Arc<Capacity>, held: T) {
    let lose_it_at = Instant::now() + GONE_WITHIN;
    let (mut lost, mut pauses) = (None, Pauses::new(REMOVAL_PAUSE, LONGEST_REMOVAL_PAUSE));
    while let Err(error) = try_to_remove(&docker, &id).await {
        if lost.is_none() && Instant::now() >= lose_it_at {
            lost = Some(capacity.lose(format!("container {id}: {error}")));
        }
        sleep(pauses.next()).await;
    }
    drop((held, lost));
}

/// Waits for a container's own end, for a moment.
///
/// In gVisor every process is one of the host, which its shim collects when the container ends. A
/// shim of containerd's that is told to end the container while it collects them waits for itself
/// for ever, and its container can't be removed any more. One that has ended needn't be ended.
async fn wait_until_ended(docker: &Docker, id: &str) {
    let mut ends = docker.wait_container(id, None::<WaitContainerOptions>);
    // Whatever the answer is, it is removed next.
    let _ = timeout(OWN_END, ends.next()).await;
}

/// Waits for a container that the engine was told to make and said nothing of: one that was stopped
/// goes on with what it was told before. What comes even later is left for the reaper.
async fn wait_until_made(docker: &Docker, name: &str) {
    let give_up = Instant::now() + LATE_MAKING;
    while Instant::now() < give_up {
        let inspect = docker.inspect_container(name, None::<InspectContainerOptions>);
        if let Ok(Some(_)) = unless_gone("inspecting a container", inspect).await {
            return;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Ends and removes a container, and returns whether it is gone. If it isn't, that is logged and the reaper
/// tries again.
pub(super) async fn remove(docker: &Docker, id: &str) -> bool {
    let mut last = String::new();
    for attempt in 0..REMOVAL_TRIES {
        match try_to_remove(docker, id).await {
            Ok(()) => return true,
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_millis(100 << attempt)).await;
    }
    warn!(container = id, reason = %last, "a container could not be removed; the reaper will try again");
    false
}

async fn try_to_remove(docker: &Docker, id: &str) -> Result<(), SandboxError> {
    let options = RemoveContainerOptions { force: true, v: true, link: false };
    let removal = docker.remove_container(id, Some(options));
    unless_gone("removing a container", removal).await.map(drop)
}
