//! /etc of native containers: settings of programs, and files that name the only user there is.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
};

/// What programs need of /etc and what says nothing about the host: which alternative is chosen,
/// where libraries, fonts and interpreters find their settings, what links below /usr lead to. Copied, so that a
/// later change on the host doesn't reach running containers and no mount points at the host's /etc.
const SETTINGS: &[&str] = &[
    "alternatives",
    "fonts",
    "groff",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "matplotlibrc",
    "maven/m2.conf",
    "mime.types",
    "os-release",
    "perl/XML/SAX/ParserDetails.ini",
    "protocols",
    "python3",
    "R",
    "services",
    "ssl/certs/ca-certificates.crt",
    "ssl/certs/java/cacerts",
    "ssl/openssl.cnf",
    "X11/rgb.txt",
];

/// The same for every version of Python and of Java.
fn is_versioned(name: &str) -> bool {
    name.starts_with("python3.") || (name.starts_with("java-") && name.ends_with("-openjdk"))
}

/// Links below /usr lead to these, too. What the host has there may be secret, so they are empty.
const EMPTY_DIRECTORIES: &[&str] = &["ssl/certs", "ssl/private"];
const EMPTY_FILES: &[&str] = &["environment"];

/// Files that name the only user there is.
const ACCOUNTS: &[(&str, &str)] = &[
    (
        "passwd",
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nsandbox:x:1000:1000::/box:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("hostname", "sandbox\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// Writes the directory below `root`.
pub(super) fn write(root: &Path) -> io::Result<()> {
    let directory = root.join("etc");
    fs::create_dir(&directory)?;
    for name in SETTINGS {
        copy(&Path::new("/etc").join(name), &directory.join(name))?;
    }
    for entry in fs::read_dir("/etc")? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(is_versioned) {
            copy(&Path::new("/etc").join(&name), &directory.join(&name))?;
        }
    }
    for name in EMPTY_DIRECTORIES {
        fs::create_dir_all(directory.join(name))?;
    }
    for name in EMPTY_FILES {
        fs::write(directory.join(name), "")?;
    }
    for (name, text) in ACCOUNTS {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

/// Copies files, links and directories; what isn't there or can't be read isn't needed. A file keeps the
/// time of its last change: by that interpreters know whether what they once compiled of it still holds.
fn copy(source: &Path, target: &Path) -> io::Result<()> {
    let facts = match fs::symlink_metadata(source) {
        Ok(facts) => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if facts.is_symlink() {
        return symlink(fs::read_link(source)?, target);
    }
    if facts.is_dir() {
        fs::create_dir_all(target)?;
        for entry in fs::read_dir(source)? {
            let name = entry?.file_name();
            copy(&source.join(&name), &target.join(&name))?;
        }
        return Ok(());
    }
    match fs::copy(source, target) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
        Ok(_) => File::open(target)?.set_modified(facts.modified()?),
    }
}
