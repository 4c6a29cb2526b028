//! Files as ssh, ssh-keyscan and ssh-keygen -H write them.

use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::{generate_ed25519, parse_private_key};

fn key() -> PublicKey {
    let generated = generate_ed25519("").unwrap();
    parse_private_key(generated.private_openssh.as_bytes()).unwrap().public_key().clone()
}

fn known(text: &str) -> KnownHosts {
    KnownHosts::parse(text).unwrap()
}

#[test]
fn a_recorded_host_is_known_and_another_is_not() {
    let (ours, other) = (key(), key());
    let hosts = known(&format!("# a comment\n\n{} me@here\n", known_hosts_line("VM.example", 22, &ours)));
    assert_eq!(hosts.verdict("vm.example", 22, &ours), Verdict::Known);
    assert_eq!(hosts.verdict("Vm.Example", 22, &ours), Verdict::Known);
    assert_eq!(hosts.verdict("other.example", 22, &ours), Verdict::Unknown);
    let recorded = vec![fingerprint(&ours)];
    assert_eq!(hosts.verdict("vm.example", 22, &other), Verdict::Changed { recorded });
    assert!(!hosts.is_empty() && KnownHosts::empty().is_empty() && known("# nothing\n").is_empty());
}

#[test]
fn one_of_several_keys_of_a_host_suffices() {
    let (first, second) = (key(), key());
    let hosts =
        known(&format!("{}\r\n{}\r\n", known_hosts_line("vm", 22, &first), known_hosts_line("vm", 22, &second)));
    assert_eq!(hosts.verdict("vm", 22, &second), Verdict::Known);
    let recorded = vec![fingerprint(&first), fingerprint(&second)];
    assert_eq!(hosts.verdict("vm", 22, &key()), Verdict::Changed { recorded });
}

#[test]
fn another_port_is_another_entry_but_a_bare_name_counts_for_any_port() {
    let (ours, other) = (key(), key());
    let line = known_hosts_line("vm", 2222, &ours);
    assert!(line.starts_with("[vm]:2222 ssh-ed25519 "), "{line}");
    let hosts = known(&line);
    assert_eq!(hosts.verdict("vm", 2222, &ours), Verdict::Known);
    assert_eq!(hosts.verdict("vm", 22, &ours), Verdict::Unknown);
    let bare = known(&known_hosts_line("vm", 22, &ours));
    assert_eq!(bare.verdict("vm", 2222, &ours), Verdict::Known);
    assert_eq!(bare.verdict("vm", 2222, &other), Verdict::Unknown);
    assert_eq!(known(&line.replace("2222", "22")).verdict("vm", 22, &ours), Verdict::Known);
}

#[test]
fn a_revoked_key_is_revoked_even_if_it_is_recorded_too() {
    let ours = key();
    let line = known_hosts_line("vm", 22, &ours);
    assert_eq!(known(&format!("{line}\n@revoked {line}\n")).verdict("vm", 22, &ours), Verdict::Revoked);
    let everywhere = line.replacen("vm", "@revoked *", 1);
    assert_eq!(known(&everywhere).verdict("vm", 2222, &ours), Verdict::Revoked);
    assert_eq!(known(&everywhere).verdict("vm", 22, &key()), Verdict::Unknown);
}

#[test]
fn an_authority_says_nothing_about_plain_keys() {
    let ours = key();
    let line = format!("@cert-authority {}", known_hosts_line("*", 22, &ours));
    assert_eq!(known(&line).verdict("vm", 22, &ours), Verdict::Unknown);
}

#[test]
fn wildcards_and_negation_are_those_of_openssh() {
    let ours = key();
    let line = known_hosts_line("hosts", 22, &ours).replacen("hosts", "*.example,!bad.example,10.0.0.?", 1);
    let hosts = known(&line);
    for (host, verdict) in [
        ("a.example", Verdict::Known),
        ("a.b.example", Verdict::Known),
        ("bad.example", Verdict::Unknown),
        ("example", Verdict::Unknown),
        ("10.0.0.7", Verdict::Known),
        ("10.0.0.77", Verdict::Unknown),
    ] {
        assert_eq!(hosts.verdict(host, 22, &ours), verdict, "{host}");
    }
}

#[test]
fn a_file_hashed_by_ssh_keygen_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("known_hosts");
    let (ours, other) = (key(), key());
    let lines = [known_hosts_line("vm.example", 22, &ours), known_hosts_line("vm.example", 2222, &other)];
    std::fs::write(&path, format!("{}\n{}\n", lines[0], lines[1])).unwrap();
    let hashed = Command::new("ssh-keygen").arg("-H").arg("-f").arg(&path).output().unwrap();
    assert!(hashed.status.success(), "{hashed:?}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("vm.example"), "{text}");
    let hosts = known(&text);
    assert_eq!(hosts.verdict("vm.example", 22, &ours), Verdict::Known);
    assert_eq!(hosts.verdict("vm.example", 2222, &other), Verdict::Known);
    assert_eq!(hosts.verdict("vn.example", 22, &ours), Verdict::Unknown);
    assert!(matches!(hosts.verdict("vm.example", 22, &other), Verdict::Changed { .. }));
}

#[test]
fn addresses_are_names_too() {
    let ours = key();
    for host in ["10.0.0.7", "fd00::7"] {
        for port in [22, 2222] {
            let hosts = known(&known_hosts_line(host, port, &ours));
            assert_eq!(hosts.verdict(host, port, &ours), Verdict::Known, "{host} {port}");
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_by_line_and_never_skipped() {
    let ours = known_hosts_line("vm", 22, &key());
    let encoded = ours.rsplit(' ').next().unwrap();
    for (line, problem) in [
        ("vm", "incomplete"),
        ("vm ssh-ed25519", "incomplete"),
        ("vm ssh-ed25519 AAAA", "cut off"),
        (&ours[..ours.len() - 8], "cut off"),
        (&format!("ssh-ed25519 {encoded}"), "no host name"),
        ("@trusted vm ssh-ed25519 AAAA", "marker"),
        ("vm 1024 65537 1234", "protocol 1"),
        (&ours.replacen("vm", "|1|x", 1), "hashed"),
        (&ours.replacen("vm", "|2|x|y", 1), "hashed"),
        (&ours.replacen("vm", "a,!", 1), "empty"),
    ] {
        let error = KnownHosts::parse(&format!("# first\n{ours}\n{line}\n")).unwrap_err();
        assert_eq!(error.line, 3, "{line}");
        assert!(error.problem.contains(problem), "{line}: {error}");
        assert!(error.to_string().starts_with("line 3: "), "{error}");
    }
}

#[test]
fn keys_of_kinds_that_we_do_not_use_are_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rsa");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    assert_eq!(known(&format!("vm {public}")).verdict("other", 22, &key()), Verdict::Unknown);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "[ -~\n|@!*,\\[\\]]{0,200}") {
        let _ = KnownHosts::parse(&text).map(|hosts| hosts.is_empty());
    }

    #[test]
    fn what_we_write_we_read(host in "[a-z0-9][a-z0-9.-]{0,40}", port in 1u16..) {
        let ours = key();
        prop_assert_eq!(known(&known_hosts_line(&host, port, &ours)).verdict(&host, port, &ours), Verdict::Known);
    }
}
