//! The command line as scripts use it.

use std::io::Read;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_catalyst-lab");

/// `catalyst-lab status | head -1`: the pipe's end may be gone before anything is written.
#[test]
fn a_reader_that_has_gone_ends_it_quietly_and_with_its_own_exit_code() {
    let state = tempfile::tempdir().expect("a folder");
    let folder = state.path().join("catalyst-lab/t-there");
    std::fs::create_dir_all(&folder).expect("the folder of a lab");
    std::fs::write(folder.join("lab.json"), r#"{"number": 1, "ingressPort": 8080}"#).expect("what it was given");
    for (arguments, code) in [(["--name", "t-there", "url"], 0), (["--name", "t-there", "status"], 1)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut lab = Command::new(PROGRAM);
        let lab = lab.env("XDG_STATE_HOME", state.path());
        let mut lab = lab.args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("catalyst-lab");
        let mut said = String::new();
        lab.stderr.take().expect("its errors").read_to_string(&mut said).expect("UTF-8");
        assert_eq!(lab.wait().expect("its end").code(), Some(code), "{arguments:?}");
        assert_eq!(said, "", "{arguments:?}");
    }
}

#[test]
fn of_a_lab_that_is_not_there_no_address_and_no_path_is_told() {
    let state = tempfile::tempdir().expect("a folder");
    for what in ["url", "kubeconfig"] {
        let mut lab = Command::new(PROGRAM);
        let answer = lab.env("XDG_STATE_HOME", state.path()).args(["--name", "t-none", what]).output().expect("run it");
        assert_eq!((answer.status.code(), answer.stdout.len()), (Some(1), 0), "{what}");
        let said = String::from_utf8_lossy(&answer.stderr);
        assert!(said.contains("there is no lab t-none; `catalyst-lab list` shows which there are"), "{said}");
    }
}
