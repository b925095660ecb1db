//! From the files of a lock to a root tree: the same files make the same tree, on every machine.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use sandfleet_common::hexadecimal;
use sha2::{Digest, Sha256};

use super::{
    command::{output, reproducible, require},
    config::ImagesConfig,
    definition::Definition,
    error::ImageError,
    files::{place, requirements},
    lock::{Entry, Kind, Lock},
    resolve::{placed, python_target},
    tree::{EPOCH, make_directory},
};

/// What takes out of the tree what only installing needs.
const FINISH: &str = include_str!("../../../deploy/images/finish");

/// Where packages of PyPI go: Debian's own directory, so that a language finds them in the image where it finds Debian's
/// on the host.
const PYTHON_PACKAGES: &str = "usr/lib/python3/dist-packages";

/// SHA-256 of all that a tree follows from, in hexadecimal.
pub(super) fn recipe(lock: &Lock) -> String {
    hexadecimal(&Sha256::digest(lock.text() + FINISH))
}

/// Makes the tree at `root`, which is not there; `work` is an empty directory.
///
/// # Errors
/// If a command is missing or fails.
pub(super) fn assemble(
    definition: &Definition,
    lock: &Lock,
    config: &ImagesConfig,
    root: &Path,
    work: &Path,
) -> Result<(), ImageError> {
    for program in ["mmdebstrap", "dpkg-deb", "tar", "unshare"] {
        require(program)?;
    }
    install_debs(lock, config, root, work)?;
    if lock.entries.iter().any(|entry| entry.kind == Kind::Wheel) {
        install_wheels(lock, config, root, work)?;
    }
    for entry in lock.entries.iter().filter(|entry| entry.kind == Kind::Npm) {
        let directory = root.join("usr/lib/node_modules").join(&entry.name);
        make_directory(&directory).map_err(|error| ImageError::of(&directory, error))?;
        let mut tar = reproducible("tar", EPOCH);
        tar.args(["--extract", "--strip-components=1", "--no-same-owner", "--file"])
            .arg(place(config, entry))
            .arg("--directory")
            .arg(&directory);
        output("unpacking a package of npm", &mut tar)?;
    }
    for (path, text) in &definition.files {
        let path = inside(root, path)?;
        let written = fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644)));
        written.map_err(|error| ImageError::of(&path, error))?;
    }
    for (path, target) in &definition.links {
        let path = inside(root, path)?;
        symlink(placed(target, &lock.architecture), &path)
            .map_err(|error| ImageError::of(&path, error))?;
    }
    let mut finish = reproducible("sh", EPOCH);
    finish.args(["-c", FINISH, "finish"]).arg(root);
    output("finishing the tree", &mut finish).map(drop)
}

/// The absolute `path` of the tree, with the directory that it is in.
fn inside(root: &Path, path: &str) -> Result<PathBuf, ImageError> {
    let path = root.join(path.trim_start_matches('/'));
    if let Some(parent) = path.parent() {
        make_directory(parent).map_err(|error| ImageError::of(parent, error))?;
    }
    Ok(path)
}

fn install_debs(
    lock: &Lock,
    config: &ImagesConfig,
    root: &Path,
    work: &Path,
) -> Result<(), ImageError> {
    // A repository of just these files: their digests were checked, so it needs no signature.
    let repository = work.join("repository");
    make_directory(&repository).map_err(|error| ImageError::of(&repository, error))?;
    let debs: Vec<&Entry> = lock.entries.iter().filter(|entry| entry.is_deb()).collect();
    let mut index = String::new();
    for entry in &debs {
        let (kept, name) = (place(config, entry), format!("{}.deb", entry.sha256));
        let linked = repository.join(&name);
        fs::hard_link(&kept, &linked)
            .or_else(|_| fs::copy(&kept, &linked).map(drop))
            .and_then(|()| fs::set_permissions(&linked, Permissions::from_mode(0o644)))
            .map_err(|error| ImageError::of(&linked, error))?;
        let mut control = reproducible("dpkg-deb", EPOCH);
        control.arg("--field").arg(&linked);
        let control = output("reading a Debian package", &mut control)?;
        let size = fs::metadata(&linked).map_err(|error| ImageError::of(&linked, error))?.len();
        let sha256 = &entry.sha256;
        index.push_str(&format!("{control}Filename: ./{name}\nSize: {size}\nSHA256: {sha256}\n\n"));
    }
    let packages = repository.join("Packages");
    fs::write(&packages, index)
        .and_then(|()| fs::set_permissions(&packages, Permissions::from_mode(0o644)))
        .map_err(|error| ImageError::of(&packages, error))?;
    let names: Vec<&str> = debs.iter().map(|entry| entry.name.as_str()).collect();
    let mut mmdebstrap = reproducible("mmdebstrap", EPOCH);
    mmdebstrap
        .args(["--quiet", "--mode=root", "--variant=custom", "--format=directory"])
        // What is lost in a crash is built again.
        .arg("--dpkgopt=force-unsafe-io")
        .arg("--skip=output/dev")
        .arg(format!("--architectures={}", lock.architecture))
        .arg(format!("--include={}", names.join(",")))
        .arg(&lock.release)
        .arg(root)
        .arg(format!("deb [trusted=yes] copy:{} ./", repository.display()));
    // Since trixie base-files brings the links from /bin to /usr/bin; before it is this package that asks for them.
    if names.contains(&"usr-is-merged") {
        mmdebstrap.arg("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr");
    }
    output("installing Debian packages", &mut mmdebstrap).map(drop)
}

fn install_wheels(
    lock: &Lock,
    config: &ImagesConfig,
    root: &Path,
    work: &Path,
) -> Result<(), ImageError> {
    let wheels: Vec<&Entry> =
        lock.entries.iter().filter(|entry| entry.kind == Kind::Wheel).collect();
    let directory = work.join("wheels");
    make_directory(&directory).map_err(|error| ImageError::of(&directory, error))?;
    for entry in &wheels {
        let linked = directory.join(entry.file_name());
        symlink(place(config, entry), &linked).map_err(|error| ImageError::of(&linked, error))?;
    }
    let target = root.join(PYTHON_PACKAGES);
    let python = output(
        "finding Python",
        super::command::online("python3").args(["-c", "import sys; print(sys.executable)"]),
    )?;
    let mut pip = reproducible(python.trim_end(), EPOCH);
    pip.args(["-m", "pip", "--isolated", "install", "--quiet", "--disable-pip-version-check"])
        .args([
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--no-cache-dir",
            "--root-user-action=ignore",
        ])
        .args(["--require-hashes", "--find-links"])
        .arg(&directory)
        .arg("--target")
        .arg(&target)
        .args(python_target(lock)?)
        .arg("--requirement")
        .arg(requirements(wheels.iter().copied(), work)?);
    output("installing packages of PyPI", &mut pip)?;
    // Commands that would be run with the Python of the machine that builds.
    match fs::remove_dir_all(target.join("bin")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ImageError::of(&target, error))
        }
        _ => Ok(()),
    }
}
