//! The manifests in `examples/`, as if they had come from an API server into a cluster that has all they refer to.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::path::{Path, PathBuf};

use catalyst_operator::crd::CatalystInstance;
use catalyst_operator::observed::{AppSecret, Fetched, Ownership, Referenced, SecretText, SshKeySecret};
use catalyst_operator::validate::{Defaults, validate};
use catalyst_operator::validated::ValidatedInstance;

/// Every manifest, by name.
pub fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

/// One of them, as if it came from an API server, in namespace `team`.
pub fn example(path: &Path) -> CatalystInstance {
    let mut instance: CatalystInstance = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    instance.metadata.namespace = Some("team".to_owned());
    instance.metadata.uid = Some("00000000-0000-4000-8000-000000000001".to_owned());
    instance
}

/// All that it refers to is there: Secrets of the user where it names some, generated ones elsewhere.
fn cluster_of(instance: &CatalystInstance) -> Fetched {
    let owner = |given: bool| if given { Ownership::Foreign(None) } else { Ownership::Ours };
    let key = catalyst_ssh::generate_ed25519("test").unwrap();
    let own_secrets = instance
        .spec
        .secrets
        .as_ref()
        .is_some_and(|secrets| secrets.use_existing == Some(true) || secrets.existing_secret.is_some());
    Fetched {
        app_secret: Referenced::Found {
            owner: owner(own_secrets),
            value: AppSecret {
                catalyst_secret: Some(SecretText::new("0123456789abcdef")),
                cookie_secret: Some(SecretText::new("fedcba9876543210")),
                ..AppSecret::default()
            },
        },
        ssh_key: Referenced::Found {
            owner: owner(instance.spec.ssh.existing_key_secret.is_some()),
            value: SshKeySecret {
                entries: [("id_ed25519".to_owned(), SecretText::new(key.private_openssh))].into(),
                ..SshKeySecret::default()
            },
        },
        ..Fetched::default()
    }
}

/// One of them, valid.
pub fn validated(path: &Path) -> ValidatedInstance {
    let instance = example(path);
    let defaults = Defaults { proxy_image: "catalyst-proxy:0.0.0".to_owned() };
    validate(&instance, &cluster_of(&instance), &defaults)
        .unwrap_or_else(|findings| panic!("{}: {findings:?}", path.display()))
}
