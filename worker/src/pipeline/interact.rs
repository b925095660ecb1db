//! A program and an interactive output validator, each in a container of its own, stdout of each to stdin of the other.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use super::parts::Pipeline;
use crate::{
    hooks::Stream,
    outcome::evaluation::says_accepted,
    sandbox::{LiveInput, LiveSender, Outcome, Plan, SandboxError},
};

/// How long a program may take to end when its validator has rejected it. It reads the end of its input at once.
const GRACE: Duration = Duration::from_millis(500);

/// How both ended.
pub(super) struct Interaction {
    /// Nothing for a program that was ended since the validator had rejected it.
    pub(super) program: Option<Outcome>,
    pub(super) validator: Outcome,
    pub(super) validator_was_first: bool,
}

impl Pipeline {
    /// Runs `program` and `validator` together until both have ended.
    pub(super) async fn interact(
        &self,
        program: &Plan,
        validator: &Plan,
    ) -> Result<Interaction, SandboxError> {
        let (to_program, program_input) = LiveInput::new();
        let (to_validator, validator_input) = LiveInput::new();
        let (to_program, to_validator) = (Pipe::new(to_program), Pipe::new(to_validator));
        let program = async {
            let ran = self.sandbox.run_live(program, &to_validator.watcher(), &program_input).await;
            to_validator.close();
            ran
        };
        let validator = async {
            let ran =
                self.sandbox.run_live(validator, &to_program.watcher(), &validator_input).await;
            to_program.close();
            ran
        };
        tokio::pin!(program, validator);
        tokio::select! {
            ran = &mut validator => {
                let validator = ran?;
                let program = match says_accepted(&validator.end) {
                    true => Some(program.await?),
                    false => timeout(GRACE, program).await.ok().transpose()?,
                };
                Ok(Interaction { program, validator, validator_was_first: true })
            }
            ran = &mut program => {
                let program = Some(ran?);
                Ok(Interaction { program, validator: validator.await?, validator_was_first: false })
            }
        }
    }
}

/// The writing end of another program's input, until its own program has ended.
struct Pipe(Mutex<Option<LiveSender>>);

impl Pipe {
    fn new(sender: LiveSender) -> Self {
        Self(Mutex::new(Some(sender)))
    }

    fn watcher(&self) -> impl Fn(Stream, &[u8]) + Send + Sync {
        |stream, bytes| {
            let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Stream::Stdout, Some(sender)) = (stream, sender.as_ref()) {
                // What the other has not read at its end is of no use.
                let _ = sender.send(bytes.to_vec());
            }
        }
    }

    fn close(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
