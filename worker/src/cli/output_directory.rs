//! Writes files below a directory of the user's.
//!
//! The directory may hold links: the leftovers of an earlier run, or what another user of the machine puts there
//! meanwhile. So every step is taken from an open directory, and the kernel follows no link on the way.

use std::{
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, renameat,
        statat, unlinkat,
    },
    io::Errno,
};
use sandfleet_common::PrintableText;

use super::exit::{Exit, Failure};

const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A directory that is open.
pub(super) struct OutputDirectory(OwnedFd);

impl OutputDirectory {
    /// Opens the directory that the option `option` names, and makes it if it isn't there. It is the user's choice,
    /// whatever links lead to it.
    pub(super) fn create(option: &str, directory: &Path) -> Result<Self, Failure> {
        let refused = |error: io::Error| {
            Exit::Usage.with(format!("{option} {}: {error}", directory.display()))
        };
        std::fs::create_dir_all(directory).map_err(refused)?;
        let opened = openat(CWD, directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        Ok(Self(opened.map_err(|error| refused(error.into()))?))
    }

    /// Writes a file below it, and the directories that lead there. A file of the same name is replaced; anything
    /// else in its place is refused.
    pub(super) fn write(&self, path: &str, content: &[u8]) -> Result<(), Refusal> {
        let (parents, name) = match path.rsplit_once('/') {
            Some((parents, name)) => (Some(parents), name),
            None => (None, path),
        };
        let mut parent = self
            .0
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let mut so_far = String::new();
        for component in parents.into_iter().flat_map(|parents| parents.split('/')) {
            so_far =
                if so_far.is_empty() { component.into() } else { format!("{so_far}/{component}") };
            parent = descend(&parent, component, &so_far)?;
        }
        replace(&parent, name, path, content)
    }
}

/// Why a file can't be written.
pub(super) struct Refusal {
    pub(super) exit: Exit,
    pub(super) sentence: String,
}

impl Refusal {
    /// Something is in the way that isn't ours to replace.
    fn in_the_way(name: &str, what: &str) -> Self {
        let name = PrintableText::new(name);
        let sentence = format!("{name} is {what}; remove it, or name another directory");
        Self { exit: Exit::Usage, sentence }
    }

    pub(super) fn invalid(sentence: String) -> Self {
        Self { exit: Exit::Internal, sentence }
    }

    fn failed(action: &str, error: Errno) -> Self {
        Self { exit: Exit::Internal, sentence: format!("{action}: {}", io::Error::from(error)) }
    }
}

/// Opens the directory `component` in `parent`, and makes it if it isn't there.
fn descend(parent: &OwnedFd, component: &str, path: &str) -> Result<OwnedFd, Refusal> {
    match mkdirat(parent, component, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(Refusal::failed(&format!("make directory {path}"), error)),
    }
    openat2(parent, component, DIRECTORY, Mode::empty(), RESOLVE).map_err(|error| match error {
        Errno::LOOP | Errno::XDEV => Refusal::in_the_way(path, "a symbolic link"),
        Errno::NOTDIR => match kind(parent, component) {
            Ok(Some(found)) => Refusal::in_the_way(path, describe(found)),
            _ => Refusal::in_the_way(path, "no directory"),
        },
        other => Refusal::failed(&format!("open directory {path}"), other),
    })
}

/// Puts a file called `name` into `parent`: complete under another name first, so that a reader sees the
/// old one or the new one, and nothing that stands under `name` is ever opened.
fn replace(parent: &OwnedFd, name: &str, path: &str, content: &[u8]) -> Result<(), Refusal> {
    match kind(parent, name) {
        Ok(None | Some(FileType::RegularFile)) => {}
        Ok(Some(found)) => return Err(Refusal::in_the_way(path, describe(found))),
        Err(error) => return Err(Refusal::failed(&format!("look at {path}"), error)),
    }
    let temporary = format!(".sandfleet-{}", uuid::Uuid::now_v7());
    let written = write_new(parent, &temporary, content)
        .map_err(|error| Refusal::failed(&format!("write {path}"), error))
        .and_then(|()| match renameat(parent, &temporary, parent, name) {
            Err(Errno::ISDIR) => Err(Refusal::in_the_way(path, "a directory")),
            other => other.map_err(|error| Refusal::failed(&format!("write {path}"), error)),
        });
    if written.is_err() {
        // It may not be there; what is said is why the file isn't.
        let _ = unlinkat(parent, &temporary, AtFlags::empty());
    }
    written
}

fn write_new(parent: &OwnedFd, name: &str, content: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat2(parent, name, flags, Mode::from_raw_mode(0o666), RESOLVE)?;
    std::fs::File::from(file)
        .write_all(content)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// What stands under `name`, itself and not what it leads to.
fn kind(parent: &OwnedFd, name: &str) -> Result<Option<FileType>, Errno> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(FileType::from_raw_mode(found.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::RegularFile => "a file",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no file",
    }
}
