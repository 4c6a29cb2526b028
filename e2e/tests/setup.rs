//! `make demo` on a machine that lacks something: `.ci/setup`, which it begins with, says what is missing and how to get it.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use catalyst_e2e::stage::root;
use tempfile::TempDir;

/// What the script itself needs.
const BASICS: [&str; 9] = ["bash", "df", "tail", "tr", "id", "gcc", "dirname", "mktemp", "rm"];
const TOOLS: [&str; 4] = ["cargo", "go", "node", "npm"];

/// A folder of programs: the basics as this machine has them, the tools as names that are only looked for.
fn programs(tools: &[&str]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = std::env::var_os("PATH").expect("a PATH");
    for name in BASICS {
        let program = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.exists());
        symlink(program.unwrap_or_else(|| panic!("{name} is needed")), folder.path().join(name)).expect("a link");
    }
    for name in tools {
        symlink("/bin/true", folder.path().join(name)).expect("a link");
    }
    folder
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_tool_is_named_with_where_to_get_it() {
    for (tool, remedy) in TOOLS.iter().zip(["rustup.rs", "go.dev", "nodejs.org", "Node.js"]) {
        let others: Vec<&str> = TOOLS.iter().filter(|other| *other != tool).copied().collect();
        let folder = programs(&others);
        let output = Command::new("/bin/bash").arg(root().join(".ci/setup")).env("PATH", folder.path()).output();
        let output = output.expect("bash");
        assert!(!output.status.success(), "{tool} was not missed");
        let said = said(&output);
        assert!(said.contains(&format!("{tool} is missing")) && said.contains(remedy), "{said}");
    }
}

#[test]
fn a_user_who_is_not_root_is_told_so() {
    let folder = programs(&TOOLS);
    // World-readable, as a checkout of that user's own would be.
    let script = folder.path().join("setup");
    std::fs::copy(root().join(".ci/setup"), &script).expect("a copy");
    assert!(Command::new("chmod").args(["-R", "a+rx"]).arg(folder.path()).status().expect("chmod").success());
    let output = Command::new("/usr/bin/setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/bin/bash"])
        .arg(&script)
        .current_dir("/")
        .env("PATH", folder.path())
        .output()
        .expect("setpriv");
    assert!(!output.status.success());
    assert!(said(&output).contains("root is needed") && said(&output).contains("sudo -E"), "{}", said(&output));
}

#[test]
fn a_full_disk_is_told_with_what_is_free_and_what_is_needed() {
    let folder = programs(&TOOLS);
    // A disk of 100 MiB, in a mount namespace that ends with the command.
    let script = "mount -t tmpfs -o size=100m small /mnt && cd /mnt && exec /bin/bash \"$0\"";
    let output = Command::new("unshare")
        .args(["--mount", "/bin/sh", "-c", &format!("PATH=$PATH:/bin:/sbin:/usr/bin; {script}")])
        .arg(root().join(".ci/setup"))
        .env("PATH", format!("{}:/usr/bin:/bin:/sbin", folder.path().display()))
        .output()
        .expect("unshare");
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("GiB are free here") && said.contains("need about 15"), "{said}");
}
