//! What is deployed for each example, in full. A change here is a change in people's clusters: read it as one.

use std::path::{Path, PathBuf};

use catalyst_operator::build::{Desired, build};
use catalyst_operator::crd::CatalystInstance;
use catalyst_operator::observed::{AppSecret, Fetched, Ownership, Referenced, SecretText, SshKeySecret};
use catalyst_operator::validate::{Defaults, validate};
use catalyst_operator::validated::ValidatedInstance;

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

/// As if it came from an API server, in namespace `team`.
fn example(path: &Path) -> CatalystInstance {
    let mut instance: CatalystInstance = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    instance.metadata.namespace = Some("team".to_owned());
    instance.metadata.uid = Some("00000000-0000-4000-8000-000000000001".to_owned());
    instance
}

/// All that it refers to is there: Secrets of the user where it names some, generated ones elsewhere.
fn cluster_of(instance: &CatalystInstance) -> Fetched {
    let owner = |given: bool| if given { Ownership::Foreign(None) } else { Ownership::Ours };
    let key = catalyst_ssh::generate_ed25519("test").unwrap();
    let own_secrets = instance.spec.secrets.as_ref().is_some_and(|secrets| secrets.use_existing == Some(true));
    Fetched {
        app_secret: Referenced::Found {
            owner: owner(own_secrets),
            value: AppSecret {
                catalyst_secret: Some(SecretText::new("0123456789abcdef")),
                cookie_secret: Some(SecretText::new("fedcba9876543210")),
            },
        },
        ssh_key: Referenced::Found {
            owner: owner(instance.spec.ssh.existing_key_secret.is_some()),
            value: SshKeySecret { entries: [("id_ed25519".to_owned(), SecretText::new(key.private_openssh))].into() },
        },
        ..Fetched::default()
    }
}

fn validated(path: &Path) -> ValidatedInstance {
    let instance = example(path);
    let defaults = Defaults { proxy_image: "catalyst-proxy:0.0.0".to_owned() };
    validate(&instance, &cluster_of(&instance), &defaults)
        .unwrap_or_else(|findings| panic!("{}: {findings:?}", path.display()))
}

fn manifests(desired: Desired) -> String {
    let Desired { deployment, service, ingress, config, known_hosts, network_policy } = desired;
    let documents = [
        Some(serde_yaml::to_string(&config).unwrap()),
        Some(serde_yaml::to_string(&known_hosts).unwrap()),
        Some(serde_yaml::to_string(&deployment).unwrap()),
        Some(serde_yaml::to_string(&service).unwrap()),
        ingress.map(|ingress| serde_yaml::to_string(&ingress).unwrap()),
        network_policy.map(|policy| serde_yaml::to_string(&policy).unwrap()),
    ];
    documents.into_iter().flatten().collect::<Vec<_>>().join("---\n")
}

#[test]
fn each_example_becomes_these_objects() {
    let examples = examples();
    assert!(examples.len() >= 5, "only {examples:?}");
    for path in examples {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(name, manifests(build(&validated(&path))));
    }
}

#[test]
fn each_example_passes_the_rules_and_only_the_expected_ones_are_warned_about() {
    for path in examples() {
        example(&path).validate_cel().unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        assert_eq!(validated(&path).advice, [], "{}", path.display());
        assert_eq!(validated(&path).missing_secrets(), [], "{}", path.display());
    }
}
