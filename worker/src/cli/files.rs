//! `--file`: input files of a job, one by one or by directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sandfleet_common::{InputFile, MAX_FILES, validate_file_name};

use super::{
    exit::{Exit, Failure},
    input::{Bound, read_file},
};

/// Adds what `PATH[=NAME]` names: a file, or all files of a directory below its name.
pub(super) fn add(argument: &str, bound: Bound, to: &mut Vec<InputFile>) -> Result<(), Failure> {
    let refuse = |why: String| Exit::Usage.with(format!("--file {argument}: {why}"));
    let (path, name) = match argument.rsplit_once('=') {
        // A file whose own name has an equals sign in it is meant as it is.
        Some((path, name)) if !Path::new(argument).exists() => (PathBuf::from(path), Some(name)),
        _ => (PathBuf::from(argument), None),
    };
    if !path.is_dir() {
        let name = match (name, path.file_name()) {
            (Some(name), _) => name,
            (None, own) => own.and_then(|it| it.to_str()).ok_or_else(|| refuse(UNNAMED.into()))?,
        };
        return add_file(&path, name, bound, to).map_err(refuse);
    }
    let name = match (name, path.file_name()) {
        (Some(name), _) => name,
        (None, Some(own)) => own.to_str().ok_or_else(|| refuse(UNNAMED.into()))?,
        // `.` and `..` have no name of their own: what is in them comes without one.
        (None, None) => "",
    };
    let before = to.len();
    add_directory(&path, name, bound, to).map_err(refuse)?;
    if to.len() == before {
        return Err(refuse(
            "holds no files, and a job has no empty directories; leave it out".into(),
        ));
    }
    Ok(())
}

const UNNAMED: &str = "its name is not plain text; rename it, or use PATH=NAME";

fn add_directory(
    path: &Path,
    name: &str,
    bound: Bound,
    to: &mut Vec<InputFile>,
) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut entries = fs::read_dir(path)
        .and_then(|entries| entries.collect::<Result<Vec<_>, _>>())
        .map_err(failed)?;
    // The same job from the same directory, whatever order the file system has.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let shown = path.display();
        let own = entry.file_name();
        let own = own.to_str().ok_or_else(|| format!("{shown}: {UNNAMED}"))?;
        let name = if name.is_empty() { own.to_owned() } else { format!("{name}/{own}") };
        let kind = entry.file_type().map_err(failed)?;
        // A link to a directory may lead back up.
        if kind.is_symlink() && path.is_dir() {
            return Err(format!(
                "{shown}: is a link to a directory; name that with a --file of its own"
            ));
        }
        if kind.is_dir() {
            add_directory(&path, &name, bound, to)?;
        } else if kind.is_file() || path.is_file() {
            add_file(&path, &name, bound, to)?;
        } else {
            return Err(format!(
                "{shown}: is no file and no directory; remove it, or name the files"
            ));
        }
    }
    Ok(())
}

fn add_file(path: &Path, name: &str, bound: Bound, to: &mut Vec<InputFile>) -> Result<(), String> {
    validate_file_name(name)?;
    if to.len() == MAX_FILES {
        return Err(format!(
            "more than {MAX_FILES} files; the limit is {MAX_FILES}; send an archive"
        ));
    }
    let bytes = read_file(path, bound).map_err(|failure| failure.error.to_string())?;
    to.push(InputFile::from_bytes(name, bytes));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn names(argument: &str) -> Result<Vec<String>, String> {
        let mut files = Vec::new();
        add(argument, Bound::Message(100), &mut files)
            .map_err(|failure| failure.error.to_string())?;
        Ok(files.into_iter().map(|it| it.name).collect())
    }

    #[test]
    fn a_directory_comes_with_its_structure() {
        let place = TempDir::new().expect("room");
        let path = |name: &str| place.path().join(name).display().to_string();
        fs::create_dir_all(path("data/deep/er")).expect("room");
        for name in ["data/b.txt", "data/.hidden", "data/deep/er/c.bin", "outside"] {
            fs::write(path(name), [0xff]).expect("room");
        }
        symlink(path("outside"), path("data/link")).expect("room");
        let inside = [".hidden", "b.txt", "deep/er/c.bin", "link"];
        let below = |name: &str| inside.map(|it| format!("{name}{it}")).to_vec();
        assert_eq!(names(&path("data")), Ok(below("data/")));
        assert_eq!(names(&format!("{}/", path("data"))), Ok(below("data/")));
        assert_eq!(names(&format!("{}=in/put", path("data"))), Ok(below("in/put/")));
        assert_eq!(names(&format!("{}/deep/..", path("data"))), Ok(below("")));
        assert_eq!(names(&path("data/b.txt")), Ok(vec!["b.txt".into()]));
    }

    #[test]
    fn what_no_job_can_hold_is_named() {
        let place = TempDir::new().expect("room");
        let path = |name: &str| place.path().join(name).display().to_string();
        let refused = |argument: &str, part: &str| {
            let said = names(argument).expect_err(argument);
            assert!(
                said.starts_with(&format!("--file {argument}: ")) && said.contains(part),
                "{said}"
            );
        };
        fs::create_dir(path("empty")).expect("room");
        refused(&path("empty"), "holds no files");
        fs::create_dir(path("up")).expect("room");
        symlink("..", path("up/link")).expect("room");
        refused(&path("up"), "up/link: is a link to a directory");
        fs::create_dir(path("socket")).expect("room");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket/it")).expect("room");
        refused(&path("socket"), "socket/it: is no file and no directory");
        fs::create_dir(path("many")).expect("room");
        for number in 0..=MAX_FILES {
            fs::write(path(&format!("many/{number}")), "").expect("room");
        }
        refused(&path("many"), "the limit is 256");
        fs::write(path("long"), [0; 101]).expect("room");
        refused(&path("long"), "jobs.max_bytes = 100");
        refused(&format!("{}=../up", path("long")), "../up");
        refused(&path("nothing"), "No such file");
    }
}
