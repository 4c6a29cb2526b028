//! The command line as scripts use it.

use std::io::Read;
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_catalyst-lab");

/// `catalyst-lab status | head -1`: the pipe's end may be gone before anything is written.
#[test]
fn a_reader_that_has_gone_ends_it_quietly_and_with_its_own_exit_code() {
    for (arguments, code) in [(["--name", "t-none", "url"], 0), (["--name", "t-none", "status"], 1)] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut lab = Command::new(PROGRAM);
        let mut lab = lab.args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("catalyst-lab");
        let mut said = String::new();
        lab.stderr.take().expect("its errors").read_to_string(&mut said).expect("UTF-8");
        assert_eq!(lab.wait().expect("its end").code(), Some(code), "{arguments:?}");
        assert_eq!(said, "", "{arguments:?}");
    }
}
