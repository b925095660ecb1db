//! No two files of the workspace import each other, directly or through others.

use std::path::Path;

use sandfleet_tests::ImportGraph;

/// Where circles are still to be resolved; to be emptied.
const TO_GO: &[&str] = &["worker/agent/warm/src/"];

#[test]
fn no_files_import_each_other() {
    let top =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the checkout");
    let graph = ImportGraph::of_workspace(top).expect("every module has its file");
    assert!(graph.files() > 200, "{} files", graph.files());
    let mut circles = graph.circles();
    let is_to_go = |import: &String| TO_GO.iter().any(|place| import.starts_with(place));
    circles.retain(|circle| !circle.iter().all(is_to_go));
    let shown: Vec<String> = circles.iter().map(|imports| imports.join("\n  ")).collect();
    assert!(
        circles.is_empty(),
        "files import each other; move what both need into a file below both:\n  {}",
        shown.join("\n\n  ")
    );
}
