//! Files that are generated from the code are what the code generates now.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking, and its modules are its own")]

use std::path::Path;

use catalyst_operator::{crd, reason};
use serde_json::Value;

fn assert_generated(file: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{file} is not what the code generates: run `make generate` and commit the file");
}

#[test]
fn the_crd_in_the_repository_is_the_one_of_the_types() {
    assert_generated("crds/catalystinstances.yaml", &crd::manifests().unwrap());
}

/// `kubectl explain` shows what is written here, and nothing else.
fn assert_described(path: &str, schema: &Value) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let description = field["description"].as_str().unwrap_or_default();
        assert!(!description.trim().is_empty(), "{path} has no description");
        assert_described(&path, field);
        assert_described(&format!("{path}[]"), &field["items"]);
    }
}

#[test]
fn every_field_is_described() {
    for crd in crd::all() {
        let crd = serde_json::to_value(&crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(schema["properties"].as_object().unwrap().len(), 2, "spec and status");
        assert_described("", schema);
    }
}

#[test]
fn the_reference_is_that_of_the_schema() {
    assert_generated("docs/reference.md", &crd::reference_markdown());
}

#[test]
fn the_list_of_reasons_is_that_of_the_code() {
    assert_generated("docs/reasons.md", &reason::reasons_markdown());
}

/// Symptoms of the Helm chart, and what status calls them: a reason that is renamed has to be renamed there.
#[test]
fn the_page_on_troubleshooting_names_reasons_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let named: Vec<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        assert!(reason::Reason::ALL.iter().any(|reason| reason.as_str() == name), "{name} is no reason");
    }
}

/// `kubectl apply` without `--server-side` keeps the whole object in an annotation, of 256 KiB at most.
#[test]
fn the_crd_is_small_enough_for_every_way_of_applying_it() {
    for crd in crd::all() {
        let size = serde_json::to_string(&crd).unwrap().len();
        assert!(size < 200_000, "{size} bytes");
    }
}

fn collect_defaults(path: &str, schema: &Value, found: &mut Vec<String>) {
    if !schema["default"].is_null() {
        found.push(path.to_owned());
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        collect_defaults(&format!("{path}.{name}"), field, found);
    }
    for below in ["items", "additionalProperties"] {
        if schema[below].is_object() {
            collect_defaults(&format!("{path}[]"), &schema[below], found);
        }
    }
}

/// A default in the schema is written into objects, and stays there when a later version has another one. So the operator
/// resolves defaults itself, but for the replicas, without which there would be no scale subresource. A status is the operator's own, and
/// written over.
#[test]
fn the_schema_has_a_default_for_the_replicas_and_the_status_only() {
    let mut found = Vec::new();
    for crd in crd::all() {
        let crd = serde_json::to_value(&crd).unwrap();
        collect_defaults("", &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
    }
    assert_eq!(found, [".spec.replicas", ".status"]);
}
