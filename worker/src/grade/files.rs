//! The files of a package: a directory's or a ZIP archive's. Nothing is written, and nothing outside is read.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
};

use sandfleet_common::validate_file_name;
use zip::ZipArchive;

/// How many files a package may have.
const MAX_FILES: usize = 100_000;
/// How many bytes they may have together: all are held in memory.
pub const MAX_BYTES: u64 = 1 << 30;

/// Files and their contents, by their paths from the top of the package.
#[derive(Debug, Clone, Default)]
pub struct PackageFiles(BTreeMap<String, Vec<u8>>);

/// What judging needs of a package.
const READ: [&str; 8] = [
    "problem.yaml",
    ".timelimit",
    "data/",
    "include/",
    "output_validator/",
    "output_validators/",
    "static_validator/",
    "submissions/",
];

impl PackageFiles {
    /// Reads the directory, or the archive, at `path`.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let said = |why: String| format!("{}: {why}", path.display());
        let mut files = Self::default();
        match path.is_dir() {
            true => files.add_directory(path, "").map_err(said)?,
            false => files.add_archive(path).map_err(said)?,
        }
        if files.get("problem.yaml").is_none() {
            return Err(said(
                "has no problem.yaml; name a problem package, or a ZIP archive of one".into(),
            ));
        }
        Ok(files)
    }

    /// The content of a file.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// If it isn't UTF-8.
    pub fn text(&self, path: &str) -> Result<Option<&str>, String> {
        let Some(bytes) = self.get(path) else { return Ok(None) };
        std::str::from_utf8(bytes).map(Some).map_err(|error| format!("{path}: {error}"))
    }

    /// The files below `directory`, which ends with a slash, by their paths from there.
    pub fn below<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = self.0.range(directory.to_owned()..);
        from.map_while(move |(path, content)| {
            Some((path.strip_prefix(directory)?, content.as_slice()))
        })
    }

    /// The names in `directory`, which ends with a slash; those of directories end with one.
    pub fn entries(&self, directory: &str) -> Vec<String> {
        let names = self.below(directory).map(|(path, _)| match path.split_once('/') {
            Some((name, _)) => format!("{name}/"),
            None => path.to_owned(),
        });
        let mut names: Vec<String> = names.collect();
        names.dedup();
        names
    }

    fn add(&mut self, path: String, content: Vec<u8>) -> Result<(), String> {
        if self.0.len() == MAX_FILES {
            return Err(format!("has more than {MAX_FILES} files"));
        }
        if self.0.insert(path.clone(), content).is_some() {
            return Err(format!("{path}: is there twice"));
        }
        Ok(())
    }

    fn room(&self) -> u64 {
        MAX_BYTES.saturating_sub(self.0.values().map(|content| content.len() as u64).sum())
    }

    fn add_directory(&mut self, top: &Path, below: &str) -> Result<(), String> {
        let directory = top.join(below);
        let root = top.canonicalize().map_err(|error| error.to_string())?;
        let mut left = self.room();
        let mut waiting = vec![(directory, below.to_owned())];
        while let Some((directory, below)) = waiting.pop() {
            let failed = |error: std::io::Error| format!("{below}: {error}");
            for entry in fs::read_dir(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{below}{name}");
                if !is_read(&path) {
                    continue;
                }
                // Links may lead to other files of the package only.
                let target =
                    entry.path().canonicalize().map_err(|error| format!("{path}: {error}"))?;
                if !target.starts_with(&root) {
                    return Err(format!("{path}: leads out of the package; replace it by a file"));
                }
                if target.is_dir() {
                    if entry.file_type().map_err(failed)?.is_symlink() {
                        return Err(format!("{path}: is a link to a directory; replace it"));
                    }
                    waiting.push((entry.path(), format!("{path}/")));
                } else if target.is_file() {
                    let file = File::open(&target).map_err(|error| format!("{path}: {error}"))?;
                    let content = content(&path, file, left)?;
                    left -= content.len() as u64;
                    self.add(path, content)?;
                } else {
                    return Err(format!("{path}: is no file and no directory"));
                }
            }
        }
        Ok(())
    }

    fn add_archive(&mut self, path: &Path) -> Result<(), String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut archive =
            ZipArchive::new(file).map_err(|error| format!("no ZIP archive: {error}"))?;
        if archive.len() > MAX_FILES {
            return Err(format!("has more than {MAX_FILES} files"));
        }
        let mut found = Vec::new();
        let mut left = MAX_BYTES;
        for index in 0..archive.len() {
            let entry = archive.by_index(index).map_err(|error| error.to_string())?;
            let name = entry.name().map_err(|error| format!("a name in it: {error}"))?.into_owned();
            if entry.is_dir() {
                continue;
            }
            validate_file_name(&name)?;
            if !entry.is_file() {
                return Err(format!("{name}: is no plain file; replace it by one"));
            }
            // The sizes that an archive states are only said.
            let content = content(&name, entry, left)?;
            left -= content.len() as u64;
            found.push((name, content));
        }
        // All of it is in one directory.
        let top = found.iter().find_map(|(name, _)| {
            name.strip_suffix("problem.yaml").filter(|top| top.matches('/').count() <= 1)
        });
        let Some(top) = top.map(str::to_owned) else { return Ok(()) };
        for (name, content) in found {
            if let Some(path) = name.strip_prefix(&top)
                && is_read(path)
            {
                self.add(path.to_owned(), content)?;
            }
        }
        Ok(())
    }
}

/// Whether judging needs it. What begins with a dot or a dash, as `.git`, is no part of the package.
fn is_read(path: &str) -> bool {
    let is_hidden = |name: &str| name.starts_with(['.', '-']);
    let is_needed = READ.iter().any(|read| {
        path.starts_with(read) || read.strip_suffix('/') == Some(path) || *read == path
    });
    is_needed && (path == ".timelimit" || !path.split('/').any(is_hidden))
}

fn content(name: &str, from: impl Read, left: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    from.take(left + 1).read_to_end(&mut content).map_err(|error| format!("{name}: {error}"))?;
    if content.len() as u64 > left {
        return Err(format!("{name}: the package is larger than {MAX_BYTES} bytes"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::fs::symlink};

    use tempfile::TempDir;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(place: &TempDir, entries: &[(&str, &[u8])]) -> Result<PackageFiles, String> {
        let path = place.path().join("it.zip");
        let mut writer = ZipWriter::new(File::create(&path).expect("room"));
        for (name, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).expect("an entry");
            writer.write_all(content).expect("room");
        }
        writer.finish().expect("room");
        PackageFiles::read(&path)
    }

    #[test]
    fn an_archive_gives_what_its_directory_does() {
        let place = TempDir::new().expect("room");
        let files = archive(
            &place,
            &[
                ("sum/problem.yaml", b"name: Sum"),
                ("sum/data/secret/1.in", b"1"),
                ("sum/statement/problem.pdf", b"not read"),
                ("sum/data/.git/x", b"not read"),
            ],
        )
        .expect("a package");
        assert_eq!(files.entries("data/"), ["secret/"]);
        assert_eq!(files.below("data/secret/").collect::<Vec<_>>(), [("1.in", b"1".as_slice())]);
        assert_eq!(files.0.len(), 2);
    }

    #[test]
    fn what_leads_out_of_a_package_or_never_ends_is_refused() {
        let place = TempDir::new().expect("room");
        for name in ["../problem.yaml", "/etc/problem.yaml", "sum/../../x"] {
            let said = archive(&place, &[(name, b"")]).expect_err(name);
            assert!(said.contains("relative path"), "{said}");
        }
        let twice = archive(&place, &[("sum/problem.yaml", b""), ("other/problem.yaml", b"")]);
        assert!(twice.is_ok(), "one of them");
        let big = vec![0; 64 << 20];
        let bomb: Vec<(String, &[u8])> =
            (0..17).map(|number| (format!("sum/data/{number}"), big.as_slice())).collect();
        let bomb: Vec<(&str, &[u8])> = bomb.iter().map(|(name, it)| (name.as_str(), *it)).collect();
        let said = archive(&place, &bomb).expect_err("a bomb");
        assert!(said.contains("larger than"), "{said}");
        let package = place.path().join("dir");
        fs::create_dir_all(package.join("data")).expect("room");
        fs::write(package.join("problem.yaml"), "").expect("room");
        symlink("/etc/passwd", package.join("data/1.in")).expect("room");
        let said = PackageFiles::read(&package).expect_err("it leads out");
        assert!(said.contains("data/1.in: leads out"), "{said}");
        fs::remove_file(package.join("data/1.in")).expect("there");
        symlink("../problem.yaml", package.join("data/1.in")).expect("room");
        assert!(PackageFiles::read(&package).is_ok(), "inside it may");
    }
}
