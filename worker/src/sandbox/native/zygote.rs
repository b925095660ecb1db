//! The worker's end of a zygote: an interpreter that is started ahead and copied for each slot.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use sandfleet_agent::protocol::zygote::{Command, DIRECTORY, Report};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Child,
    sync::Mutex,
    time::timeout,
};
use tracing::warn;

use super::{
    channel::Channel,
    launcher::{self, Launcher},
    roots::{self, Root},
};
use crate::{admission::catalogue::WarmStart, sandbox::agent_binary};

/// How long an interpreter may take to load everything, and to make a copy.
const START_DEADLINE: Duration = Duration::from_secs(60);
const COPY_DEADLINE: Duration = Duration::from_secs(10);

/// Copies share the secret of their hashes and the layout of their memory with all others of the
/// same zygote. So each serves for so many programs (see the catalogue) and so long only.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The agent as a module of CPython, for this machine's architecture.
const MODULE: &[u8] = include_bytes!(env!("WARM_MODULE"));
/// The variable by which the interpreter finds them.
const MODULES: &str = "PYTHONPATH";
const STARTER: &[u8] = include_bytes!("../../../agent/warm/sitecustomize.py");

/// An interpreter that has loaded everything. Dropping it ends it; its copies go on.
#[derive(Debug)]
pub(crate) struct Zygote {
    channel: Mutex<Channel>,
    _process: Child,
    /// Kept from being removed.
    _root: Root,
    born: Instant,
    programs: AtomicU32,
    max_programs: u32,
    vfork: bool,
    retired: AtomicBool,
}

/// Why there is no warm interpreter.
#[derive(Debug)]
pub(crate) enum StartError {
    /// It is one that can't be made warm, however often it is tried.
    Unfit(String),
    /// It didn't come about this time.
    Failed(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl Zygote {
    /// Starts one of the programs in `root` and waits until copies can be made.
    pub(crate) async fn start(warm: &WarmStart, root: &Root) -> Result<Self, StartError> {
        let (channel, theirs) = Channel::pair()?;
        // Pipes, since programs have pipes there, and the interpreter looks at its start.
        let mut process = launcher::spawn("zygote", theirs, Stdio::piped(), Stdio::piped())?;
        if let Some(errors) = process.stderr.take() {
            tokio::spawn(pass_on(errors));
        }
        let variables = [warm.own_variables.join("\n"), MODULES.into()].join("\n");
        let files = [
            ("_warm.so", MODULE),
            ("sitecustomize.py", STARTER),
            ("imports", warm.imports.join("\n").as_bytes()),
            ("rehearsal", warm.rehearsal.as_bytes()),
            ("variables", variables.as_bytes()),
        ]
        .map(|(name, content)| {
            Ok::<_, io::Error>((name.to_owned(), agent_binary::file(name, content)?))
        });
        let files: Vec<(String, OwnedFd)> = files.into_iter().collect::<Result<_, _>>()?;
        let mut environment = warm.environment.clone();
        environment.push((MODULES.into(), DIRECTORY.into()));
        let (names, descriptors): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let (command, program) = (warm.command.clone(), warm.program.clone());
        let command = Command::Become {
            root: roots::path(root),
            command,
            environment,
            program,
            files: names,
        };
        let descriptors: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
        let ready = async {
            channel.send(&command, &descriptors).await?;
            channel.receive().await
        };
        match timeout(START_DEADLINE, ready).await.map_err(io::Error::from)?? {
            Report::Ready => Ok(Self {
                channel: Mutex::new(channel),
                _process: process,
                _root: root.clone(),
                born: Instant::now(),
                programs: AtomicU32::new(0),
                max_programs: warm.max_programs,
                vfork: warm.vfork,
                retired: AtomicBool::new(false),
            }),
            Report::Unfit { reason } => Err(StartError::Unfit(reason)),
            Report::Failed { reason } => Err(io::Error::other(reason).into()),
            Report::Copied { .. } => Err(io::Error::other("a copy that was not requested").into()),
        }
    }

    /// A copy of it, as a launcher.
    pub(crate) async fn copy(&self) -> io::Result<Launcher> {
        let (ours, theirs) = Channel::pair()?;
        // One question at a time: answers carry no name.
        let channel = self.channel.lock().await;
        let copied = async {
            channel.send(&Command::Copy { vfork: self.vfork }, &[theirs.as_fd()]).await?;
            channel.receive().await
        };
        match timeout(COPY_DEADLINE, copied).await?? {
            Report::Copied { process } => Launcher::of_copy(ours, process),
            other => Err(io::Error::other(format!("no copy but {other:?}"))),
        }
    }

    /// Counts a program that starts from it.
    pub(crate) fn count(&self) {
        self.programs.fetch_add(1, Ordering::Relaxed);
    }

    /// Has another take its place.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// Whether another should take its place.
    pub(crate) fn is_expired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
            || self.programs.load(Ordering::Relaxed) >= self.max_programs
            || self.born.elapsed() >= MAX_AGE
    }
}

/// What an interpreter complains of, for the operator.
async fn pass_on(errors: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        warn!(interpreter = %line.chars().take(500).collect::<String>(), "a warm interpreter complains");
    }
}
