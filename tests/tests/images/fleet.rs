//! Workers with images: what they announce, and what clients get to know of it.

use std::fs;

use sandfleet_common::{Status, WorkerInfo};
use sandfleet_tests::{Installation, Services};

use crate::{IMAGE, TAG, only_python};

/// The language that CONTRIBUTING.md adds, in the image of these tests.
fn awk() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../CONTRIBUTING.md"));
    let page = page.expect("it is there");
    let (_, diff) = page.split_once("+++ deploy/languages/awk.toml\n").expect("its diff");
    let added = diff.lines().map_while(|line| line.strip_prefix('+'));
    format!("image = \"{IMAGE}\"\n") + &added.map(|line| format!("{line}\n")).collect::<String>()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_announces_the_languages_whose_image_it_has_and_clients_use_what_it_knows() {
    let services = Services::fresh();
    let client = Installation::fresh().on(&services);
    let room = tempfile::tempdir().expect("room");
    fs::create_dir(room.path().join("languages")).expect("room");
    fs::write(room.path().join("languages/awk.toml"), awk()).expect("room");
    let languages = room.path().join("languages").display().to_string();
    let images = only_python();
    let worker = Installation::fresh()
        .on(&services)
        .set("SANDBOX_BACKEND", "docker")
        .set("SANDBOX_IMAGE", TAG)
        .set("IMAGES_DIRECTORY", &images.path().display().to_string())
        .set("JOBS_LANGUAGES_DIRECTORY", &languages);
    let imported = worker.run(&["images", "import", IMAGE]).await;
    assert_eq!(imported.code, 0, "{imported:#?}");
    let mut docker = worker.worker("docker");
    docker.ready().await;

    let listed = client.run(&["workers", "--json"]).await;
    let workers: Vec<WorkerInfo> = serde_json::from_str(&listed.stdout).expect("an array");
    let offered = &workers[0].languages;
    let offers = |name: &str| offered.iter().any(|it| it == name);
    assert!(offers("python") && offers("awk"), "{offered:?}");
    // Nothing of these tests makes the image of these.
    assert!(!offers("java") && !offers("r"), "{offered:?}");

    // What only the worker knows.
    let script = room.path().join("it.awk");
    fs::write(&script, "BEGIN { print \"awk\", ARGV[1] }").expect("room");
    let script = script.display().to_string();
    let ran = client.run(&["submit", &script, "--language", "awk", "--arg", "x", "--wait"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "awk x\n"), "{ran:#?}");
    let misspelt = client.run(&["submit", &script, "--language", "akw", "--wait"]).await;
    assert_eq!(misspelt.code, 64);
    assert!(misspelt.stderr.contains("the only live worker doesn't offer it"), "{misspelt:#?}");

    // What this client knows and no live worker serves.
    let java = room.path().join("Main.java");
    fs::write(&java, "class Main { }").expect("room");
    let java = java.display().to_string();
    let ran = client.run(&["submit", &java, "--wait", "--json"]).await;
    let result = ran.result();
    assert_eq!(result.status, Status::Rejected, "{result:#?}");
    assert!(result.message.as_str().contains("images build jvm"), "{result:#?}");
}
