//! Bringing files back, after the last process of the program is gone: nothing can race.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, chmod, fstat, futimens,
    openat, statat,
};

use crate::protocol::{
    frame::{Kind, MAX_PAYLOAD},
    message::{Collected, FileHeader, ProcessLimits},
    sender::Sender,
};

/// Longer paths are no names of artifacts: the protocol's own bound, in bytes.
const MAX_PATH: usize = 1024;
/// Directories deeper than this are not looked into.
const MAX_DEPTH: usize = 32;
/// Entries looked at before the search ends: a program can make more files than is worth waiting
/// for.
const MAX_ENTRIES: usize = 100_000;
/// Refusals that are reported one by one; the rest is a number.
const MAX_REFUSALS: usize = 64;

/// The input files as they were before the program started: those that it left alone are not its
/// product. A file's change time is the kernel's; no program can set it.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// The modification time of all of them.
    modified: Timespec,
    versions: HashMap<String, Version>,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    bytes: i64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Version {
    fn of(facts: &Stat) -> Self {
        Self {
            inode: facts.st_ino,
            bytes: facts.st_size,
            changed: (facts.st_ctime, facts.st_ctime_nsec as i64),
            modified: (facts.st_mtime, facts.st_mtime_nsec as i64),
        }
    }
}

impl Inputs {
    /// For files that are written at `now` or later.
    pub(crate) fn since(now: Timespec) -> Self {
        // All inputs are as old as each other, and older by a second than anything that the program writes:
        // so make(1) and `find -newer` see what depends on what. The second also tells a file that the
        // program wrote to from one that it didn't: the clock of file times advances by whole ticks of up to
        // 10 ms, and a program that writes within the tick would leave the change time as it was.
        let modified = Timespec { tv_sec: now.tv_sec - 1, tv_nsec: 0 };
        Self { modified, versions: HashMap::new() }
    }

    pub(crate) fn remember(&mut self, name: String, file: &File) -> io::Result<()> {
        let (last_access, last_modification) = (self.modified, self.modified);
        futimens(file, &Timestamps { last_access, last_modification })?;
        self.versions.insert(name, Version::of(&fstat(file)?));
        Ok(())
    }

    fn contains(&self, name: &str) -> bool {
        self.versions.contains_key(name)
    }

    fn is_unchanged(&self, name: &str, facts: &Stat) -> bool {
        self.versions.get(name).is_some_and(|before| *before == Version::of(facts))
    }
}

/// Sends every regular file below the working directory that matches one of `globs`, in the order
/// of their names, but for untouched `inputs`.
pub(crate) fn collect(
    worker: &mut Sender<impl Write>,
    directory: &str,
    inputs: &Inputs,
    globs: &[String],
    bounds: &ProcessLimits,
) -> io::Result<Collected> {
    if globs.is_empty() {
        return Ok(Collected::default());
    }
    // The program may have removed its own access. An error shows when the directory is opened.
    let _ = chmod(directory, Mode::RWXU);
    let root = openat(CWD, directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut collection = Collection {
        worker,
        root: &root,
        inputs,
        globs,
        bytes_left: bounds.artifact_bytes,
        files_left: bounds.artifact_count,
        count: bounds.artifact_count,
        collected: Collected::default(),
        entries_left: MAX_ENTRIES,
        refusals: 0,
    };
    collection.walk()?;
    if collection.entries_left == 0 {
        collection.refuse(&format!("more than {MAX_ENTRIES} files; the rest was not looked at"))?;
    }
    if collection.refusals > MAX_REFUSALS {
        let rest = collection.refusals - MAX_REFUSALS;
        collection.worker.send(Kind::Refused, format!("{rest} more").as_bytes())?;
    }
    Ok(collection.collected)
}

/// A name in a directory, and what it is the name of as far as the directory itself tells.
struct Entry {
    name: Vec<u8>,
    kind: FileType,
}

struct Collection<'a, W> {
    worker: &'a mut Sender<W>,
    root: &'a OwnedFd,
    inputs: &'a Inputs,
    globs: &'a [String],
    bytes_left: u64,
    files_left: u64,
    /// How many there were in the beginning.
    count: u64,
    collected: Collected,
    entries_left: usize,
    refusals: usize,
}

impl<W: Write> Collection<'_, W> {
    /// Looks into one directory at a time and holds no other open: the agent lives under the
    /// program's own limit of open files.
    fn walk(&mut self) -> io::Result<()> {
        let mut pending = vec![(String::new(), 0)];
        while let Some((prefix, depth)) = pending.pop() {
            let mut inner = Vec::new();
            for entry in self.list(&prefix)? {
                if let Some(directory) = self.visit(&prefix, &entry, depth)? {
                    inner.push((directory, depth + 1));
                }
            }
            pending.extend(inner.into_iter().rev());
        }
        Ok(())
    }

    fn open(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        openat(self.root, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    fn list(&mut self, prefix: &str) -> io::Result<Vec<Entry>> {
        let directory = match self.open(prefix, OFlags::DIRECTORY) {
            Ok(directory) => directory,
            Err(error) => {
                self.refuse(&format!("{prefix}: can't be looked into: {error}"))?;
                return Ok(Vec::new());
            }
        };
        let mut entries = Vec::new();
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            if self.entries_left == 0 {
                break;
            }
            self.entries_left -= 1;
            entries.push(Entry { name, kind: entry.file_type() });
        }
        entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Sends or refuses one entry; gives back the prefix of what is inside, if it is a directory.
    ///
    /// The kernel is asked about an entry only if the answer can matter: there may be very many of
    /// them, and under gVisor each question costs some 50 microseconds.
    fn visit(
        &mut self,
        prefix: &str,
        Entry { name, kind }: &Entry,
        depth: usize,
    ) -> io::Result<Option<String>> {
        let Some(path) = std::str::from_utf8(name)
            .ok()
            .filter(|name| !name.chars().any(char::is_control))
            .map(|name| format!("{prefix}{name}"))
        else {
            // A name that can't be shown can't be asked for by name; `*` may still mean it.
            if self.matches(&format!("{prefix}\u{fffd}")) {
                let shown = OsStr::from_bytes(name);
                self.refuse(&format!("{prefix}{shown:?}: its name is not plain text"))?;
            }
            return Ok(None);
        };
        if path.len() > MAX_PATH {
            let shown: String = path.chars().take(80).collect();
            self.refuse(&format!("{shown}…: its path is longer than {MAX_PATH} bytes"))?;
            return Ok(None);
        }
        let kind = match kind {
            // Some file systems' directories don't tell.
            FileType::Unknown => match self.look_at(&path)? {
                Some(facts) => FileType::from_raw_mode(facts.st_mode),
                None => return Ok(None),
            },
            known => *known,
        };
        if kind == FileType::Directory {
            if depth >= MAX_DEPTH {
                self.refuse(&format!("{path}: more than {MAX_DEPTH} directories deep"))?;
                return Ok(None);
            }
            if self.globs.contains(&path) {
                self.refuse(&format!("{path}: a directory; ask for {path}/** instead"))?;
            }
            return Ok(Some(format!("{path}/")));
        }
        if !self.matches(&path) {
            return Ok(None);
        }
        if kind != FileType::RegularFile {
            self.refuse(&format!("{path}: {}, not a regular file", describe(kind)))?;
            return Ok(None);
        }
        if self.files_left == 0 && !self.inputs.contains(&path) {
            self.refuse_one_too_many(&path)?;
            return Ok(None);
        }
        match self.look_at(&path)? {
            Some(facts) if !self.inputs.is_unchanged(&path, &facts) => self.send(path, &facts)?,
            _ => {}
        }
        Ok(None)
    }

    /// What the kernel knows of an entry; refuses it if that can't be had.
    fn look_at(&mut self, path: &str) -> io::Result<Option<Stat>> {
        match statat(self.root, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(facts) => Ok(Some(facts)),
            Err(error) => {
                self.refuse(&format!("{path}: can't be looked at: {error}"))?;
                Ok(None)
            }
        }
    }

    fn matches(&self, path: &str) -> bool {
        self.globs.iter().any(|glob| fast_glob::glob_match(glob, path))
    }

    fn send(&mut self, name: String, facts: &Stat) -> io::Result<()> {
        let size = facts.st_size.max(0) as u64;
        if facts.st_nlink > 1 {
            return self.refuse(&format!("{name}: has other names (hard links)"));
        }
        if self.files_left == 0 {
            return self.refuse_one_too_many(&name);
        }
        if size > self.bytes_left {
            self.collected.was_too_large = true;
            return self.refuse(&format!(
                "{name}: {size} bytes; {} are left of artifact_bytes",
                self.bytes_left
            ));
        }
        let file = match self.open(&name, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(error) => return self.refuse(&format!("{name}: can't be read: {error}")),
        };
        self.files_left -= 1;
        self.bytes_left -= size;
        let header = serde_json::to_vec(&FileHeader { name, size })?;
        self.worker.send(Kind::Artifact, &header)?;
        let mut source = File::from(file).take(size);
        let mut buffer = vec![0; MAX_PAYLOAD.min(size as usize)];
        let mut left = size as usize;
        while left > 0 {
            let piece = buffer.len().min(left);
            source.read_exact(&mut buffer[..piece])?;
            self.worker.send(Kind::Data, &buffer[..piece])?;
            left -= piece;
        }
        Ok(())
    }

    fn refuse_one_too_many(&mut self, name: &str) -> io::Result<()> {
        self.collected.were_too_many = true;
        self.refuse(&format!("{name}: more artifacts than artifact_count = {}", self.count))
    }

    fn refuse(&mut self, sentence: &str) -> io::Result<()> {
        self.refusals += 1;
        if self.refusals > MAX_REFUSALS {
            return Ok(());
        }
        self.worker.send(Kind::Refused, sentence.as_bytes())
    }
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}
