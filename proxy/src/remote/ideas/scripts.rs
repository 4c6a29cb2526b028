//! The scripts of ideas under every shell and tool set that a VM may have.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bytes::Bytes;

use super::CLEAR;
use super::listing::Listing;
use crate::remote::command::after_marker;

const LIST: &str = include_str!("../vm/list.sh");
const REPLACE: &str = include_str!("../vm/replace.sh");
const READ: &str = include_str!("../vm/read.sh");

/// Runs a script as the VM would: `sh` is the shell, and with busybox every other program is busybox's too.
fn run(shell: &str, script: &str, args: &[&str], input: &[u8]) -> Output {
    let bin = tempfile::tempdir().unwrap();
    let mut command = match shell {
        "busybox" => {
            let busybox =
                ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
            let applets = Command::new(busybox).arg("--list").output().unwrap().stdout;
            for applet in String::from_utf8(applets).unwrap().lines() {
                std::os::unix::fs::symlink(busybox, bin.path().join(applet)).unwrap();
            }
            let mut command = Command::new(bin.path().join("sh"));
            command.env("PATH", bin.path());
            command
        }
        shell => Command::new(shell),
    };
    command.arg("-c").arg(format!("echo --catalyst-output-begins--\n{script}")).arg("catalyst").args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stdout = after_marker(&output.stdout).unwrap().to_vec();
    output
}

const SHELLS: [&str; 3] = ["dash", "bash", "busybox"];

#[test]
fn every_shell_lists_what_is_there_and_passes_over_links() {
    let base = tempfile::tempdir().unwrap();
    let meta = |id: &str| format!(r#"{{"id":"{id}","title":"T","status":"done","createdAt":"","updatedAt":"{id}"}}"#);
    for (slug, text) in
        [("a", meta("1")), ("b-2", meta("2") + "\n"), ("bad", "{".to_owned()), ("not a slug", meta("3"))]
    {
        std::fs::create_dir(base.path().join(slug)).unwrap();
        std::fs::write(base.path().join(slug).join("meta.json"), text).unwrap();
    }
    std::fs::create_dir_all(base.path().join("dir/meta.json")).unwrap();
    std::fs::create_dir(base.path().join("none")).unwrap();
    std::os::unix::fs::symlink(base.path().join("a"), base.path().join("link")).unwrap();
    for shell in SHELLS {
        let output = run(shell, LIST, &[base.path().to_str().unwrap()], b"n1 \nn2 .trash\n").stdout;
        let text = String::from_utf8(output).unwrap();
        let (first, second) = text.split_once("\n--n1-").unwrap_or_else(|| panic!("{shell}: {text}"));
        let listing = Listing::read(Bytes::from(first.to_owned()));
        let slugs: Vec<&str> = listing.ideas.iter().map(|idea| idea.slug.as_str()).collect();
        let damaged: Vec<&str> = listing.damaged.iter().map(|damaged| damaged.slug.as_str()).collect();
        assert_eq!((slugs, damaged), (vec!["b-2", "a"], vec!["bad", "dir"]), "{shell}: {text}");
        assert!(second.starts_with("0--\n") || second.starts_with("1--\n"), "{shell}: {second}");
        assert!(second.ends_with("\n--n2-3--\n"), "{shell}: {second}");
    }
}

#[test]
fn every_shell_replaces_only_what_is_still_as_it_was_read() {
    for shell in SHELLS {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("meta.json"), "old").unwrap();
        let old = "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4";
        let at = folder.path().to_str().unwrap();
        let replace = |args: &[&str], input: &[u8]| run(shell, REPLACE, &[&[at], args].concat(), input).status.code();
        assert_eq!(replace(&[old, "none", "3", "4"], b"newtext"), Some(0), "{shell}");
        let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
        assert_eq!((read("meta.json"), read("idea.md")), ("new".to_owned(), "text".to_owned()), "{shell}");
        assert_eq!(replace(&[old, "any", "1", "keep"], b"x"), Some(7), "{shell}");
        assert_eq!(replace(&["any", "none", "1", "keep"], b"x"), Some(7), "{shell}");
        assert_eq!(replace(&["any", "any", "10", "keep"], b"cut off"), Some(1), "{shell}");
        assert_eq!((read("meta.json"), file(".edit").exists()), ("new".to_owned(), false), "{shell}");
    }
}

#[test]
fn every_shell_reads_a_piece_of_a_file_and_follows_no_link() {
    let project = tempfile::tempdir().unwrap();
    std::fs::create_dir(project.path().join("a b")).unwrap();
    std::fs::write(project.path().join("a b/-f'"), b"0123\xff\x00456789").unwrap();
    std::os::unix::fs::symlink(project.path().join("a b"), project.path().join("link")).unwrap();
    let at = project.path().to_str().unwrap();
    for shell in SHELLS {
        let output = run(shell, READ, &[at, "3", "4"], b"a b/-f'\n");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"3\xff\x004"[..]), "{shell}");
        for path in ["link/-f'\n", "link\n", "a b\n", "none\n"] {
            assert_eq!(run(shell, READ, &[at, "0", "4"], path.as_bytes()).status.code(), Some(3), "{shell} {path}");
        }
    }
}

#[test]
fn every_shell_clears_away_what_was_made_of_an_idea_wholly_or_not_at_all() {
    for shell in SHELLS {
        let base = tempfile::tempdir().unwrap();
        let (made, named) = (base.path().join(".new-1"), base.path().join("named"));
        let paths = [made.to_str().unwrap(), base.path().to_str().unwrap()];
        std::fs::create_dir_all(made.join("project")).unwrap();
        // Whoever still names it at that moment comes too late: nothing has the name that he knows.
        let watched = format!("rm() {{ [ ! -e '{}' ] && command rm \"$@\"; }}\n{CLEAR}", paths[0]);
        run(shell, &watched, &paths, b"");
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0, "{shell}");
        // It was named before.
        std::fs::create_dir_all(named.join("project")).unwrap();
        run(shell, CLEAR, &paths, b"");
        assert!(named.join("project").exists(), "{shell}");
    }
}
