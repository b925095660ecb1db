//! What is sent to a container: the request, the files, the start.

use rustix::rand::GetRandomFlags;
use sandfleet_agent::protocol::{
    frame::{self, Kind, MAX_PAYLOAD},
    mac::Key,
    message::{FileHeader, ProcessLimits, RunRequest},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::{Instant as Deadline, timeout_at},
};

use super::{context::SessionContext, error::SessionError};
use crate::sandbox::{LiveInput, Plan};

/// Sends everything that a program needs, with a fresh key.
pub(super) async fn hand_over(
    mut to: impl AsyncWrite + Unpin,
    context: &SessionContext<'_>,
    start_by: Deadline,
) -> Result<Key, SessionError> {
    let key = generate_key()?;
    let SessionContext { plan, policy, isolation, cpus, .. } = *context;
    let bounds = policy.bounds(&plan.limits, plan.output_overflow, isolation, cpus);
    let is_live = context.input.is_some();
    let request = encode_request(plan, key.clone(), bounds, context.processors, is_live)?;
    let send = async {
        to.write_all(&request).await?;
        to.flush().await
    };
    // An agent that gives up stops reading but reports why, so a failure to send is ignored: that report is
    // read next.
    let _: std::io::Result<()> =
        timeout_at(start_by, send).await.map_err(|_| SessionError::Overdue)?;
    Ok(key)
}

/// How much input goes into one frame.
const PIECE: usize = 64 << 10;

/// Passes on what a program is to read while it runs, until that ends or its container takes no more: then what is read
/// from it says why.
pub(super) async fn feed(mut to: impl AsyncWrite + Unpin, input: &LiveInput) {
    let mut received = input.received.lock().await;
    let mut bytes = Vec::new();
    loop {
        let content = received.recv().await;
        bytes.clear();
        match &content {
            Some(content) => {
                content.chunks(PIECE).for_each(|piece| push(&mut bytes, Kind::Input, piece));
            }
            None => push(&mut bytes, Kind::InputEnd, &[]),
        }
        let sent = async {
            to.write_all(&bytes).await?;
            to.flush().await
        };
        let sent: std::io::Result<()> = sent.await;
        if sent.is_err() || content.is_none() {
            return;
        }
    }
}

fn generate_key() -> Result<Key, SessionError> {
    let mut key = Key([0; 32]);
    let got = rustix::rand::getrandom(&mut key.0, GetRandomFlags::empty());
    // The kernel gives so few bytes whole or not at all.
    match got {
        Ok(length) if length == key.0.len() => Ok(key),
        Ok(length) => Err(SessionError::Refused(format!("the kernel gave {length} random bytes"))),
        Err(error) => {
            Err(SessionError::Refused(format!("no random bytes from the kernel: {error}")))
        }
    }
}

fn encode_request(
    plan: &Plan,
    key: Key,
    bounds: ProcessLimits,
    processors: &[u32],
    live_stdin: bool,
) -> Result<Vec<u8>, SessionError> {
    let request = RunRequest {
        key,
        command: plan.command.clone(),
        environment: plan.environment.clone(),
        pending_output: plan.pending_output,
        live_stdin,
        artifacts: plan.artifacts.clone(),
        bounds,
        memory_bytes: plan.limits.memory_bytes,
        processors: processors.to_vec(),
    };
    let all = plan.files.iter().chain(&plan.compiled);
    let size: usize = all.map(|(name, bytes)| name.len() + bytes.len() + 64).sum();
    let mut bytes = Vec::with_capacity(size + plan.stdin.as_ref().map_or(0, Vec::len) + 1024);
    let request = sandfleet_common::encode(&request);
    if request.len() > MAX_PAYLOAD {
        return Err(SessionError::Refused(format!(
            "a request of {} bytes fits no frame",
            request.len()
        )));
    }
    push(&mut bytes, Kind::RunRequest, &request);
    for (name, content) in &plan.files {
        push_content(&mut bytes, Kind::File, name, content);
    }
    for (name, content) in &plan.compiled {
        push_content(&mut bytes, Kind::Program, name, content);
    }
    if let Some(content) = &plan.stdin {
        push_content(&mut bytes, Kind::Stdin, "", content);
    }
    push(&mut bytes, Kind::Start, &[]);
    Ok(bytes)
}

pub(super) fn push(bytes: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    bytes.extend_from_slice(&frame::header(kind, payload.len()));
    bytes.extend_from_slice(payload);
}

fn push_content(bytes: &mut Vec<u8>, kind: Kind, name: &str, content: &[u8]) {
    let header = FileHeader { name: name.to_owned(), size: content.len() as u64 };
    push(bytes, kind, &sandfleet_common::encode(&header));
    for piece in content.chunks(MAX_PAYLOAD) {
        push(bytes, Kind::Data, piece);
    }
}

/// All that goes to the agent of a program.
#[cfg(test)]
pub(crate) fn sent_to_agent(plan: &Plan) -> Vec<u8> {
    use sandfleet_common::Isolation;

    use crate::sandbox::policy::Policy;

    let isolation = Isolation::Container;
    let bounds = Policy::strict().bounds(&plan.limits, plan.output_overflow, isolation, 1.0);
    encode_request(plan, Key([0; 32]), bounds, &[], false).expect("it fits")
}
