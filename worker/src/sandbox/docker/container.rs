//! One container, from its making to its removal.

use std::{io, ops::RangeInclusive, pin::Pin, time::Duration};

use bollard::{
    Docker,
    container::{AttachContainerResults, LogOutput},
    models::ContainerCreateBody,
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions,
        RemoveContainerOptions, StartContainerOptions,
    },
};
use futures_util::StreamExt;
use sandfleet_common::Isolation;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_util::{bytes::Bytes, io::StreamReader, task::TaskTracker};
use tracing::warn;

use super::{DEADLINE, ask};
use crate::sandbox::{Plan, SandboxError, conversation::Loss, users::ReservedUser};

/// How often a removal is tried: engines fail it for a moment when a container is just ending.
const REMOVALS: u32 = 5;

/// Exit codes of containers whose PID 1 was ended by a signal, plus its number.
const SIGNALLED: RangeInclusive<i64> = 129..=192;

pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub(super) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A container that is removed when this goes, whichever way.
pub(super) struct Container {
    docker: Docker,
    id: String,
    removed: bool,
    cleanups: TaskTracker,
    /// Nobody else's until the container is gone.
    user: Option<ReservedUser>,
}

impl Container {
    /// Has the engine make the container for `plan`.
    pub(super) async fn create(
        docker: &Docker,
        cleanups: &TaskTracker,
        plan: &Plan,
        user: ReservedUser,
        body: ContainerCreateBody,
    ) -> Result<Self, SandboxError> {
        // Known beforehand, so that it can be removed if the answer is lost.
        let name =
            format!("sandfleet-{}-{}-{}", plan.job_id, plan.attempt, uuid::Uuid::now_v7().simple());
        let mut container = Self {
            docker: docker.clone(),
            id: name.clone(),
            removed: false,
            cleanups: cleanups.clone(),
            user: Some(user),
        };
        let options =
            CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let created = docker.create_container(Some(options), body);
        container.id = ask("creating a container", created).await?.id;
        Ok(container)
    }

    /// Starts it and gives both directions of its stream.
    pub(super) async fn start(&self) -> Result<(Reader, Writer), SandboxError> {
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
            ask("attaching to a container", attach).await?;
        let start = self.docker.start_container(&self.id, None::<StartContainerOptions>);
        ask("starting a container", start).await?;
        let frames = output.filter_map(|part| async move {
            match part {
                Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
                // The agent says nothing there unless it breaks.
                Ok(LogOutput::StdErr { message }) => {
                    let text = String::from_utf8_lossy(&message[..message.len().min(500)]);
                    warn!(agent = %text.trim_end(), "a container's agent complains");
                    None
                }
                Ok(_) => None,
                Err(error) => Some(Err(io::Error::other(error))),
            }
        });
        let reader = StreamReader::<_, Bytes>::new(Box::pin(frames));
        Ok((Box::pin(reader), input))
    }

    /// Asks the engine why the container has ended.
    pub(super) async fn explain_loss(&self, isolation: Isolation) -> Result<Loss, SandboxError> {
        // The stream's end comes a moment before the engine has seen the container's.
        for _ in 0..50 {
            let inspect = self.docker.inspect_container(&self.id, None::<InspectContainerOptions>);
            let state = ask("inspecting a container", inspect).await?.state.unwrap_or_default();
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

    /// Ends and removes it.
    pub(super) async fn remove(&mut self) {
        remove(&self.docker, &self.id).await;
        self.removed = true;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.removed {
            let (docker, id) = (self.docker.clone(), std::mem::take(&mut self.id));
            let user = self.user.take();
            self.cleanups.spawn(async move {
                remove(&docker, &id).await;
                drop(user);
            });
        }
    }
}

/// Ends and removes a container; says whether it is gone. What can't be removed now is left for
/// the reaper and said aloud.
pub(super) async fn remove(docker: &Docker, id: &str) -> bool {
    let mut last = String::new();
    for attempt in 0..REMOVALS {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match timeout(DEADLINE, docker.remove_container(id, Some(options))).await {
            Ok(Ok(())) => return true,
            Ok(Err(bollard::errors::Error::DockerResponseServerError {
                status_code: 404, ..
            })) => return true,
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer in 15 s".into(),
        }
        sleep(Duration::from_millis(100 << attempt)).await;
    }
    warn!(container = id, reason = %last, "a container could not be removed; the reaper will try again");
    false
}
