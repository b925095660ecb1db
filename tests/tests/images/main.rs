//! Images: built from kept files they are always the same, they are what programs see on both backends, and they go once
//! nothing uses them. `tests/run` has built the image `python` in SANDFLEET_TEST_IMAGES; nothing is fetched here.

mod fleet;

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use sandfleet_common::Verdict;
use sandfleet_tests::{Finished, Installation};
use serde_json::Value;

const IMAGE: &str = "python";

/// Says what it runs on, and fails if it sees the host's programs beside the image's.
const WHERE: &str = "import os, sys\nprint(sys.version_info[:2])\n\
    print(sorted(name for name in os.listdir('/usr/bin') if name.startswith('python3')))\n\
    print(open('/etc/os-release').read().count('trixie') > 0, os.access('/usr/bin', os.W_OK))";
const SEEN: &str = "(3, 13)\n['python3', 'python3.13']\nTrue False\n";

/// Where the images of the tests are.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os("SANDFLEET_TEST_IMAGES").expect("run `bash tests/run`, which sets it").into()
}

/// The images of the tests but for those that other suites have built.
pub(crate) fn only_python() -> tempfile::TempDir {
    let own = directory();
    let room = tempfile::tempdir_in(own.parent().expect("it is in target")).expect("room");
    fs::set_permissions(room.path(), Permissions::from_mode(0o755)).expect("ours");
    symlink(own.join("trees"), room.path().join("trees")).expect("room");
    fs::create_dir(room.path().join("names")).expect("room");
    let target = fs::read_link(own.join("names").join(IMAGE)).expect("tests/run has built it");
    symlink(target, room.path().join("names").join(IMAGE)).expect("room");
    room
}

/// What the engine calls the images of these tests alone.
pub(crate) const TAG: &str = "sandfleet-tests/{image}:images";

fn with_images(directory: &Path) -> Installation {
    Installation::fresh().set("IMAGES_DIRECTORY", &directory.display().to_string())
}

/// What `images list --json` says of the image that `name` means.
async fn facts(installation: &Installation, name: &str) -> Value {
    let listed = installation.run(&["images", "list", "--json"]).await;
    let all: Vec<Value> = serde_json::from_str(&listed.stdout).expect("an array");
    let of_name =
        |row: &&Value| row["names"].as_array().is_some_and(|it| it.contains(&name.into()));
    all.iter().find(of_name).unwrap_or_else(|| panic!("no {name}: {listed:#?}"))["image"].clone()
}

/// A directory beside that of the tests' images with the same kept files.
fn with_kept_files() -> tempfile::TempDir {
    let own = directory();
    let parent = own.parent().expect("it is in target");
    let room = tempfile::tempdir_in(parent).expect("room");
    fs::set_permissions(room.path(), Permissions::from_mode(0o755)).expect("ours");
    for digest in fs::read_dir(own.join("files")).expect("kept files") {
        let digest = digest.expect("an entry");
        let target = room.path().join("files").join(digest.file_name());
        fs::create_dir_all(&target).expect("room");
        for file in fs::read_dir(digest.path()).expect("a directory") {
            let file = file.expect("an entry");
            fs::hard_link(file.path(), target.join(file.file_name())).expect("one file system");
        }
    }
    room
}

/// Runs the binary by a shell's `script`, which gets it and its arguments as "$@".
async fn by_script(installation: &Installation, script: &str, arguments: &[&str]) -> Finished {
    let binary = std::env::var("SANDFLEET_TEST_BIN").expect("run `bash tests/run`");
    let script = ["--uts", "sh", "-c", script, "sh", &binary];
    let arguments: Vec<&str> = script.into_iter().chain(arguments.iter().copied()).collect();
    let mut command = installation.command_through("unshare", &arguments);
    // Longer than other commands may take.
    let done = command.stdin(Stdio::null()).output().await.expect("unshare is there");
    Finished {
        code: done.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

#[tokio::test]
async fn an_image_is_the_same_whoever_builds_it_and_goes_when_nothing_uses_it() {
    let room = with_kept_files();
    let here = with_images(room.path());
    let strange = "hostname strange-host; umask 077; export TZ=Asia/Tokyo LC_ALL=C PYTHONHASHSEED=1 \
                   SOURCE_DATE_EPOCH=99; exec \"$@\"";
    let built = by_script(&here, strange, &["images", "build", IMAGE]).await;
    assert_eq!(built.code, 0, "{built:#?}");
    assert!(built.stdout.contains("0 files fetched"), "{built:#?}");
    let (ours, theirs) =
        (facts(&here, IMAGE).await, facts(&with_images(&directory()), IMAGE).await);
    assert_eq!(
        ours["digest"], theirs["digest"],
        "another umask, time zone and host name made another image"
    );
    // Programs of any user may run in it.
    for place in ["trees", "names"] {
        let facts = fs::metadata(room.path().join(place)).expect("it is there");
        assert_eq!(facts.permissions().mode() & 0o777, 0o755, "{place}");
    }
    let again = here.run(&["images", "build", IMAGE]).await;
    assert!(again.stdout.contains("is up to date"), "{again:#?}");
    let verified = here.run(&["images", "verify", IMAGE]).await;
    assert_eq!(verified.code, 0, "{verified:#?}");

    // A program that sleeps in it keeps it.
    let script = room.path().join("sleep.py");
    fs::write(&script, "print('there', flush=True)\nimport time; time.sleep(600)").expect("room");
    let mut sleeping =
        here.command(&["run", &script.display().to_string(), "--limit", "wall_time_ms=600s"]);
    let mut sleeping = sleeping.spawn().expect("the binary");
    let mut first = [0; 6];
    let mut stdout = sleeping.stdout.take().expect("a pipe");
    tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut first).await.expect("it prints");
    let removed = here.run(&["images", "remove", IMAGE]).await;
    assert!(removed.stderr.contains("is in use"), "{removed:#?}");
    sleeping.kill().await.expect("ours");
    let removed = here.run(&["images", "remove", "--unused"]).await;
    assert!(removed.stderr.contains("removed sha256:"), "{removed:#?}");
    let listed = here.run(&["images", "list", "--json"]).await;
    assert_eq!(listed.stdout, "[]\n");
}

#[tokio::test]
async fn a_program_sees_its_images_tree_and_its_result_names_it_on_both_backends() {
    let here = with_images(&directory()).set("SANDBOX_IMAGE", TAG);
    let imported = here.run(&["images", "import", IMAGE]).await;
    assert_eq!(imported.code, 0, "{imported:#?}");
    let digest = facts(&here, IMAGE).await["digest"].clone();
    let room = tempfile::tempdir().expect("room");
    let script = room.path().join("it.py");
    fs::write(&script, WHERE).expect("room");
    let script = script.display().to_string();
    for backend in ["native", "docker"] {
        let ran = here.run(&["run", &script, "--json", "--sandbox", backend]).await.result();
        assert_eq!(ran.verdict, Some(Verdict::Accepted), "{backend}: {ran:#?}");
        assert_eq!(ran.run.expect("it ran").stdout, SEEN, "{backend}");
        let sandbox = ran.sandbox.expect("it ran");
        assert_eq!(sandbox.image, IMAGE, "{backend}");
        assert_eq!(sandbox.image_digest.map(Value::from), Some(digest.clone()), "{backend}");
    }
    // Without an image it is the host's, and the result says so.
    let ran = Installation::fresh().run(&["run", &script, "--json"]).await.result();
    let sandbox = ran.sandbox.expect("it ran");
    assert_eq!((sandbox.image.as_str(), sandbox.image_digest), ("host:/usr", None));
}

#[tokio::test]
async fn languages_says_where_each_runs_and_how_to_get_the_others() {
    let room = only_python();
    let here = with_images(room.path()).set("SANDBOX_IMAGE", TAG);
    here.run(&["images", "import", IMAGE]).await;
    let row = async |backend: &str, name: &str| {
        let listed = here.run(&["languages", "--json", "--sandbox", backend]).await;
        let rows: Vec<Value> = serde_json::from_str(&listed.stdout).expect("an array");
        rows.into_iter().find(|row| row["name"] == name).expect("a row")
    };
    let native = row("native", "python").await;
    assert_eq!((&native["runs_in"], &native["warm"]), (&IMAGE.into(), &true.into()));
    assert!(native["version"].as_str().is_some_and(|it| it.starts_with("Python 3.13")), "{native}");
    assert_eq!(native["image_digest"], facts(&here, IMAGE).await["digest"]);
    assert_eq!(row("native", "bash").await["runs_in"], "host:/usr");
    assert_eq!(row("docker", "python").await["image_digest"], native["image_digest"]);
    // Nothing of these tests builds it.
    let java = row("docker", "java").await;
    assert_eq!(java["installed"], false, "{java}");
    assert_eq!(java["get"], "sandfleet images build jvm && sandfleet images import jvm");
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_named_with_its_fix() {
    let room = with_kept_files();
    let here = with_images(room.path());
    let unknown = here.run(&["images", "build", "pyhton"]).await;
    assert_eq!(unknown.code, 69);
    assert!(unknown.stderr.contains("name one of base, jvm, native, node, python"), "{unknown:#?}");
    // Everything but mmdebstrap.
    let tools = room.path().join("tools");
    fs::create_dir(&tools).expect("room");
    for name in ["sh", "tar", "dpkg-deb", "unshare"] {
        symlink(Path::new("/usr/bin").join(name), tools.join(name)).expect("room");
    }
    let without = format!("PATH={} exec \"$@\"", tools.display());
    let missing = by_script(&here, &without, &["images", "build", IMAGE]).await;
    let why = "mmdebstrap is missing; to fix: apt-get install mmdebstrap";
    assert!(missing.stderr.contains(why), "{missing:#?}");
    // A kept file that is another one.
    let deb =
        fs::read_dir(room.path().join("files")).expect("kept").next().expect("one").expect("it");
    let deb = fs::read_dir(deb.path()).expect("kept").next().expect("one").expect("it").path();
    fs::remove_file(&deb).expect("ours");
    fs::write(&deb, "another").expect("ours");
    let known = fs::read_to_string(format!(
        "{}/../deploy/images/{IMAGE}.amd64.lock",
        env!("CARGO_MANIFEST_DIR")
    ));
    let digest = deb.parent().and_then(Path::file_name).expect("its digest");
    if known.expect("a lock").contains(&digest.to_string_lossy().into_owned()) {
        let broken = here.run(&["images", "build", IMAGE]).await;
        assert!(broken.stderr.contains("the lock says"), "{broken:#?}");
    }
    fs::set_permissions(room.path(), Permissions::from_mode(0o777)).expect("ours");
    fs::create_dir_all(room.path().join("names")).expect("room");
}

#[tokio::test]
async fn a_dockerfile_comes_with_all_that_it_adds() {
    let room = tempfile::tempdir().expect("room");
    let target = room.path().join("context");
    let here = with_images(&directory());
    let path = target.display().to_string();
    let written = here.run(&["images", "export", IMAGE, "--dockerfile", &path]).await;
    assert_eq!(written.code, 0, "{written:#?}");
    let text = fs::read_to_string(target.join("Dockerfile")).expect("written");
    let digest = facts(&here, IMAGE).await["digest"].as_str().expect("text").to_owned();
    assert!(text.contains(&format!("LABEL org.sandfleet.tree=\"{digest}\"")), "{text}");
    for line in text.lines().filter_map(|line| line.strip_prefix("ADD ")) {
        let name = line.split(' ').next().expect("a name");
        assert!(target.join(name).is_file(), "{name}");
    }
}
