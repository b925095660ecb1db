//! Where images are kept: root trees by their digests, and which of them each name means.
//!
//! ```text
//! trees/DIGEST/root          a root tree
//! trees/DIGEST/image.json    what it is
//! trees/DIGEST/in-use        locked (shared) by every process that runs programs in it
//! names/NAME                 a link to one of trees
//! files/SHA256/FILE          what trees are made of
//! locks/NAME.ARCHITECTURE.lock
//! ```

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{error::ImageError, tree};

/// What every digest begins with.
const PREFIX: &str = "sha256:";

/// What a tree is, as it is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The image's name.
    pub name: String,
    /// `sha256:` and the digest of its archive.
    pub digest: String,
    /// The length of its archive, in bytes.
    pub bytes: u64,
    /// Debian's name of the architecture.
    pub architecture: String,
    /// The release of Debian.
    pub release: String,
    /// The day on which its packages were the newest.
    pub packages_as_of: String,
    /// SHA-256 of all that it follows from: its lock, and how its files are put together.
    pub recipe_sha256: String,
}

/// A root tree that programs can run in. While this exists the tree is not removed.
#[derive(Debug)]
pub struct Tree {
    /// What it is.
    pub facts: Facts,
    /// Where it is, with links resolved.
    pub root: PathBuf,
    _in_use: File,
}

/// The directory that images are in.
#[derive(Debug, Clone)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// That in `directory`, which needn't exist.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn trees(&self) -> PathBuf {
        self.directory.join("trees")
    }

    fn names(&self) -> PathBuf {
        self.directory.join("names")
    }

    /// The tree that `name` means now; `None` if there is no such image.
    ///
    /// # Errors
    /// If it is there and can't be used: others than root, or than this process's user, could have put programs into it.
    pub fn tree(&self, name: &str) -> Result<Option<Tree>, ImageError> {
        let link = self.names().join(name);
        // Once more if a build replaces it meanwhile.
        for _ in 0..3 {
            let target = match fs::read_link(&link) {
                Ok(target) => self.names().join(target),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(ImageError::of(&link, error)),
            };
            if let Some(tree) = self.open(&target)? {
                return Ok(Some(tree));
            }
        }
        Err(ImageError::with_fix(
            format!("{} leads to no tree", link.display()),
            format!("sandfleet images build {name}"),
        ))
    }

    /// Every tree that is there, and by which names it is meant.
    ///
    /// # Errors
    /// If the directory can't be read.
    pub fn all(&self) -> Result<Vec<(Tree, Vec<String>)>, ImageError> {
        let mut all = Vec::new();
        let mut named: Vec<(String, PathBuf)> = Vec::new();
        for link in list(&self.names())? {
            let name = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Ok(target) = fs::canonicalize(&link) {
                named.push((name, target));
            }
        }
        for directory in list(&self.trees())? {
            if let Some(tree) = self.open(&directory)? {
                let place = fs::canonicalize(&directory);
                let place = place.map_err(|error| ImageError::of(&directory, error))?;
                let names = named.iter().filter(|(_, target)| *target == place);
                let mut names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
                names.sort();
                all.push((tree, names));
            }
        }
        Ok(all)
    }

    /// `None` if it isn't there, or goes at this moment.
    fn open(&self, directory: &Path) -> Result<Option<Tree>, ImageError> {
        let path = directory.join("in-use");
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(ImageError::of(&path, error)),
        };
        flock(&file, FlockOperation::LockShared).map_err(|error| ImageError::of(&path, error))?;
        // It may have gone before the lock was there.
        let path = directory.join("image.json");
        let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
        let facts: Facts =
            serde_json::from_str(&text).map_err(|error| ImageError::of(&path, error))?;
        let root = fs::canonicalize(directory.join("root"))
            .map_err(|error| ImageError::of(&directory.join("root"), error))?;
        // The kernel takes both for the ends of a layer's path.
        if root.to_string_lossy().contains([':', ',']) {
            let why = format!("{}: holds a `:` or a `,`", root.display());
            return Err(ImageError::with_fix(why, "name another directory in images.directory"));
        }
        for place in root.ancestors().take(3).chain([self.directory.as_path()]) {
            check_owner(place)?;
        }
        Ok(Some(Tree { facts, root, _in_use: file }))
    }

    /// Takes in the tree at `root`, which is moved, and lets `facts.name` mean it.
    ///
    /// # Errors
    /// If it can't be moved there.
    pub(super) fn add(&self, root: &Path, facts: &Facts) -> Result<(), ImageError> {
        let directory = self.trees().join(facts.digest.trim_start_matches(PREFIX));
        let of = |error: io::Error| ImageError::of(&directory, error);
        if !directory.join("image.json").exists() {
            // What there is was left by a build that was ended.
            remove_tree(&directory).map_err(of)?;
            tree::make_directory(&directory).map_err(of)?;
            fs::set_permissions(root, Permissions::from_mode(0o755)).map_err(of)?;
            fs::rename(root, directory.join("root")).map_err(of)?;
            write_readable(&directory.join("in-use"), "").map_err(of)?;
        }
        // Last, and at once: without it there is no tree. Of one that was there already another lock may have been made.
        let text = serde_json::to_string_pretty(facts).map_err(io::Error::other).map_err(of)?;
        write_readable(&directory.join("image.json"), &(text + "\n")).map_err(of)?;
        let names = self.names();
        let of = |error: io::Error| ImageError::of(&names, error);
        tree::make_directory(&names).map_err(of)?;
        let part = names.join(format!(".{}", facts.name));
        _ = fs::remove_file(&part);
        let target = Path::new("../trees").join(facts.digest.trim_start_matches(PREFIX));
        symlink(target, &part).map_err(of)?;
        fs::rename(&part, names.join(&facts.name)).map_err(of)
    }

    /// Lets `name` mean nothing. Its tree stays until [`prune`](Self::prune).
    ///
    /// # Errors
    /// If there is no such image.
    pub fn forget(&self, name: &str) -> Result<(), ImageError> {
        let link = self.names().join(name);
        fs::remove_file(&link).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImageError::with_fix(
                format!("there is no image {name:?}"),
                "`sandfleet images list` shows those that there are",
            ),
            _ => ImageError::of(&link, error),
        })
    }

    /// Removes the trees that no name means and no process uses; gives back the digests of those, and of those that are
    /// kept since they are in use.
    ///
    /// # Errors
    /// If one can't be removed.
    pub fn prune(&self) -> Result<(Vec<String>, Vec<String>), ImageError> {
        let (mut removed, mut kept) = (Vec::new(), Vec::new());
        for (tree, names) in self.all()? {
            if !names.is_empty() {
                continue;
            }
            let Tree { facts, root, _in_use } = tree;
            // Our own lock becomes one that only the last user gets.
            if flock(&_in_use, FlockOperation::NonBlockingLockExclusive).is_err() {
                kept.push(facts.digest);
                continue;
            }
            let directory = root.parent().unwrap_or(&root).to_owned();
            let gone = fs::remove_file(directory.join("image.json"))
                .and_then(|()| remove_tree(&directory));
            gone.map_err(|error| ImageError::of(&directory, error))?;
            removed.push(facts.digest);
        }
        Ok((removed, kept))
    }

    /// An empty directory on the same file system, for a build. Only one build works here at a time.
    ///
    /// # Errors
    /// If it can't be made, or another build works here.
    pub(super) fn workshop(&self) -> Result<Workshop, ImageError> {
        let path = self.directory.join("build");
        let of = |error: io::Error| {
            ImageError::with_fix(
                format!("{}: {error}", path.display()),
                "run this as root, or name another directory in images.directory",
            )
        };
        tree::make_directory(&self.directory).map_err(of)?;
        let place = self.directory.join("build.lock");
        let lock = File::create(&place).map_err(of)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let why = format!("another build works in {}", self.directory.display());
            return Err(ImageError::with_fix(why, "wait for its end"));
        }
        remove_tree(&path).map_err(of)?;
        fs::create_dir(&path).map_err(of)?;
        Ok(Workshop { path, _lock: lock })
    }
}

/// Where a build works. Removed with this.
pub(super) struct Workshop {
    pub(super) path: PathBuf,
    _lock: File,
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // What can't be removed is removed by the next build.
        _ = remove_tree(&self.path);
    }
}

impl Tree {
    /// Whether its files are those that its digest is of.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self) -> Result<(), ImageError> {
        let found = tree::digest(&self.root).map_err(|error| ImageError::of(&self.root, error))?;
        let found = format!("{PREFIX}{}", found.digest);
        if found == self.facts.digest {
            return Ok(());
        }
        Err(ImageError::with_fix(
            format!(
                "image {}: its files are {found}, and not {}",
                self.facts.name, self.facts.digest
            ),
            format!("sandfleet images remove {0} && sandfleet images build {0}", self.facts.name),
        ))
    }

    /// Whether `path`, an absolute one inside of the tree, is a file there.
    pub fn has_file(&self, path: &str) -> bool {
        use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
        let root = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(root) = open(&self.root, root, Mode::empty()) else { return false };
        let found = openat2(
            &root,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            // As a program inside finds it: links lead to nowhere outside.
            ResolveFlags::IN_ROOT,
        );
        found.is_ok_and(|file| File::from(file).metadata().is_ok_and(|facts| facts.is_file()))
    }
}

/// Another user who can write here could put programs into an image.
fn check_owner(path: &Path) -> Result<(), ImageError> {
    let facts = fs::metadata(path).map_err(|error| ImageError::of(path, error))?;
    let own = rustix::process::geteuid().as_raw();
    let is_foreign = facts.uid() != 0 && facts.uid() != own;
    if is_foreign || facts.mode() & 0o022 != 0 {
        let path = path.display();
        return Err(ImageError::with_fix(
            format!("{path}: others than root can write there, so it is no place for images"),
            format!("chown root {path} && chmod go-w {path}, then `sandfleet images verify`"),
        ));
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let of = |error: io::Error| ImageError::of(directory, error);
    let mut found = Vec::new();
    match fs::read_dir(directory) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(of)?;
                // What begins with a point is about to be put in place.
                if !entry.file_name().to_string_lossy().starts_with('.') {
                    found.push(entry.path());
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(of(error)),
    }
    found.sort();
    Ok(found)
}

/// Writes a file whole, for all users: programs of any may run in a tree.
fn write_readable(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    fs::set_permissions(&part, Permissions::from_mode(0o644))?;
    fs::rename(&part, path)
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(store: &Store, content: &str) -> Facts {
        let workshop = store.workshop().expect("room");
        let root = workshop.path.join("root");
        fs::create_dir(&root).expect("room");
        fs::write(root.join("file"), content).expect("room");
        tree::settle_times(&root).expect("ours");
        let archive = tree::digest(&root).expect("readable");
        let facts = Facts {
            name: "base".into(),
            digest: format!("{PREFIX}{}", archive.digest),
            bytes: archive.bytes,
            architecture: "amd64".into(),
            release: "trixie".into(),
            packages_as_of: "2026-01-02".into(),
            recipe_sha256: "r".into(),
        };
        store.add(&root, &facts).expect("added");
        facts
    }

    fn store() -> (tempfile::TempDir, Store) {
        let room = tempfile::tempdir().expect("room");
        let store = Store::new(room.path());
        (room, store)
    }

    #[test]
    fn an_old_tree_goes_once_no_process_uses_it() {
        let (_room, store) = store();
        assert!(store.tree("base").expect("nothing").is_none());
        let old = added(&store, "old");
        let used = store.tree("base").expect("usable").expect("there");
        let new = added(&store, "new");
        let now = store.tree("base").expect("usable").expect("there");
        assert_eq!((&used.facts, &now.facts), (&old, &new));
        assert_eq!(store.prune().expect("done"), (vec![], vec![old.digest.clone()]));
        assert!(used.root.join("file").exists());
        drop(used);
        assert_eq!(store.prune().expect("done"), (vec![old.digest], vec![]));
        store.forget("base").expect("there");
        assert!(store.forget("base").expect_err("gone").to_string().contains("images list"));
        drop(now);
        assert_eq!(store.prune().expect("done").0, [new.digest]);
        assert!(store.all().expect("readable").is_empty());
    }

    #[test]
    fn a_tree_that_is_built_again_keeps_its_users_and_takes_the_new_facts() {
        let (_room, store) = store();
        let first = added(&store, "content");
        let used = store.tree("base").expect("usable").expect("there");
        let again = Facts { recipe_sha256: "another".into(), ..first };
        let workshop = store.workshop().expect("room");
        let root = workshop.path.join("root");
        fs::create_dir(&root).expect("room");
        store.add(&root, &again).expect("added");
        assert_eq!(store.tree("base").expect("usable").expect("there").facts, again);
        store.forget("base").expect("there");
        assert_eq!(store.prune().expect("done").1, [again.digest]);
        assert!(used.root.join("file").exists());
    }

    #[test]
    fn a_tree_whose_files_were_changed_is_found() {
        let (_room, store) = store();
        added(&store, "content");
        let tree = store.tree("base").expect("usable").expect("there");
        tree.verify().expect("as it was made");
        assert!(tree.has_file("/file") && !tree.has_file("/other") && !tree.has_file("/"));
        symlink("/file", tree.root.join("link")).expect("ours");
        symlink("/etc/passwd", tree.root.join("outside")).expect("ours");
        assert!(tree.has_file("/link") && !tree.has_file("/outside"));
        assert!(tree.verify().expect_err("changed").to_string().contains("images build base"));
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let (room, store) = store();
        added(&store, "content");
        fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).expect("ours");
        let why = store.tree("base").expect_err("refused").to_string();
        assert!(why.contains("others than root can write there"), "{why}");
    }

    #[test]
    fn one_build_works_at_a_time() {
        let (_room, store) = store();
        let first = store.workshop().expect("room");
        assert!(store.workshop().is_err_and(|why| why.to_string().contains("another build")));
        drop(first);
        assert!(store.workshop().is_ok());
    }
}
