//! Saves a result's artifacts below a directory of the user's. Their names and their contents are a hostile program's.

use std::{collections::BTreeMap, path::Path};

use sandfleet_common::{Artifact, JobResult, PrintableText, hexadecimal, validate_file_name};
use sha2::{Digest, Sha256};

use super::{
    exit::Failure,
    output_directory::{OutputDirectory, Refusal},
};

/// Writes the artifacts below `directory`, which is made if it isn't there. A file of the same name is
/// replaced; anything else in its place is refused. Nothing is saved of a result whose artifacts aren't as
/// a worker made them.
pub(super) fn save(result: &JobResult, directory: &Path) -> Result<(), Failure> {
    let shown = directory.display();
    let refused = |artifact: &Artifact, why: Refusal| {
        let name = PrintableText::new(&artifact.name);
        let text = format!("artifact {name} is not saved in {shown}: {}", why.sentence);
        why.exit.with(text)
    };
    let mut contents = BTreeMap::new();
    for artifact in &result.artifacts {
        let content = verified(artifact).map_err(|why| refused(artifact, why))?;
        if contents.insert(artifact.name.as_str(), content).is_some() {
            let why = "the result has two of this name; a worker makes no such result, so run the job \
                       again";
            return Err(refused(artifact, Refusal::invalid(why.into())));
        }
    }
    let top = OutputDirectory::create("--artifacts", directory)?;
    for artifact in &result.artifacts {
        let content = &contents[artifact.name.as_str()];
        top.write(&artifact.name, content).map_err(|why| refused(artifact, why))?;
    }
    Ok(())
}

/// The bytes of an artifact whose name, size and hash are right.
fn verified(artifact: &Artifact) -> Result<Vec<u8>, Refusal> {
    validate_file_name(&artifact.name).map_err(Refusal::invalid)?;
    let content = artifact.bytes().map_err(Refusal::invalid)?;
    let sha256 = hexadecimal(&Sha256::digest(&content));
    if content.len() as u64 != artifact.size_bytes || sha256 != artifact.sha256 {
        return Err(Refusal::invalid(format!(
            "{} bytes with SHA-256 {sha256} came, and the result says {} bytes with {}; it was changed \
             in the store, so run the job again",
            content.len(),
            artifact.size_bytes,
            PrintableText::new(&artifact.sha256)
        )));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        os::unix::fs::{FileTypeExt, symlink},
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::fs::{CWD, FileType, Mode};
    use sandfleet_common::Encoding;
    use tempfile::TempDir;

    use super::*;

    fn artifact(name: &str) -> Artifact {
        Artifact {
            name: name.into(),
            size_bytes: 3,
            sha256: hexadecimal(&Sha256::digest("new")),
            content_type: String::new(),
            content: "new".into(),
            encoding: Encoding::Utf8,
        }
    }

    fn result(names: &[&str]) -> JobResult {
        let mut result: JobResult = serde_json::from_value(serde_json::json!({
            "job_id": "x", "status": "succeeded", "message": "", "worker_id": "w", "attempt": 1,
            "started_at": "2020-01-01T00:00:00Z", "finished_at": "2020-01-01T00:00:00Z",
        }))
        .expect("a result");
        result.artifacts = names.iter().map(|name| artifact(name)).collect();
        result
    }

    /// A directory to save in, and one beside it that nothing may get into.
    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(TempDir::new().expect("room"));
            fs::create_dir(place.out("")).expect("room");
            fs::create_dir(place.precious("")).expect("room");
            fs::write(place.precious("file"), "old").expect("room");
            place
        }

        fn out(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join("out").join(name)
        }

        fn precious(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join("precious").join(name)
        }

        fn refuses(&self, name: &str, parts: [&str; 2]) {
            let failure = save(&result(&[name]), &self.out("")).expect_err(name);
            let said = failure.error.to_string();
            assert!(parts.iter().all(|part| said.contains(part)), "{name}: {said}");
            self.is_untouched();
        }

        fn is_untouched(&self) {
            let names = |path| -> BTreeSet<_> {
                let entries = fs::read_dir(path).expect("it is there");
                entries.map(|it| it.expect("an entry").file_name()).collect()
            };
            assert_eq!(names(self.precious("")), ["file".into()].into());
            assert_eq!(fs::read_to_string(self.precious("file")).expect("there"), "old");
            let left = |name: &std::ffi::OsString| name.to_string_lossy().starts_with(".sandfleet");
            assert!(!names(self.out("")).iter().any(left), "something half done is left");
        }
    }

    #[test]
    fn a_link_at_any_component_is_refused_by_name() {
        for at in ["a", "a/b", "a/b/c", "a/b/c/file"] {
            for target in ["precious", "nowhere"] {
                let place = Place::new();
                let link = place.out(at);
                fs::create_dir_all(link.parent().expect("one")).expect("room");
                symlink(place.0.path().join(target), &link).expect("room");
                place.refuses("a/b/c/file", [&format!("{at} is a symbolic link"), "remove it"]);
                assert!(link.is_symlink(), "it is as it was");
            }
        }
        let place = Place::new();
        symlink("/proc/self/cwd", place.out("a")).expect("room");
        place.refuses("a/file", ["a is a symbolic link", "another directory"]);
    }

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        let place = Place::new();
        let (fifo, directory) = (place.out("fifo"), place.out("directory"));
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("room");
        fs::create_dir(&directory).expect("room");
        fs::write(place.out("file"), "old").expect("room");
        let socket = place.out("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("room");
        place.refuses("fifo", ["fifo is a named pipe", "remove it"]);
        place.refuses("fifo/x", ["fifo is a named pipe", "remove it"]);
        place.refuses("socket", ["socket is a socket", "remove it"]);
        place.refuses("directory", ["directory is a directory", "remove it"]);
        place.refuses("file/x", ["file is a file", "remove it"]);
        assert!(fs::metadata(&fifo).expect("there").file_type().is_fifo());
    }

    #[test]
    fn files_are_replaced_whole_and_trees_are_made() {
        let place = Place::new();
        fs::hard_link(place.precious("file"), place.out("file")).expect("room");
        let long = "x".repeat(255);
        let deep = vec!["d"; 500].join("/");
        let nested = format!("{long}/{long}/{long}/{long}");
        let names = ["file", "a/b/c", "a/b/d", &long, &deep];
        save(&result(&names), &place.out("")).expect("saved");
        save(&result(&[&nested]), &place.out("more/and/more")).expect("saved");
        for name in names {
            assert_eq!(fs::read_to_string(place.out(name)).expect(name), "new", "{name}");
        }
        let nested = place.out("more/and/more").join(nested);
        assert_eq!(fs::read_to_string(nested).expect("there"), "new");
        place.is_untouched();
    }

    #[test]
    fn a_name_that_leads_outside_is_refused() {
        let place = Place::new();
        for name in ["../precious/file", "/etc/x", "a/../../precious/file", "", ".", "a//b"] {
            place.refuses(name, ["is not saved", "use a relative path"]);
        }
    }

    #[test]
    fn an_artifact_that_is_not_as_it_was_made_is_refused_with_all_others() {
        type Change = fn(&mut Artifact);
        let changes: [(&str, Change); 4] = [
            ("it was changed", |it| it.content = "old".into()),
            ("it was changed", |it| it.sha256 = String::new()),
            ("4 bytes with", |it| it.size_bytes = 4),
            ("two of this name", |it| it.name = "first".into()),
        ];
        for (part, change) in changes {
            let place = Place::new();
            let mut result = result(&["first", "changed"]);
            change(&mut result.artifacts[1]);
            let said = save(&result, &place.out("")).expect_err(part).error.to_string();
            assert!(said.contains(part) && said.contains("run the job again"), "{said}");
            assert!(!place.out("first").exists(), "nothing is saved");
            place.is_untouched();
        }
    }

    #[test]
    fn a_link_that_is_swapped_in_meanwhile_leads_nowhere() {
        let place = Place::new();
        let (swapped, link) = (place.out("a"), place.out("link"));
        fs::create_dir(&swapped).expect("room");
        symlink(place.precious(""), &link).expect("room");
        let over = AtomicBool::new(false);
        let (mut saved, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(
                        CWD,
                        &swapped,
                        CWD,
                        &link,
                        rustix::fs::RenameFlags::EXCHANGE,
                    )
                    .expect("both are there");
                }
            });
            // Until both were seen, so that the race took place.
            let mut tries = 0;
            while (saved < 50 || refused < 50) && tries < 50_000 {
                match save(&result(&["a/new"]), &place.out("")) {
                    Ok(()) => saved += 1,
                    Err(_) => refused += 1,
                }
                tries += 1;
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(saved >= 50 && refused >= 50, "{saved} saved, {refused} refused");
        place.is_untouched();
    }
}
