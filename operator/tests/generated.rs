//! Files that are generated from the code are what the code generates now.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking, and its modules are its own")]

use std::path::Path;

use catalyst_operator::{crd, reason};

fn assert_generated(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{file} is not what the code generates: run `make generate` (or this test with UPDATE_GENERATED=1) and commit the file"
    );
}

#[test]
fn the_crd_in_the_repository_is_the_one_of_the_types() {
    assert_generated("crds/catalystinstances.yaml", &crd::manifests().unwrap());
}

#[test]
fn the_reference_is_that_of_the_schema() {
    assert_generated("docs/reference.md", &crd::reference_markdown());
}

#[test]
fn the_list_of_reasons_is_that_of_the_code() {
    assert_generated("docs/reasons.md", &reason::reasons_markdown());
}
