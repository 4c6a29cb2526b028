//! `make demo-down` where the demo was not built, or its build is gone: a lab that is there is taken down all the same.

#![allow(clippy::expect_used, reason = "helpers of tests are tests, though clippy only knows functions marked so")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use catalyst_e2e::stage::root;
use tempfile::TempDir;

/// What `make demo-down` prints in a checkout without builds; `cargo` builds a lab that says what it was told.
fn demo_down(state: &Path) -> String {
    let checkout = TempDir::new().expect("a folder");
    for file in ["Makefile", "Cargo.toml"] {
        std::fs::copy(root().join(file), checkout.path().join(file)).expect("a copy");
    }
    let programs = checkout.path().join("programs");
    std::fs::create_dir(&programs).expect("a folder");
    let cargo = "#!/bin/sh\nmkdir -p target/debug && printf '#!/bin/sh\\necho lab \"$@\"\\n' >target/debug/catalyst-lab && chmod +x target/debug/catalyst-lab\n";
    std::fs::write(programs.join("cargo"), cargo).expect("a cargo");
    std::fs::set_permissions(programs.join("cargo"), std::fs::Permissions::from_mode(0o755)).expect("to be run");
    let path = std::env::var("PATH").expect("a PATH");
    let output = Command::new("make")
        .args(["--no-print-directory", "demo-down"])
        .current_dir(checkout.path())
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("XDG_STATE_HOME", state)
        .env_remove("MAKEFLAGS")
        .env_remove("CATALYST_LAB")
        .output()
        .expect("make");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_demo_that_was_built_elsewhere_is_taken_down_and_no_demo_is_said_to_be_none() {
    let state = TempDir::new().expect("a folder");
    let said = demo_down(state.path());
    assert!(said.contains("nothing to remove") && !said.contains("lab down"), "{said}");
    std::fs::create_dir_all(state.path().join("catalyst-lab/demo")).expect("a lab");
    let said = demo_down(state.path());
    assert!(said.contains("lab down") && !said.contains("nothing to remove"), "{said}");
}
