//! One job from the agent's side: receive the request and the files, run the program within its
//! bounds, end everything it started, send the artifacts.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
};

use rustix::time::{ClockId, clock_gettime};

use super::{
    artifacts::{self, Inputs},
    barrier_check,
    counters::Counters,
    job_files::JobFiles,
    live_stdin::LiveStdin,
    program,
    spawner::{Exec, Spawner},
};
use crate::{
    container::{landlock, scratch::WORKING_DIRECTORY},
    protocol::{
        frame::{self, Kind},
        message::{AGENT_PROTOCOL, FileHeader, Hello, RunRequest},
        sender::Sender,
    },
    sys,
};

/// Serves one job over standard input and output: the agent of a container that an engine's
/// runtime made.
///
/// # Errors
/// What kept the agent from serving; it was reported to the worker if the stream allowed that.
pub fn serve_standard_streams() -> io::Result<()> {
    sys::reset_signal_dispositions();
    let counters = Counters::open_mounted();
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let landlock = landlock::restrict_self();
    serve(File::from(input), File::from(output), &counters, None, landlock, &mut Exec)
}

/// Serves one job, restricted by `landlock`.
pub(crate) fn serve(
    mut input: impl Read + AsFd,
    output: impl Write,
    counters: &Counters,
    job_files: Option<&JobFiles>,
    landlock: io::Result<Option<u32>>,
    spawner: &mut dyn Spawner,
) -> io::Result<()> {
    let mut output = Sender::new(output);
    let served = converse(&mut input, &mut output, counters, job_files, landlock, spawner);
    if let Err(error) = &served {
        // If the worker has closed the stream the error shows in the exit status only.
        let _ = output.send(Kind::Failed, error.to_string().as_bytes());
    }
    served
}

fn converse(
    input: &mut (impl Read + AsFd),
    output: &mut Sender<impl Write>,
    counters: &Counters,
    job_files: Option<&JobFiles>,
    landlock: io::Result<Option<u32>>,
    spawner: &mut dyn Spawner,
) -> io::Result<()> {
    barrier_check::check().map_err(io::Error::other)?;
    // After the check, which says more of what is missing than Landlock does.
    let landlock = landlock?;
    let signals = sys::child_signals()?;
    say(output, Kind::Hello, &Hello { protocol: AGENT_PROTOCOL, landlock })?;
    let Some(Received { request, stdin, inputs }) = receive(input, output, spawner)? else {
        return Ok(());
    };
    if let Some(files) = job_files {
        files.write(&request)?;
    }
    let bounds = request.bounds;
    let (stdin, live_stdin) = match request.live_stdin {
        true => {
            let (program, own) = LiveStdin::new()?;
            (Some(program), Some(own))
        }
        false => (stdin, None),
    };
    let mut program = program::start(&request, stdin, counters, spawner)?;
    program.live_stdin = live_stdin;
    output.send(Kind::Started, &[])?;
    let ended = program.watch(input, output, &signals, counters, job_files, &bounds)?;
    say(output, Kind::ExitReport, &ended)?;
    let collected =
        artifacts::collect(output, WORKING_DIRECTORY, &inputs, &request.artifacts, &bounds)?;
    say(output, Kind::Done, &collected)
}

fn say(
    output: &mut Sender<impl Write>,
    kind: Kind,
    message: &impl serde::Serialize,
) -> io::Result<()> {
    output.send(kind, &serde_json::to_vec(message)?)
}

fn unexpected(kind: Kind) -> io::Error {
    io::Error::other(format!("the worker sent {kind:?} where it makes no sense"))
}

/// What the worker sent before the start.
struct Received {
    request: RunRequest,
    stdin: Option<File>,
    inputs: Inputs,
}

/// Receives the request and writes the files into the working directory, which is empty and used by no other
/// process until the program starts. `None` if the worker closed the stream before the start.
fn receive(
    input: &mut impl Read,
    output: &mut Sender<impl Write>,
    spawner: &mut dyn Spawner,
) -> io::Result<Option<Received>> {
    let mut request: Option<RunRequest> = None;
    let mut stdin = None;
    let mut inputs = Inputs::since(clock_gettime(ClockId::Realtime));
    while let Some((kind, payload)) = frame::read(input)? {
        match kind {
            Kind::RunRequest => {
                let received: RunRequest = serde_json::from_slice(&payload)?;
                output.authenticate_with(&received.key);
                request = Some(received);
            }
            Kind::File | Kind::Program => {
                let mode = if kind == Kind::Program { 0o555 } else { 0o644 };
                write_file(serde_json::from_slice(&payload)?, mode, input, &mut inputs)?;
            }
            Kind::Stdin => {
                stdin = Some(fill(spawner.stdin()?, serde_json::from_slice(&payload)?, input)?)
            }
            Kind::Start => {
                let request = request.ok_or_else(|| unexpected(kind))?;
                return Ok(Some(Received { request, stdin, inputs }));
            }
            other => return Err(unexpected(other)),
        }
    }
    Ok(None)
}

fn write_file(
    header: FileHeader,
    mode: u32,
    input: &mut impl Read,
    inputs: &mut Inputs,
) -> io::Result<()> {
    let path = Path::new(WORKING_DIRECTORY).join(&header.name);
    let create = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::options().write(true).create_new(true).mode(mode).open(&path)
    };
    create()
        .and_then(|mut file| {
            copy_content(header.size, input, &mut file)?;
            inputs.remember(header.name.clone(), &file)
        })
        .map_err(|error| io::Error::new(error.kind(), format!("file {:?}: {error}", header.name)))
}

fn fill(mut file: File, header: FileHeader, input: &mut impl Read) -> io::Result<File> {
    copy_content(header.size, input, &mut file)?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

fn copy_content(size: u64, input: &mut impl Read, file: &mut File) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        match frame::read(input)? {
            Some((Kind::Data, data)) if !data.is_empty() && data.len() as u64 <= left => {
                file.write_all(&data)?;
                left -= data.len() as u64;
            }
            Some((kind, _)) => return Err(unexpected(kind)),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(())
}
