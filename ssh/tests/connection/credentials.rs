//! Every kind of key and certificate that a person may have, shown to a real sshd.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use catalyst_ssh::testing::{TestSshd, TestSshdOptions};
use catalyst_ssh::{Connector, KeyProblem, Reason, parse_certificate, parse_private_key};

struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    fn new() -> Keys {
        Keys { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make(&self, name: &str, kind: &[&str]) -> PathBuf {
        keygen(&[&["-q", "-N", "", "-f", self.path(name).to_str().unwrap()], kind].concat());
        self.path(name)
    }
}

fn keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn public(key: &Path) -> String {
    std::fs::read_to_string(key.with_extension("pub")).unwrap()
}

fn with_key(sshd: &TestSshd, key: &Path) -> Connector {
    let key = parse_private_key(&std::fs::read(key).unwrap()).unwrap();
    Connector { key: Arc::new(key), ..sshd.connector() }
}

#[tokio::test]
async fn keys_of_every_kind_and_form_sign_in() {
    let sshd = TestSshd::start(TestSshdOptions::default()).await;
    let keys = Keys::new();
    let kinds: [(&str, &[&str]); 7] = [
        ("ed25519", &["-t", "ed25519"]),
        ("ecdsa-256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa-384", &["-t", "ecdsa", "-b", "384", "-m", "PKCS8"]),
        ("ecdsa-521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa-2048", &["-t", "rsa", "-b", "2048"]),
        ("rsa-3072-pem", &["-t", "rsa", "-b", "3072", "-m", "PEM"]),
        ("rsa-2048-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
    ];
    for (name, kind) in kinds {
        let key = keys.make(name, kind);
        let rejected = with_key(&sshd, &key).connect().await.unwrap_err();
        assert_eq!(rejected.reason, Reason::AuthRejected, "{name}: not authorised yet");
        std::fs::write(sshd.authorized_keys_path(), public(&key)).unwrap();
        let connection = with_key(&sshd, &key).connect().await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let finished = connection.exec("echo in").await.unwrap().finish(100).await.unwrap();
        assert_eq!(finished.stdout, b"in\n", "{name}");
    }
    assert!(!sshd.log().contains("ssh-rsa "), "SHA-1 is never used");
}

#[tokio::test]
async fn a_certificate_signs_in_where_only_its_authority_is_known() {
    let keys = Keys::new();
    let authority = keys.make("authority", &["-t", "ed25519"]);
    let trusted = format!("TrustedUserCAKeys {}", authority.with_extension("pub").display());
    let sshd = TestSshd::start(TestSshdOptions { config: vec![trusted], ..TestSshdOptions::default() }).await;
    std::fs::write(sshd.authorized_keys_path(), "").unwrap();
    let user = sshd.endpoint().user;
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let path = keys.make(kind, &["-t", kind]);
        let sign = |principal: &str| {
            let public = path.with_extension("pub");
            let words =
                ["-q", "-s", authority.to_str().unwrap(), "-I", "test", "-n", principal, public.to_str().unwrap()];
            keygen(&words);
            let shown = std::fs::read(keys.path(&format!("{kind}-cert.pub"))).unwrap();
            let key = parse_private_key(&std::fs::read(&path).unwrap()).unwrap();
            Connector { certificate: Some(parse_certificate(&shown, &key).unwrap()), ..with_key(&sshd, &path) }
        };
        sign(&user).connect().await.unwrap_or_else(|failure| panic!("{kind}: {failure}"));
        assert_eq!(with_key(&sshd, &path).connect().await.unwrap_err().reason, Reason::AuthRejected, "{kind} alone");
        let other = sign("somebody-else");
        let failure = other.connect().await.unwrap_err();
        assert_eq!(failure.reason, Reason::AuthRejected);
        assert!(failure.message.contains("certificate"), "{failure}");
        // A certificate that does not count is no harm where the key itself is authorised.
        std::fs::write(sshd.authorized_keys_path(), public(&path)).unwrap();
        other.connect().await.unwrap_or_else(|failure| panic!("{kind} with a certificate of others: {failure}"));
        std::fs::write(sshd.authorized_keys_path(), "").unwrap();
    }
}

#[test]
fn what_is_no_certificate_of_the_key_is_named() {
    let keys = Keys::new();
    let (one, other) = (keys.make("one", &["-t", "ed25519"]), keys.make("other", &["-t", "ed25519"]));
    let (subject, authority) = (one.with_extension("pub"), other.to_str().unwrap());
    let key = |path: &Path| parse_private_key(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(parse_certificate(public(&one).as_bytes(), &key(&one)).unwrap_err(), KeyProblem::NotACertificate);
    let shown = || std::fs::read(keys.path("one-cert.pub")).unwrap();
    keygen(&["-q", "-s", authority, "-I", "test", "-h", subject.to_str().unwrap()]);
    assert_eq!(parse_certificate(&shown(), &key(&one)).unwrap_err(), KeyProblem::NotACertificate, "a host's");
    keygen(&["-q", "-s", authority, "-I", "test", subject.to_str().unwrap()]);
    assert!(parse_certificate(&shown(), &key(&one)).is_ok());
    assert_eq!(parse_certificate(&shown(), &key(&other)).unwrap_err(), KeyProblem::OtherCertificate);
}
