//! The table of faults names tests that there are.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::Path;

#[test]
fn every_test_that_the_table_of_faults_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut code = String::new();
    for folder in ["proxy/src", "proxy/tests", "ssh/src", "ssh/tests", "lab/tests", "e2e/tests"] {
        read(&root.join(folder), &mut code);
    }
    let table = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let names = table.split('`').filter(|word| {
        word.matches('_').count() > 2
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
    });
    let missing: Vec<&str> = names.filter(|name| !code.contains(&format!("fn {name}()"))).collect();
    assert_eq!(missing, [""; 0]);
    assert!(table.contains("killed_ssh_sessions_cost_neither_a_word_nor_a_repetition"), "it is another table");
}

fn read(folder: &Path, code: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
