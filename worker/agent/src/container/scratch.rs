//! The directories that a program may write to.

/// Where the program's files are and where it starts.
pub(crate) const WORKING_DIRECTORY: &str = "/box";

/// The scratch space of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScratchSpace {
    /// Bytes that fit into each of its directories.
    pub(crate) bytes: u64,
    /// Bytes that fit into /dev/shm, which is memory of the job and has a size of its own.
    pub(crate) shared_bytes: u64,
    /// Files and directories that fit into each.
    pub(crate) inodes: u64,
    /// Whose it is, in the launcher's numbers.
    pub(crate) owner: u32,
}
