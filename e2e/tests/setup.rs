//! `make demo` on a machine that lacks something: `.ci/setup`, which it begins with, says what is missing and how to get it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests, though clippy only knows functions marked so"
)]

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output};

use catalyst_e2e::stage::root;
use tempfile::TempDir;

/// What the script itself needs.
const BASICS: [&str; 13] =
    ["bash", "df", "tail", "tr", "id", "gcc", "dirname", "mktemp", "rm", "sed", "sort", "head", "uname"];
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
        script(&folder, name, &format!("echo '{says}'"));
    }
    folder
}

/// Puts a program into the folder, in place of the one that is there.
fn script(programs: &TempDir, name: &str, does: &str) {
    let tool = programs.path().join(name);
    let _ = std::fs::remove_file(&tool);
    std::fs::write(&tool, format!("#!/bin/sh\n{does}\n")).expect("a tool");
    std::fs::set_permissions(&tool, Permissions::from_mode(0o755)).expect("to be run");
}

fn good(at: usize) -> Option<&'static str> {
    TOOLS.get(at).map(|(_, good, ..)| *good)
}

fn setup(programs: &TempDir) -> Output {
    setup_with(programs, &[])
}

fn setup_with(programs: &TempDir, further: &[&str]) -> Output {
    let mut setup = Command::new("/bin/bash");
    setup.arg(root().join(".ci/setup")).args(further).env("PATH", programs.path()).output().expect("bash")
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

/// Those that Vite takes, and their neighbours that it does not.
#[test]
fn a_node_that_cannot_build_the_web_ui_is_told_from_one_that_can() {
    let node = |version| {
        let programs = programs(good);
        script(&programs, "node", &format!("echo {version}"));
        // Ends what comes after the tools early.
        script(&programs, "id", "echo 1000");
        said(&setup(&programs))
    };
    for bad in ["v20.0.0", "v20.18.3", "v21.7.3", "v22.0.0", "v22.11.0"] {
        let said = node(bad);
        assert!(
            said.contains("node is of version") && said.contains("22.12") && said.contains("20.19"),
            "{bad}: {said}"
        );
    }
    for good in ["v20.19.0", "v22.12.0", "v23.1.0", "v24.0.2"] {
        assert!(node(good).contains("root is needed"), "{good}: {}", node(good));
    }
}

#[test]
fn a_toolchain_without_rustfmt_or_clippy_is_told_the_command_where_they_are_needed() {
    for (tool, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        let programs = programs(good);
        let lacks = format!("[ \"$1\" != {subcommand} ] || exit 1; echo 'cargo 1.95.0 (f2d3ce0bd 2026-03-21)'");
        script(&programs, "cargo", &lacks);
        script(&programs, "id", "echo 1000");
        let remedy = format!("{tool} is missing. Install it: rustup component add {tool}");
        let told = said(&setup_with(&programs, &[tool]));
        assert!(told.contains(&remedy), "{told}");
        let told = said(&setup(&programs));
        assert!(!told.contains(tool), "it is not needed: {told}");
    }
}

#[test]
fn rustup_adds_what_a_minimal_toolchain_lacks() {
    let programs = programs(good);
    let added = programs.path().join("added");
    let lacks = format!(
        "[ \"$1\" != fmt ] || [ -e {0} ] || exit 1; echo 'cargo 1.95.0 (f2d3ce0bd 2026-03-21)'",
        added.display()
    );
    script(&programs, "cargo", &lacks);
    script(&programs, "rustup", &format!("[ \"$*\" = 'component add rustfmt' ] && : >{}", added.display()));
    script(&programs, "id", "echo 1000");
    let output = setup_with(&programs, &["rustfmt"]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(added.exists() && told.contains("installing rustfmt"), "{told}{}", said(&output));
    assert!(said(&output).contains("root is needed"), "{}", said(&output));
}

#[test]
fn another_architecture_is_told_before_anything_is_built() {
    let programs = programs(good);
    script(&programs, "uname", "echo aarch64");
    let output = setup(&programs);
    assert!(!output.status.success());
    assert!(said(&output).contains("aarch64") && said(&output).contains("x86_64"), "{}", said(&output));
}

/// As a container's image is: no package lists, so that the first attempt cannot find anything.
#[test]
fn a_missing_package_is_installed_also_where_the_lists_of_packages_are_empty() {
    let programs = programs(good);
    script(&programs, "df", "echo Avail; echo 99G");
    let there = programs.path().display();
    let apt = format!(
        "echo \"$1\" >>{there}/asked; case \"$1\" in update) : >{there}/lists ;; install) [ -e {there}/lists ] || exit 100; : >{there}/\"$5\" ;; esac"
    );
    script(&programs, "apt-get", &apt);
    let output = setup_with(&programs, &["shellcheck"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read_to_string(programs.path().join("asked")).expect("asked"), "install\nupdate\ninstall\n");
    assert!(programs.path().join("shellcheck").exists(), "another package was installed");

    script(&programs, "apt-get", "echo no network >&2; exit 100");
    std::fs::remove_file(programs.path().join("shellcheck")).expect("to be there");
    let output = setup_with(&programs, &["shellcheck"]);
    assert!(!output.status.success());
    assert!(said(&output).contains("no network") && said(&output).contains("its log is"), "{}", said(&output));
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
    let full = |environment: &str, words: &[&str]| {
        let folder = programs(good);
        // A disk of 100 MiB, in a mount namespace that ends with the command.
        let script = "mount -t tmpfs -o size=100m small /mnt && cd \"$1\" && exec env $2 /bin/bash \"$0\"";
        let output = Command::new("unshare")
            .args(["--mount", "/bin/sh", "-c", &format!("PATH=$PATH:/bin:/sbin:/usr/bin; {script}")])
            .arg(root().join(".ci/setup"))
            .args([if environment.is_empty() { "/mnt" } else { "." }, environment])
            .current_dir(root())
            .env("PATH", format!("{}:/usr/bin:/bin:/sbin", folder.path().display()))
            .output()
            .expect("unshare");
        assert!(!output.status.success());
        let said = said(&output);
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
    };
    full("", &["GiB are free at /mnt;", "need about 15"]);
    full(
        "XDG_CACHE_HOME=/mnt/not/yet",
        &["GiB are free at /mnt/not/yet/catalyst-lab;", "need about 8", "XDG_CACHE_HOME"],
    );
}
