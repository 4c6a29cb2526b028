//! `make demo` on a machine that lacks something: `.ci/setup`, which it begins with, says what is missing and how to get it.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use catalyst_e2e::stage::root;
use tempfile::TempDir;

/// What the script itself needs.
const BASICS: [&str; 12] = ["bash", "df", "tail", "tr", "id", "gcc", "dirname", "mktemp", "rm", "sed", "sort", "head"];
/// A tool, what it says of a version that will do and of one that will not, and where to get a newer one.
const TOOLS: [(&str, &str, &str, &str); 4] = [
    ("cargo", "cargo 1.95.0 (f2d3ce0bd 2026-03-21)", "cargo 1.63.0", "rustup.rs"),
    ("go", "go version go1.26.8 linux/amd64", "go version go1.19.8 linux/amd64", "go.dev"),
    ("node", "v20.20.2", "v18.20.4", "nodejs.org"),
    ("npm", "11.19.1", "9.2.0", "Node.js"),
];

/// A folder of programs: the basics as this machine has them, and tools that say what `version` gives for them; without one they are missing.
fn programs(version: impl Fn(usize) -> Option<&'static str>) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    let path = std::env::var_os("PATH").expect("a PATH");
    for name in BASICS {
        let program = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.exists());
        symlink(program.unwrap_or_else(|| panic!("{name} is needed")), folder.path().join(name)).expect("a link");
    }
    for (at, (name, ..)) in TOOLS.iter().enumerate() {
        let Some(says) = version(at) else { continue };
        let tool = folder.path().join(name);
        std::fs::write(&tool, format!("#!/bin/sh\necho '{says}'\n")).expect("a tool");
        std::fs::set_permissions(&tool, Permissions::from_mode(0o755)).expect("to be run");
    }
    folder
}

fn good(at: usize) -> Option<&'static str> {
    TOOLS.get(at).map(|(_, good, ..)| *good)
}

fn setup(programs: &TempDir) -> Output {
    Command::new("/bin/bash").arg(root().join(".ci/setup")).env("PATH", programs.path()).output().expect("bash")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_missing_tool_is_named_with_where_to_get_it() {
    for (missing, (tool, .., remedy)) in TOOLS.iter().enumerate() {
        let output = setup(&programs(|at| if at == missing { None } else { good(at) }));
        assert!(!output.status.success(), "{tool} was not missed");
        let said = said(&output);
        assert!(said.contains(&format!("{tool} is missing")) && said.contains(remedy), "{said}");
    }
}

#[test]
fn an_old_tool_is_named_with_its_version_and_where_to_get_a_newer_one() {
    for (old, (tool, _, says, remedy)) in TOOLS.iter().enumerate() {
        let output = setup(&programs(|at| if at == old { Some(*says) } else { good(at) }));
        assert!(!output.status.success(), "{says} was taken");
        let said = said(&output);
        assert!(said.contains(&format!("{tool} is of version")) && said.contains(remedy), "{said}");
    }
}

#[test]
fn a_user_who_is_not_root_is_told_so() {
    let folder = programs(good);
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
    let folder = programs(good);
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
