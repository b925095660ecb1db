//! The files that images are made of, kept by their SHA-256: what was fetched once is never fetched again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    command::{online, output, require},
    config::ImagesConfig,
    error::ImageError,
    lock::{Entry, Kind, Lock},
    resolve::python_target,
    tree::sha256_of,
};

/// How many files one command fetches: a command line has an end.
const AT_A_TIME: usize = 100;

/// Where the file of `entry` is kept.
pub(super) fn place(config: &ImagesConfig, entry: &Entry) -> PathBuf {
    config.directory.join("files").join(&entry.sha256).join(entry.file_name())
}

/// Fetches what of `lock` isn't there, and checks every file; `work` is an empty directory. Returns how many were fetched.
///
/// # Errors
/// If one can't be had, or is not what the lock says.
pub(super) fn fetch(config: &ImagesConfig, lock: &Lock, work: &Path) -> Result<usize, ImageError> {
    let missing: Vec<&Entry> =
        lock.entries.iter().filter(|entry| !place(config, entry).is_file()).collect();
    let of = |wanted: fn(&Entry) -> bool| -> Vec<&Entry> {
        missing.iter().copied().filter(|entry| wanted(entry)).collect()
    };
    for debs in of(Entry::is_deb).chunks(AT_A_TIME) {
        fetch_debs(config, debs, work)?;
    }
    let wheels = of(|entry| entry.kind == Kind::Wheel);
    if !wheels.is_empty() {
        fetch_wheels(lock, &wheels, work)?;
    }
    for entry in of(|entry| entry.kind == Kind::Npm) {
        let mut npm = online("npm");
        npm.args(["pack", "--silent", "--pack-destination"]).arg(work).current_dir(work);
        npm.arg(format!("{}@{}", entry.name, entry.version));
        output("fetching a package of npm", &mut npm)?;
    }
    for entry in &missing {
        keep(&work.join(entry.file_name()), entry, &place(config, entry))?;
    }
    for entry in &lock.entries {
        check(&place(config, entry), entry)?;
    }
    Ok(missing.len())
}

fn fetch_debs(config: &ImagesConfig, debs: &[&Entry], work: &Path) -> Result<(), ImageError> {
    require("/usr/lib/apt/apt-helper")?;
    let mut helper = online("/usr/lib/apt/apt-helper");
    helper.args(["-oAPT::Sandbox::User=root", "download-file"]);
    for entry in debs {
        let mirror = match entry.kind {
            Kind::Security => &config.security_mirror,
            _ => &config.debian_mirror,
        };
        helper
            .arg(format!("{}/{}", mirror.trim_end_matches('/'), entry.path))
            .arg(work.join(entry.file_name()))
            .arg(format!("SHA256:{}", entry.sha256));
    }
    output("fetching Debian packages", &mut helper).map(drop).map_err(|error| {
        error.or_fix(
            "if Debian has newer versions only, `sandfleet images build --update`; for these, set \
             images.debian_mirror and images.security_mirror to a snapshot of snapshot.debian.org",
        )
    })
}

fn fetch_wheels(lock: &Lock, wheels: &[&Entry], work: &Path) -> Result<(), ImageError> {
    let requirements = requirements(wheels.iter().copied(), work)?;
    let mut pip = online("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--require-hashes", "--dest"])
        .arg(work)
        .args(python_target(lock)?)
        .arg("--requirement")
        .arg(requirements);
    output("fetching packages of PyPI", &mut pip).map(drop)
}

/// A file of requirements for pip, with the digests of `wheels`.
pub(super) fn requirements<'a>(
    wheels: impl Iterator<Item = &'a Entry>,
    work: &Path,
) -> Result<PathBuf, ImageError> {
    let lines: String = wheels
        .map(|it| format!("{}=={} --hash=sha256:{}\n", it.name, it.version, it.sha256))
        .collect();
    let path = work.join("requirements.txt");
    fs::write(&path, lines).map_err(|error| ImageError::of(&path, error))?;
    Ok(path)
}

/// Puts a file that was fetched where it is kept: whole or not at all.
fn keep(fetched: &Path, entry: &Entry, place: &Path) -> Result<(), ImageError> {
    check(fetched, entry)?;
    let moved = || -> io::Result<()> {
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::rename(fetched, place)
    };
    moved().map_err(|error| ImageError::of(place, error))
}

fn check(path: &Path, entry: &Entry) -> Result<(), ImageError> {
    let found = sha256_of(path)?;
    if found == entry.sha256 {
        return Ok(());
    }
    let why = format!("{}: SHA-256 is {found}, and the lock says {}", path.display(), entry.sha256);
    Err(ImageError::with_fix(why, "remove it: it is fetched again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_kept_only_if_it_is_what_the_lock_says() {
        let room = tempfile::tempdir().expect("room");
        let (fetched, place) = (room.path().join("a.deb"), room.path().join("kept/a.deb"));
        fs::write(&fetched, "content").expect("room");
        let mut entry = Entry {
            kind: Kind::Debian,
            name: "a".into(),
            version: "1".into(),
            sha256: "a".repeat(64),
            path: "pool/a.deb".into(),
        };
        let why = keep(&fetched, &entry, &place).expect_err("another file").to_string();
        assert!(why.contains("the lock says aaa") && !place.exists(), "{why}");
        entry.sha256 = sha256_of(&fetched).expect("there");
        keep(&fetched, &entry, &place).expect("it is the one");
        assert!(place.exists() && !fetched.exists());
    }
}
