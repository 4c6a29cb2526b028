//! A cluster to validate against where there is none: Secrets of the user are there and good, everything else is not. Pure,
//! but for the key pair that stands for a user's key and of which nothing is shown.

use super::manifests::{Wanted, wanted};
use crate::{
    build::build,
    crd::CatalystInstance,
    observed::{AppSecret, Fetched, Ownership, Referenced, SecretText, SshKeySecret},
    reason::Reason,
    validate::validate,
    validated::{AppSecretState, Defaults, Finding, MissingSecret, ValidatedInstance},
};

/// In place of what only the cluster knows.
pub(super) const UID: &str = "00000000-0000-0000-0000-000000000000";
/// In place of the checksum of the application Secret.
const CHECKSUM: &str = "(computed from the Secret's values)";
/// In place of a secret value; long enough for one.
const VALUE: &str = "(stands for the value in the cluster)";

/// Validates an instance as if all it refers to were there. `namespace` is used where the manifest names none.
///
/// # Errors
/// What validation finds, each with field and remedy.
pub(super) fn validated(
    instance: &CatalystInstance,
    namespace: &str,
    defaults: &Defaults,
) -> Result<ValidatedInstance, Vec<Finding>> {
    let mut instance = instance.clone();
    instance.metadata.uid.get_or_insert_with(|| UID.to_owned());
    instance.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    let mut fetched = Fetched::default();
    let mut outcome = validate(&instance, &fetched, defaults);
    // Validation itself says which Secrets have to be there.
    if let Err(findings) = &outcome {
        let missing = |field: &str| {
            findings.iter().any(|found| found.reason == Reason::SecretMissing && found.field.as_deref() == Some(field))
        };
        if missing("secrets") {
            let value = || Some(SecretText::new(VALUE));
            let value = AppSecret { catalyst_secret: value(), cookie_secret: value(), ..AppSecret::default() };
            fetched.app_secret = Referenced::Found { owner: Ownership::Foreign(None), value };
        }
        if missing("ssh.existingKeySecret")
            && let Ok(key) = catalyst_ssh::generate_ed25519("stand-in")
        {
            let path = instance.spec.ssh.key_path.as_deref().unwrap_or("id_ed25519");
            let entry = path.rsplit('/').next().unwrap_or(path).to_owned();
            let entries = [(entry, SecretText::new(key.private_openssh))].into();
            fetched.ssh_key = Referenced::Found {
                owner: Ownership::Foreign(None),
                value: SshKeySecret { entries, ..SshKeySecret::default() },
            };
        }
        outcome = validate(&instance, &fetched, defaults);
    }
    outcome
}

/// The same with the checksum of secrets that are not known, so that what is built has the annotation.
pub(super) fn with_checksum(mut valid: ValidatedInstance) -> ValidatedInstance {
    valid.app_secret.state = AppSecretState::Present { checksum: CHECKSUM.to_owned() };
    valid
}

/// Defaults for what does not depend on the image.
fn any_image() -> Defaults {
    Defaults { proxy_image: "catalyst-proxy".to_owned() }
}

/// Field under `spec` (if one is to blame) and sentence of each thing that keeps an instance from being built.
type Problems = Vec<(Option<String>, String)>;

/// Whether an instance could be built, as far as that can be told without a cluster.
///
/// # Errors
/// Field under `spec` (if one is to blame) and sentence of each finding.
pub fn acceptable(instance: &CatalystInstance) -> Result<(), Problems> {
    validated(instance, "default", &any_image()).map(|_| ()).map_err(problems)
}

fn problems(findings: Vec<Finding>) -> Problems {
    findings.into_iter().map(|found| (found.field, found.message)).collect()
}

/// The annotations that the operator itself sets on the Ingress of an instance.
#[must_use]
pub fn ingress_annotations(instance: &CatalystInstance) -> std::collections::BTreeMap<String, String> {
    let Ok(valid) = validated(instance, "default", &any_image()) else { return Default::default() };
    build(&valid).ingress.and_then(|ingress| ingress.metadata.annotations).unwrap_or_default()
}

/// Kind and name of every object that the operator makes of an instance, generated Secrets among them.
///
/// # Errors
/// The instance could not be built; as of [`acceptable`].
pub fn names_of(instance: &CatalystInstance, namespace: &str) -> Result<Vec<(String, String)>, Problems> {
    let valid = validated(instance, namespace, &any_image()).map_err(problems)?;
    let objects = wanted(&valid.name, &build(&valid)).map_err(|error| vec![(None, error.to_string())])?;
    let objects = objects.into_iter().filter_map(|wanted| match wanted {
        Wanted::Object(manifest) => Some((manifest.resource.kind, manifest.name)),
        Wanted::Absent { .. } => None,
    });
    let secrets = valid.missing_secrets().into_iter().map(|which| {
        let name = match which {
            MissingSecret::App => valid.app_secret.secret.clone(),
            MissingSecret::SshKey => valid.ssh.key.secret.clone(),
        };
        ("Secret".to_owned(), name)
    });
    Ok(objects.chain(secrets).collect())
}
