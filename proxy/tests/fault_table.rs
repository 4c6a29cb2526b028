//! The table of faults names tests that there are, each in the file that it names behind them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

#[test]
fn every_test_that_the_table_of_faults_names_is_in_the_file_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let table = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let rows: Vec<&str> =
        table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |")).collect();
    assert!(rows.len() > 40, "it is another table");
    let mut wrong = Vec::new();
    for row in rows {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [_, _, tests] = cells[..] else { panic!("{} cells: {row}", cells.len()) };
        let mut named = 0;
        // Tests wait for their file, which stands behind them.
        let mut waiting: Vec<String> = Vec::new();
        for (at, part) in tests.split('`').enumerate() {
            if at % 2 == 0 {
                // Those in another language are quoted.
                waiting.extend(part.split('"').skip(1).step_by(2).map(str::to_owned));
            } else if let Some(file) = find(root, part) {
                let code = read(&file);
                named += waiting.len();
                wrong.extend(
                    waiting.drain(..).filter(|name| !code.contains(name)).map(|name| format!("{name} in {part}")),
                );
            } else if part.contains(['/', '.']) {
                wrong.push(format!("no file {part}"));
            } else if !part.contains(' ') {
                waiting.push(format!("fn {part}()"));
            }
        }
        wrong.extend(waiting.into_iter().map(|name| format!("{name} in no file")));
        if named == 0 {
            wrong.push(format!("no test in {row}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// A file or folder as the table calls it: by its whole path, or from `proxy/tests` on.
fn find(root: &Path, name: &str) -> Option<PathBuf> {
    [root.join(name), root.join("proxy/tests").join(name)].into_iter().find(|path| path.exists())
}

/// A file's text, or that of all in a folder.
fn read(path: &Path) -> String {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().map(|entry| read(&entry.unwrap().path())).collect()
    } else {
        std::fs::read_to_string(path).unwrap()
    }
}
