//! No two files of the workspace import each other, directly or through others.

use std::path::Path;

use sandfleet_tests::ImportGraph;

#[test]
fn no_files_import_each_other() {
    let top =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the checkout");
    let graph = ImportGraph::of_workspace(top).expect("every module has its file");
    assert!(graph.files() > 200, "{} files", graph.files());
    let circles = graph.circles();
    let shown: Vec<String> = circles.iter().map(|imports| imports.join("\n  ")).collect();
    assert!(
        circles.is_empty(),
        "files import each other; move what both need into a file below both:\n  {}",
        shown.join("\n\n  ")
    );
}
