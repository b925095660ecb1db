//! A root tree as one archive: always the same bytes for the same tree, whose SHA-256 is the tree's digest, and which is
//! the layer that Docker gets.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sandfleet_common::hexadecimal;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::error::ImageError;

/// The time of everything that a build makes, and of nothing that is later: 2026-01-01.
pub(super) const EPOCH: u64 = 1_767_225_600;

/// The digest of an archive, and its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Archive {
    /// SHA-256 in hexadecimal.
    pub(super) digest: String,
    pub(super) bytes: u64,
}

/// Counts and hashes what is written.
pub(super) struct Hashed<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), bytes: 0 }
    }

    pub(super) fn finish(self) -> Archive {
        Archive { digest: hexadecimal(&self.hash.finalize()), bytes: self.bytes }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Makes a directory and those above it, readable by all whatever the umask is.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// If it can't be read.
pub(super) fn sha256_of(path: &Path) -> Result<String, ImageError> {
    let read = || -> io::Result<String> {
        let (mut file, mut hash) = (File::open(path)?, Sha256::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hexadecimal(&hash.finalize())),
                length => hash.update(&buffer[..length]),
            }
        }
    };
    read().map_err(|error| ImageError::of(path, error))
}

/// Gives everything below `root` that is later than [`EPOCH`] that time.
pub(super) fn settle_times(root: &Path) -> io::Result<()> {
    for path in entries(root)? {
        let path = root.join(path);
        if fs::symlink_metadata(&path)?.mtime() > EPOCH as i64 {
            let time = Timespec { tv_sec: EPOCH as i64, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    Ok(())
}

/// The digest of the tree.
pub(super) fn digest(root: &Path) -> io::Result<Archive> {
    archive(root, io::sink())
}

/// Writes the tree as an archive and tells its digest.
pub(super) fn archive(root: &Path, to: impl Write) -> io::Result<Archive> {
    let mut builder = Builder::new(Hashed::new(to));
    let mut linked: std::collections::HashMap<(u64, u64), PathBuf> = Default::default();
    for path in entries(root)? {
        append(&mut builder, root, &path, &mut linked)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    }
    let mut hashed = builder.into_inner()?;
    hashed.flush()?;
    Ok(hashed.finish())
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    root: &Path,
    path: &Path,
    linked: &mut std::collections::HashMap<(u64, u64), PathBuf>,
) -> io::Result<()> {
    let place = root.join(path);
    let facts = fs::symlink_metadata(&place)?;
    let kind = facts.file_type();
    let mut header = Header::new_gnu();
    header.set_mode(facts.mode() & 0o7777);
    header.set_uid(facts.uid().into());
    header.set_gid(facts.gid().into());
    header.set_mtime((facts.mtime().max(0) as u64).min(EPOCH));
    header.set_size(0);
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        return builder.append_link(&mut header, path, fs::read_link(&place)?);
    }
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        return builder.append_data(&mut header, path, io::empty());
    }
    if !kind.is_file() {
        let what = if kind.is_socket() { "a socket" } else { "a device or a pipe" };
        return Err(io::Error::other(format!("is {what}, which no image holds")));
    }
    if facts.nlink() > 1 {
        let first = linked.entry((facts.dev(), facts.ino())).or_insert_with(|| path.to_owned());
        if first != path {
            header.set_entry_type(EntryType::Link);
            return builder.append_link(&mut header, path, first.as_path());
        }
    }
    header.set_entry_type(EntryType::Regular);
    header.set_size(facts.len());
    builder.append_data(&mut header, path, File::open(&place)?)
}

/// Everything below `root`, in the order of the bytes of their paths, each directory before what is in it.
fn entries(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn tree(order: [&str; 2]) -> tempfile::TempDir {
        let room = tempfile::tempdir().expect("room");
        fs::create_dir(room.path().join("usr")).expect("room");
        for name in order {
            fs::write(room.path().join("usr").join(name), name).expect("room");
        }
        symlink("usr/a", room.path().join("link")).expect("room");
        fs::hard_link(room.path().join("usr/a"), room.path().join("usr/hard")).expect("room");
        fs::write(room.path().join("x".repeat(200)), "a long name").expect("room");
        settle_times(room.path()).expect("ours");
        room
    }

    #[test]
    fn the_digest_depends_on_the_tree_and_not_on_when_or_in_which_order_it_was_made() {
        let (one, other) = (tree(["a", "b"]), tree(["b", "a"]));
        let digest_of = |room: &tempfile::TempDir| digest(room.path()).expect("readable").digest;
        assert_eq!(digest_of(&one), digest_of(&other));
        let program = one.path().join("usr/a");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
        assert_ne!(digest_of(&one), digest_of(&other), "a mode");
        fs::write(other.path().join("usr/b"), "B").expect("ours");
        assert_ne!(digest_of(&tree(["a", "b"])), digest_of(&other), "content");
    }

    #[test]
    fn the_archive_is_one_that_others_read() {
        let room = tree(["a", "b"]);
        let mut bytes = Vec::new();
        let written = archive(room.path(), &mut bytes).expect("readable");
        assert_eq!(written.bytes, bytes.len() as u64);
        assert_eq!(written, digest(room.path()).expect("readable"));
        let target = tempfile::tempdir().expect("room");
        tar::Archive::new(&bytes[..]).unpack(target.path()).expect("an archive");
        assert_eq!(fs::read_to_string(target.path().join("link")).expect("there"), "a");
        assert_eq!(fs::metadata(target.path().join("usr/a")).expect("there").nlink(), 2);
        assert!(target.path().join("x".repeat(200)).exists());
    }

    #[test]
    fn a_pipe_is_in_no_image() {
        let room = tree(["a", "b"]);
        let pipe = room.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, &pipe, kind, 0o600.into(), 0).expect("ours");
        let why = digest(room.path()).expect_err("a pipe").to_string();
        assert!(why.contains("pipe: is a device or a pipe"), "{why}");
    }
}
