//! Keys as ssh-keygen writes them, and what users put in their place.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Runs ssh-keygen with these options; gives the private and the public file.
fn keygen(options: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let dir = TempDir::new().unwrap();
    let path: PathBuf = dir.path().join("key");
    let made = Command::new("ssh-keygen").arg("-q").args(options).arg("-f").arg(&path).output().unwrap();
    assert!(made.status.success(), "ssh-keygen {options:?}: {made:?}");
    (std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("pub")).unwrap())
}

fn parsed_as(options: &[&str]) -> Result<String, KeyProblem> {
    let (private, public) = keygen(options);
    let key = parse_private_key(&private)?;
    let public = String::from_utf8(public).unwrap();
    assert!(public.starts_with(&public_line(&key, "")), "{options:?}");
    Ok(key.algorithm().to_string())
}

#[test]
fn every_form_that_ssh_keygen_writes_is_read() {
    assert_eq!(parsed_as(&["-t", "ed25519", "-N", ""]).unwrap(), "ssh-ed25519");
    for form in ["RFC4716", "PKCS8", "PEM"] {
        assert_eq!(parsed_as(&["-t", "ed25519", "-N", "", "-m", form]).unwrap(), "ssh-ed25519", "{form}");
        for bits in ["256", "384", "521"] {
            let algorithm = parsed_as(&["-t", "ecdsa", "-b", bits, "-N", "", "-m", form]).unwrap();
            assert_eq!(algorithm, format!("ecdsa-sha2-nistp{bits}"), "{form}");
        }
    }
}

#[test]
fn an_ed25519_key_as_openssl_writes_it_is_read() {
    let made = Command::new("openssl").args(["genpkey", "-algorithm", "ed25519"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    assert_eq!(parse_private_key(&made.stdout).unwrap().algorithm(), Algorithm::Ed25519);
}

#[test]
fn passphrases_are_named_in_every_form() {
    for form in ["RFC4716", "PKCS8", "PEM"] {
        for kind in ["ed25519", "ecdsa", "rsa"] {
            let parsed = parsed_as(&["-t", kind, "-N", "secret", "-m", form]);
            assert_eq!(parsed, Err(KeyProblem::Encrypted), "{kind} {form}");
        }
    }
}

#[test]
fn rsa_is_read_in_every_form_and_refused_when_it_is_short() {
    for form in ["RFC4716", "PKCS8", "PEM"] {
        assert_eq!(parsed_as(&["-t", "rsa", "-b", "2048", "-N", "", "-m", form]).unwrap(), "ssh-rsa", "{form}");
        let short = parsed_as(&["-t", "rsa", "-b", "1024", "-N", "", "-m", form]);
        assert_eq!(short, Err(KeyProblem::Unsupported("RSA (of less than 2048 bits)".to_owned())), "{form}");
    }
}

#[test]
fn the_public_half_is_told_from_the_private() {
    let (_, public) = keygen(&["-t", "ed25519", "-N", ""]);
    assert_eq!(parse_private_key(&public), Err(KeyProblem::PublicKey));
    assert_eq!(
        parse_private_key(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
        Err(KeyProblem::PublicKey)
    );
    assert_eq!(parse_private_key(b"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n"), Err(KeyProblem::PublicKey));
}

#[test]
fn what_editors_and_clipboards_do_to_a_file_does_no_harm() {
    let (private, _) = keygen(&["-t", "ed25519", "-N", ""]);
    let text = String::from_utf8(private).unwrap();
    let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
    for variant in [
        text.replace('\n', "\r\n"),
        text.replace('\n', "\r"),
        text.trim_end().to_owned(),
        format!("\n\n  {text}\n\n"),
        format!("\u{feff}{text}"),
        indented,
    ] {
        assert!(parse_private_key(variant.as_bytes()).is_ok(), "{variant:?}");
    }
}

#[test]
fn what_is_no_key_is_named() {
    let (private, _) = keygen(&["-t", "ed25519", "-N", ""]);
    let text = String::from_utf8(private.clone()).unwrap();
    let cut = text.len() / 2;
    let without_middle: String =
        text.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| format!("{line}\n")).collect();
    for (input, problem) in [
        ("", KeyProblem::Empty),
        (" \r\n ", KeyProblem::Empty),
        (&text[..cut], KeyProblem::Truncated),
        (&text[cut..], KeyProblem::NotAKey),
        (&without_middle, KeyProblem::Damaged),
        ("CHANGE_ME", KeyProblem::NotAKey),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", KeyProblem::Putty),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", KeyProblem::NotAKey),
        (&STANDARD.encode(&private), KeyProblem::EncodedTwice),
    ] {
        assert_eq!(parse_private_key(input.as_bytes()), Err(problem), "{input}");
    }
    assert_eq!(parse_private_key(&[0xff, 0xfe, 0x00]), Err(KeyProblem::NotAKey));
}

#[test]
fn every_problem_says_what_to_do() {
    for problem in [
        KeyProblem::Empty,
        KeyProblem::PublicKey,
        KeyProblem::Encrypted,
        KeyProblem::Truncated,
        KeyProblem::Putty,
        KeyProblem::EncodedTwice,
        KeyProblem::Unsupported("RSA".to_owned()),
        KeyProblem::Damaged,
        KeyProblem::NotAKey,
        KeyProblem::NotACertificate,
        KeyProblem::OtherCertificate,
        KeyProblem::NoRandomness,
    ] {
        let text = problem.to_string();
        assert!(text.contains(';') && text.ends_with('.'), "{text}");
    }
}

#[test]
fn a_generated_key_is_what_ssh_keygen_takes_it_for() {
    let generated = generate_ed25519("catalyst\nssh-ed25519 AAAA").unwrap();
    assert_eq!(generated.public_openssh.lines().count(), 1, "a comment adds no line");
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, &generated.private_openssh).unwrap();
    assert!(Command::new("chmod").arg("600").arg(&path).status().unwrap().success());
    let shown = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&path).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(generated.public_openssh.starts_with(shown.split(" catalyst").next().unwrap().trim()), "{shown}");
    assert!(!format!("{generated:?}").contains("PRIVATE"));
    assert_ne!(generate_ed25519("").unwrap().public_openssh, generated.public_openssh);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_private_key(&bytes);
    }

    #[test]
    fn any_body_between_the_lines_is_read_or_refused_without_panic(body in "[A-Za-z0-9+/=\n]{0,400}") {
        for label in ["OPENSSH PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            prop_assert!(parse_private_key(text.as_bytes()).is_err());
        }
    }
}
