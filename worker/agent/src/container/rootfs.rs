//! The root tree of native containers: the programs of an image or of the host, read-only, and nothing else of it.
//!
//! It is built once, by the launcher, in a mount namespace of its own. Every container gets a
//! copy of that namespace and adds what has to be its own: /proc, terminals and its scratch space. The host's
//! mount table is in no container.

use std::{
    ffi::CStr,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Gid, Mode, Uid, chmod, chown, makedev, mknodat},
    io::Errno,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
        mount_change, mount_remount, move_mount, open_tree, unmount,
    },
    process::{chdir, pivot_root},
};

use super::{
    barrier::{Barrier, Failed},
    etc,
    machine::{self, Processors, VariableFiles},
    proc::mount_proc,
    scratch::{ScratchSpace, WORKING_DIRECTORY},
};
use crate::{
    pending_output::{MODULE_DIRECTORY, MODULE_FILE},
    sys,
};

/// Directories of the host that hold programs. Where the host has a symbolic link (`/bin` to
/// `usr/bin`), so has the container.
const PROGRAM_DIRECTORIES: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Devices with their numbers: those that are memory or nothing, and the one that is each session's own terminal.
const DEVICES: &[(&str, (u32, u32))] = &[
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

/// Where the tree is put together: any directory that every Linux has. The mount is in a
/// namespace of the launcher's own and is seen nowhere else.
const ASSEMBLY: &str = "/tmp";

/// Terminals of a container: an instance of its own, with few, since the kernel keeps what is written to one
/// in memory that no control group counts.
const TERMINALS: &CStr = c"newinstance,ptmxmode=0666,mode=0620,max=16";

/// The root of containers that see the host's programs.
const HOST: &str = "/";

/// A directory of the tree that stays empty.
const NOTHING: &str = "root";

/// Makes the tree of an image this process's root, so that what follows takes it for the host: its programs and settings are
/// in the same places, and containers can't tell where the tree is kept. The host's own /proc and /dev stay in sight.
pub(crate) fn enter_image(root: &str) -> Result<(), Failed> {
    if root == HOST {
        return Ok(());
    }
    let place = Path::new(root);
    let failed = |what: &'static str| {
        move |error: io::Error| {
            Barrier::RootTree.failed(format!("the image {root} can't be used: {what}: {error}"))
        }
    };
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|error| Barrier::MountNamespace.failed(error.to_string()))?;
    expose(place, place).map_err(failed("mounting it"))?;
    for shared in ["/proc", "/dev"] {
        bind(Path::new(shared), &place.join(&shared[1..]), 0).map_err(failed(shared))?;
    }
    chdir(place)
        // The old root ends up on the new one, whence it is taken away.
        .and_then(|()| pivot_root(".", "."))
        .and_then(|()| unmount(".", UnmountFlags::DETACH))
        .and_then(|()| chdir("/"))
        .map_err(|error| Barrier::RootTree.failed(format!("pivot_root to {root}: {error}")))
}

/// Builds the tree of a machine with these processors and makes it this process's root. The host's files are
/// out of its sight then, except for its /proc if that is to be kept somewhere. `python_module` is what
/// interpreters import at their start.
pub(crate) fn build(
    is_root: bool,
    show_programs: fn(&Path, &Path) -> io::Result<()>,
    kept_proc: Option<&str>,
    processors: Processors,
    python_module: Option<File>,
) -> Result<VariableFiles, Failed> {
    let broken = |what: &'static str| {
        move |error: io::Error| Barrier::RootTree.failed(format!("{what} can't be set up: {error}"))
    };
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .map_err(|error| Barrier::MountNamespace.failed(error.to_string()))?;
    mount("tmpfs", ASSEMBLY, "tmpfs", MountFlags::NOSUID, c"mode=0755,size=16m")
        .map_err(|error| Barrier::RootTree.failed(format!("tmpfs: {error}")))?;
    let root = Path::new(ASSEMBLY);
    add_programs(root, show_programs).map_err(broken("the programs (/usr)"))?;
    make_devices(root, is_root).map_err(broken("/dev"))?;
    etc::write(root).map_err(broken("/etc"))?;
    let variable_files = machine::write(root, processors).map_err(broken("/sys and /proc"))?;
    for directory in ["proc", "tmp", "old", &WORKING_DIRECTORY[1..]] {
        fs::create_dir(root.join(directory)).map_err(broken("a directory"))?;
    }
    symlink("/tmp", root.join("var/tmp")).map_err(broken("/var/tmp"))?;
    if let Some(place) = kept_proc {
        let place = root.join(&place[1..]);
        fs::create_dir_all(&place).map_err(broken("/proc"))?;
        bind(Path::new("/proc"), &place, 0).map_err(broken("/proc"))?;
    }
    if let Some(module) = python_module {
        add_module(root, module).map_err(broken(MODULE_DIRECTORY))?;
    }
    enter(root).map_err(|error| Barrier::RootTree.failed(format!("pivot_root: {error}")))?;
    Ok(variable_files)
}

fn add_module(root: &Path, mut module: File) -> io::Result<()> {
    let directory = root.join(&MODULE_DIRECTORY[1..]);
    fs::create_dir_all(&directory)?;
    io::copy(&mut module, &mut File::create(directory.join(MODULE_FILE))?).map(drop)
}

fn enter(root: &Path) -> rustix::io::Result<()> {
    chdir(root)?;
    pivot_root(".", "old")?;
    unmount("/old", UnmountFlags::DETACH)?;
    chdir("/")?;
    // The mount point stays as an empty directory only until here.
    let _ = rustix::fs::rmdir("/old");
    mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID, c"")
}

/// Puts `source` and what is mounted below it at `target`, with more attributes on all of it.
fn bind(source: &Path, target: &Path, attributes: u64) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags)?;
    if attributes != 0 {
        sys::set_mount_attributes(std::os::fd::AsFd::as_fd(&tree), attributes)?;
    }
    move_mount(&tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

/// Shows a directory of the host's programs through an overlay. Its inodes are not the host's, though the
/// content is: so a watch (inotify) on them shows nothing of what the host and other containers open, and a
/// lock on them blocks no process outside.
pub(crate) fn overlay(source: &Path, target: &Path) -> io::Result<()> {
    // An overlay without an upper directory wants two lower ones.
    let nothing = Path::new(ASSEMBLY).join(NOTHING);
    let layers = format!("lowerdir={}:{}", source.display(), nothing.display());
    let layers = std::ffi::CString::new(layers).map_err(io::Error::other)?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", target, "overlay", flags, layers.as_c_str()).map_err(io::Error::from)
}

/// Shows a directory of the host's programs as it is, read-only: to a zygote, which runs nothing else.
/// Its containers' trees lie over it.
pub(crate) fn expose(source: &Path, target: &Path) -> io::Result<()> {
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    bind(source, target, attributes)
}

fn add_programs(root: &Path, show: fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    fs::create_dir(root.join(NOTHING))?;
    for directory in PROGRAM_DIRECTORIES {
        let source = Path::new(directory);
        let target = root.join(&directory[1..]);
        match fs::symlink_metadata(source) {
            Ok(facts) if facts.is_symlink() => symlink(fs::read_link(source)?, &target)?,
            Ok(_) => {
                fs::create_dir(&target)?;
                show(source, &target)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn make_devices(root: &Path, is_root: bool) -> io::Result<()> {
    let directory = root.join("dev");
    fs::create_dir(&directory)?;
    for (name, (major, minor)) in DEVICES {
        if is_root {
            let node = directory.join(name);
            let device = makedev(*major, *minor);
            mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)?;
            // The mode above is less the umask.
            chmod(&node, Mode::from_raw_mode(0o666))?;
            continue;
        }
        let source = Path::new("/dev").join(name);
        let is_device = std::os::unix::fs::FileTypeExt::is_char_device(
            &fs::symlink_metadata(&source)?.file_type(),
        );
        if !is_device {
            return Err(io::Error::other(format!("{} is no device", source.display())));
        }
        let target = directory.join(name);
        File::create(&target)?;
        // Borrowed from the host, since only the host's root may make one.
        bind(&source, &target, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC)?;
    }
    fs::create_dir(directory.join("pts"))?;
    symlink("pts/ptmx", directory.join("ptmx"))?;
    symlink("/proc/self/fd", directory.join("fd"))?;
    for (number, name) in ["stdin", "stdout", "stderr"].iter().enumerate() {
        symlink(format!("/proc/self/fd/{number}"), directory.join(name))?;
    }
    fs::create_dir(directory.join("shm"))
}

/// What a zygote has in the tree beside what its containers find there: the host's /proc, a directory for
/// `files`, and nothing in the place of the file `program`.
pub(crate) fn setup_zygote(program: &str, files: &[(&str, &[u8])]) -> Result<(), Failed> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    for directory in [WORKING_DIRECTORY, "/tmp"] {
        mount("tmpfs", directory, "tmpfs", flags, c"mode=0755,size=64m")
            .map_err(|error| Barrier::RootTree.failed(format!("{directory}: {error}")))?;
    }
    let files = files.iter().map(|(name, content)| (Path::new("/tmp").join(name), *content));
    for (path, content) in files.chain([(Path::new(WORKING_DIRECTORY).join(program), &b""[..])]) {
        fs::write(&path, content)
            .map_err(|error| Barrier::RootTree.failed(format!("{}: {error}", path.display())))?;
    }
    Ok(())
}

/// Mounts what is a container's own, in its copy of the launcher's mount namespace.
pub(crate) fn enter_container(scratch: &ScratchSpace, kept_proc: bool) -> Result<(), Failed> {
    let failed = |barrier: Barrier, what: &str| {
        let what = what.to_owned();
        move |error: Errno| barrier.failed(format!("{what} can't be mounted: {error}"))
    };
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount_proc(kept_proc)?;
    mount("devpts", "/dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, TERMINALS)
        .map_err(failed(Barrier::RootTree, "/dev/pts"))?;
    let spaces = [
        (WORKING_DIRECTORY, scratch.bytes),
        ("/tmp", scratch.bytes),
        ("/dev/shm", scratch.shared_bytes),
    ];
    for (directory, bytes) in spaces {
        // Zero would mean no limit.
        let (bytes, inodes) = (bytes.max(4096), scratch.inodes.max(16));
        let options = format!("size={bytes},nr_inodes={inodes},mode=0700");
        let options = std::ffi::CString::new(options).unwrap_or_default();
        mount("tmpfs", directory, "tmpfs", flags, options.as_c_str())
            .map_err(failed(Barrier::ScratchSpace, directory))?;
        // Not by an option of the mount: the container can read those, and the number is the host's.
        let (uid, gid) = (Uid::from_raw(scratch.owner), Gid::from_raw(scratch.owner));
        chown(directory, Some(uid), Some(gid)).map_err(failed(Barrier::ScratchSpace, directory))?;
    }
    Ok(())
}
