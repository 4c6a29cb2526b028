//! The application Secret and the SSH key: generated, given, or of no use.

use super::*;
use crate::validated::{AppSecretState, KeyState, MissingSecret};

#[test]
fn without_secrets_both_are_to_be_generated() {
    let valid = valid(least(), &Fetched::default());
    assert_eq!(valid.missing_secrets(), [MissingSecret::App, MissingSecret::SshKey]);
    assert_eq!(valid.app_secret.secret, "catalyst-secrets");
    assert_eq!(valid.ssh.key.secret, "catalyst-ssh-key");
}

#[test]
fn secrets_that_are_ours_are_used_and_the_public_key_is_told() {
    let valid = valid(least(), &complete());
    assert_eq!(valid.missing_secrets(), []);
    let KeyState::Present { public_line } = valid.ssh.key.state else { panic!("no key") };
    assert!(
        public_line.starts_with("ssh-ed25519 ") && public_line.ends_with(" catalyst-team-catalyst"),
        "{public_line}"
    );
}

#[test]
fn a_named_secret_that_is_missing_is_told_with_the_command_that_makes_it() {
    let (reason, field, message) =
        stopped(with("secrets.useExisting", json!(true)), &Fetched { app_secret: Referenced::Missing, ..complete() });
    assert_eq!((reason, field.as_deref()), (Reason::SecretMissing, Some("secrets")));
    assert!(message.contains("kubectl create secret generic catalyst-secrets -n team"), "{message}");

    let (reason, _, message) =
        stopped(with("ssh.existingKeySecret", json!("mine")), &Fetched { ssh_key: Referenced::Missing, ..complete() });
    assert_eq!(reason, Reason::SecretMissing);
    assert!(message.contains("kubectl create secret generic mine -n team --from-file=id_ed25519="), "{message}");
}

#[test]
fn a_secret_of_somebody_else_is_never_seized() {
    let foreign = Ownership::Foreign(None);
    let Referenced::Found { value, .. } = app_secret("0123456789abcdef", "fedcba9876543210") else { unreachable!() };
    let fetched = Fetched { app_secret: Referenced::Found { owner: foreign.clone(), value }, ..complete() };
    let (reason, _, message) = stopped(least(), &fetched);
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("secrets.useExisting: true"), "{message}");
    // The same Secret is read once the spec says so.
    assert!(valid(with("secrets.useExisting", json!(true)), &fetched).missing_secrets().is_empty());

    let fetched = Fetched { ssh_key: ssh_key(foreign, "id_ed25519", "x"), ..complete() };
    let (reason, _, message) = stopped(least(), &fetched);
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("ssh.existingKeySecret: catalyst-ssh-key"), "{message}");
}

#[test]
fn unsafe_application_secrets_are_refused_without_being_shown() {
    for (catalyst, cookie, problem) in [
        ("CHANGE_ME", "fedcba9876543210", "CATALYST_SECRET still has the placeholder"),
        ("0123456789abcdef", "change_me-0123456789", "COOKIE_SECRET still has the placeholder"),
        ("0123456789abcdef", "hunter2             \n", "COOKIE_SECRET is shorter than 16"),
        ("ääääääää", "fedcba9876543210", "CATALYST_SECRET is shorter than 16"),
        (" \n", "fedcba9876543210", "CATALYST_SECRET is missing"),
        ("01234567\089abcdef", "fedcba9876543210", "CATALYST_SECRET contains a zero byte"),
        ("0123456789abcdef", "hunter2", "COOKIE_SECRET is shorter than 16"),
        ("", "fedcba9876543210", "CATALYST_SECRET is missing"),
    ] {
        let (reason, _, message) =
            stopped(least(), &Fetched { app_secret: app_secret(catalyst, cookie), ..complete() });
        assert_eq!(reason, Reason::SecretInvalid);
        assert!(message.contains(problem), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_application_secret_that_is_no_text_is_refused_and_one_in_any_script_is_taken() {
    let Referenced::Found { owner, mut value } = app_secret("ä".repeat(16).as_str(), "fedcba9876543210\n") else {
        unreachable!()
    };
    let with = |value: &AppSecret| Fetched {
        app_secret: Referenced::Found { owner: owner.clone(), value: value.clone() },
        ..complete()
    };
    valid(least(), &with(&value));
    value.cookie_secret = Some(SecretText::new([0xff_u8; 32]));
    let (reason, _, message) = stopped(least(), &with(&value));
    assert_eq!(reason, Reason::SecretInvalid);
    assert!(message.contains("COOKIE_SECRET is no UTF-8 text"), "{message}");
}

#[test]
fn the_checksum_follows_each_secret_and_shows_none() {
    let checksum = |catalyst: &str, cookie: &str| {
        let fetched = Fetched { app_secret: app_secret(catalyst, cookie), ..complete() };
        match valid(least(), &fetched).app_secret.state {
            AppSecretState::Present { checksum } => checksum,
            AppSecretState::ToGenerate => panic!("no secret"),
        }
    };
    let first = checksum("0123456789abcdef", "fedcba9876543210");
    assert_eq!(first, checksum("0123456789abcdef", "fedcba9876543210"));
    assert_ne!(first, checksum("0123456789abcdeX", "fedcba9876543210"));
    assert_ne!(first, checksum("0123456789abcdef", "fedcba987654321X"));
    // A boundary that moves between the two is a change, too.
    assert_ne!(checksum("0123456789abcdefg", "hfedcba9876543210"), checksum("0123456789abcdef", "ghfedcba9876543210"));
    assert_eq!(first.len(), 64);
}

#[test]
fn a_key_that_cannot_be_used_is_refused_with_the_remedy() {
    let (reason, _, message) = stopped(
        with("ssh.existingKeySecret", json!("mine")),
        &Fetched { ssh_key: ssh_key(Ownership::Foreign(None), "id_ed25519", PUBLIC_KEY), ..complete() },
    );
    assert_eq!(reason, Reason::SSHKeyInvalid);
    assert!(message.contains("Secret mine, entry id_ed25519") && message.contains("public half"), "{message}");
}

#[test]
fn a_key_under_another_entry_is_told_by_the_names_that_are_there() {
    let fetched = Fetched { ssh_key: ssh_key(Ownership::Foreign(None), "id_rsa", "x"), ..complete() };
    let (reason, _, message) = stopped(with("ssh.existingKeySecret", json!("mine")), &fetched);
    assert_eq!(reason, Reason::SSHKeyInvalid);
    assert!(message.contains("no entry id_ed25519 (it has id_rsa)"), "{message}");
}

#[test]
fn a_key_with_the_line_ends_of_windows_is_refused_with_the_command_that_mends_it() {
    let key = catalyst_ssh::generate_ed25519("test").unwrap().private_openssh.replace('\n', "\r\n");
    let fetched = Fetched { ssh_key: ssh_key(Ownership::Foreign(None), "id_ed25519", &key), ..complete() };
    let (reason, _, message) = stopped(with("ssh.existingKeySecret", json!("mine")), &fetched);
    assert_eq!(reason, Reason::SSHKeyInvalid);
    assert!(message.contains("line ends of Windows") && message.contains(r"tr -d '\r' < FILE"), "{message}");
    assert!(message.contains("kubectl create secret generic mine -n team --from-file=id_ed25519=KEY"), "{message}");
}
