//! Files that an interpreter has open once it is loaded, and that each program opens anew.

use std::{
    fs::{self, File},
    io,
    os::fd::{BorrowedFd, RawFd},
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, OFlags, SeekFrom, fcntl_getfl, fstat, seek, stat, tell};

use crate::sys;

/// A file that the interpreter keeps open; matplotlib does that with a font.
pub(super) struct KeptFile {
    number: RawFd,
    path: PathBuf,
    offset: u64,
}

/// Files that this process has open beyond its standard streams and `ours`.
///
/// # Errors
/// If there is one that can't be opened anew for each program.
pub(super) fn kept_files(ours: &[RawFd]) -> io::Result<Vec<KeptFile>> {
    let own = Path::new("/proc/self/fd");
    let entries = fs::read_dir(own)?.map(|entry| {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        Ok((number.ok_or(io::ErrorKind::InvalidData)?, fs::read_link(entry.path())?))
    });
    let entries: Vec<(RawFd, PathBuf)> = entries.collect::<io::Result<_>>()?;
    // The directory that is read here has a descriptor, too.
    let own = own.canonicalize()?;
    let is_kept =
        |(number, path): &(RawFd, PathBuf)| *number > 2 && !ours.contains(number) && *path != own;
    entries.into_iter().filter(is_kept).map(|(number, path)| keep(number, path)).collect()
}

#[expect(unsafe_code, reason = "looks at what the interpreter has open")]
fn keep(number: RawFd, path: PathBuf) -> io::Result<KeptFile> {
    // SAFETY: it is open, and this process has one thread, which doesn't close it here.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let (facts, same) = (fstat(file)?, stat(&path));
    let is_named =
        same.is_ok_and(|same| (same.st_dev, same.st_ino) == (facts.st_dev, facts.st_ino));
    let is_read_only = fcntl_getfl(file)? & OFlags::RWMODE == OFlags::RDONLY;
    if !is_named || !is_read_only || FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile
    {
        return Err(io::Error::other(format!("{} is open after the start", path.display())));
    }
    Ok(KeptFile { number, offset: tell(file)?, path })
}

impl KeptFile {
    /// Opens the file in a program as the interpreter had it, with an offset of its own: a shared offset would
    /// be a channel between programs.
    ///
    /// # Safety
    /// No descriptor of this process has the number, or none that is used.
    #[expect(unsafe_code, reason = "hands the contract on")]
    pub(super) unsafe fn open(&self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        seek(&file, SeekFrom::Start(self.offset))?;
        // SAFETY: as the caller promises.
        unsafe { sys::place_descriptor(file.into(), self.number) }
    }
}
