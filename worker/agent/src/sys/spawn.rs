//! A program by an exec, without a copy of this process before: its process works in this one's memory
//! until the exec, and this one waits. The standard library knows that way, but not in a binary that is
//! linked statically; the C library's own has some signals ignored.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, RawFd},
    ptr,
};

use rustix::process::{Pid, WaitOptions, waitpid};

use super::{Affinity, check, exit, signals::block_no_signal, stack::Stack};

struct Exec<'a> {
    file: &'a CStr,
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    directory: &'a CStr,
    streams: &'a [RawFd],
    processors: Affinity,
    /// The number of the error that kept it from happening.
    error: c_int,
}

/// Starts `file` in `directory`, with these arguments (the first is its name), environment and streams
/// (stdin, stdout, stderr, maybe more; none of them has such a number here). No signal is blocked for it, and SIGPIPE
/// has its default effect; what else this process ignores (nothing, by `reset_signal_dispositions`) it does too.
///
/// # Errors
/// Those of clone(2), of the exec and what goes before it, and of text that has a NUL in it.
pub(crate) fn spawn(
    file: &str,
    arguments: &[String],
    environment: &[(String, String)],
    directory: &str,
    streams: &[BorrowedFd<'_>],
    processors: Affinity,
) -> io::Result<Pid> {
    let (file, directory) = (CString::new(file)?, CString::new(directory)?);
    let arguments = texts(arguments.iter().map(String::as_str))?;
    let environment = texts(environment.iter().map(|(name, value)| format!("{name}={value}")))?;
    let streams: Vec<RawFd> = streams.iter().map(AsRawFd::as_raw_fd).collect();
    let mut exec = Exec {
        file: &file,
        arguments: &pointers(&arguments),
        environment: &pointers(&environment),
        directory: &directory,
        streams: &streams,
        processors,
        error: 0,
    };
    let stack = Stack::new()?;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the child has a stack of its own, and until it is another program or gone this process doesn't
    // go on, as CLONE_VFORK says: so the stack and `exec` outlive it, and nothing else uses them.
    let (child, error) = unsafe {
        let exec = &raw mut exec;
        let child = libc::clone(begin, stack.top(), flags, exec.cast());
        // Written by the child, which the compiler doesn't see.
        (check(child.into())?, ptr::read_volatile(&raw const (*exec).error))
    };
    let child = Pid::from_raw(child as i32).ok_or(io::ErrorKind::InvalidData)?;
    if error != 0 {
        waitpid(Some(child), WaitOptions::empty())?;
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(child)
}

fn texts(texts: impl Iterator<Item = impl Into<Vec<u8>>>) -> io::Result<Vec<CString>> {
    texts.map(|text| CString::new(text).map_err(io::Error::from)).collect()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

extern "C" fn begin(exec: *mut c_void) -> c_int {
    let exec = exec.cast::<Exec<'_>>();
    // SAFETY: `spawn`'s own, which waits; the lists end with null pointers, the texts with NULs.
    unsafe {
        if let Err(error) = become_program(&*exec) {
            (*exec).error = error.raw_os_error().unwrap_or(libc::EINVAL);
        }
    }
    exit(126)
}

/// Returns only if it fails. Allocates nothing: it would never be freed in the parent's memory.
///
/// # Safety
/// The lists end with null pointers.
unsafe fn become_program(exec: &Exec<'_>) -> io::Result<()> {
    // SAFETY: the lists are as this function's caller says. The effect of a
    // signal is this process's own, which has none in common with its parent but memory and the wait.
    unsafe {
        for (number, stream) in (0..).zip(exec.streams.iter().copied()) {
            check(libc::dup2(stream, number).into())?;
        }
        check(libc::chdir(exec.directory.as_ptr()).into())?;
        exec.processors.apply()?;
        // The one that this program ignores; what is ignored stays ignored over exec.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        block_no_signal()?;
        let (arguments, environment) = (exec.arguments.as_ptr(), exec.environment.as_ptr());
        check(libc::execve(exec.file.as_ptr(), arguments, environment).into()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Read,
        os::fd::{AsFd, OwnedFd},
    };

    use super::*;

    fn shell(script: &str, directory: &str) -> io::Result<(Pid, String)> {
        let (mut output, end) = io::pipe()?;
        let (null, end) = (File::open("/dev/null")?, OwnedFd::from(end));
        let streams = [null.as_fd(), end.as_fd(), null.as_fd()];
        let arguments = ["named", "-c", script].map(str::to_owned);
        let environment = [("GIVEN".to_owned(), "this=that".to_owned())];
        let everywhere = Affinity::choose(&[]);
        let pid = spawn("/bin/sh", &arguments, &environment, directory, &streams, everywhere)?;
        drop(end);
        let mut text = String::new();
        output.read_to_string(&mut text)?;
        Ok((pid, text))
    }

    #[test]
    fn a_program_has_what_it_was_given() {
        let script = "echo $0 $GIVEN $(pwd); exit 7";
        let (pid, text) = shell(script, "/usr").expect("a shell is there");
        assert_eq!(text, "named this=that /usr\n");
        let ended = waitpid(Some(pid), WaitOptions::empty()).expect("a child");
        assert_eq!(ended.and_then(|(_, status)| status.exit_status()), Some(7));
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let error = shell("exit", "/nowhere").expect_err("no such directory");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = shell("a\0b", "/").expect_err("no text of C's");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
