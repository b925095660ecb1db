//! `sandfleet submit --follow`: what a program prints, while it runs in the fleet.

use std::time::Duration;

use futures_util::StreamExt;
use sandfleet_common::{JobId, JobResult};
use sandfleet_sdk::{Client, OutputEvent};
use tokio::time::{Instant, timeout_at};

use super::{
    exit::{Exit, Failure},
    show,
    terminal::{self, ProgramOutput},
};
use crate::hooks::Stream;

/// Shows what the job prints until it has a result.
pub(super) async fn follow(
    client: &Client,
    id: &JobId,
    timeout: Duration,
    output: &ProgramOutput,
) -> Result<Box<JobResult>, Failure> {
    let end = Instant::now() + timeout;
    let mut events = client.stream(id);
    loop {
        let Ok(next) = timeout_at(end, events.next()).await else {
            return Err(show::no_result(client, id, timeout).await);
        };
        let Some(event) = next else {
            return Err(Exit::Internal.with(format!("the output of job {id} ended unasked")));
        };
        // stdout may be closed (`| head`); the job's end is still awaited.
        let _ = match event? {
            OutputEvent::Started { attempt: 1 } => Ok(()),
            OutputEvent::Started { attempt } => {
                note(&format!("attempt {attempt} begins; what came before doesn't count"))
            }
            OutputEvent::Stdout(bytes) => output.write(Stream::Stdout, &bytes),
            OutputEvent::Stderr(bytes) => output.write(Stream::Stderr, &bytes),
            OutputEvent::Missing { stream, bytes } => note(&format!(
                "{bytes} bytes of {} are not shown here; `sandfleet result {id}` has them",
                stream.as_str()
            )),
            OutputEvent::Done(result) => {
                let _ = output.finish();
                return Ok(result);
            }
        };
    }
}

fn note(sentence: &str) -> std::io::Result<()> {
    terminal::say_lines("\n");
    terminal::say(format_args!("sandfleet: {sentence}"));
    Ok(())
}
