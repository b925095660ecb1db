//! The agent's binary, which every worker carries.

use std::{
    fs::File,
    io::{Seek, Write},
    os::fd::OwnedFd,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest, Sha256};

/// The agent: a static executable for this machine's architecture.
pub const BINARY: &[u8] = include_bytes!(env!("AGENT_BINARY"));

/// The module that Python imports at its start, for this machine's architecture.
pub const PYTHON_MODULE: &[u8] = include_bytes!(env!("STDOUT_MODULE"));

/// SHA-256 of [`BINARY`], in hexadecimal: images carry it as a label.
pub fn digest() -> String {
    hexadecimal(&Sha256::digest(BINARY))
}

/// The agent as a file that has no name and that nobody can change, not even whoever runs from
/// it.
pub(crate) fn executable() -> std::io::Result<OwnedFd> {
    file("sandfleet-agent", BINARY)
}

/// A file in memory that nobody can change, to be read from its beginning.
pub(crate) fn file(name: &str, content: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(content)?;
    file.rewind()?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
    )?;
    Ok(file.into())
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
