//! Makes the Secrets that an instance lacks: fresh random values, created by POST and never written again.

use catalyst_ssh::KeyProblem;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ObjectReference, Secret},
};
use kube::{Resource, ResourceExt};

use crate::{
    apply::{Applier, ApplyError},
    build::secret::{self, AppValues},
    hex::hex,
    observed::{Answers, SshKeySecret},
    rotation::Asked,
    validated::{MissingSecret, ValidatedInstance},
};

/// Bytes of randomness in each generated value.
const RANDOM_BYTES: usize = 32;

/// Why a Secret could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The operating system gives no randomness.
    #[error("the operating system gives no random numbers")]
    Random,
    /// No key pair could be made.
    #[error("no SSH key could be generated: {0}")]
    Key(#[from] KeyProblem),
    /// It could not be stored.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// A Secret that was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Which.
    pub which: MissingSecret,
    /// Its name.
    pub name: String,
    /// The very object, by UID.
    pub reference: ObjectReference,
    /// The line of its public half; of the application Secret none.
    pub public_line: Option<String>,
}

/// Generates each missing Secret, and adds what the API server made of it to `generated`, as soon as it is made. One that exists by now
/// is left alone (the next read shows whose it is).
///
/// # Errors
/// See [`GenerateError`]. Secrets generated before the error stay; the next pass finds them.
pub async fn generate(
    applier: &Applier,
    instance: &ValidatedInstance,
    missing: &[MissingSecret],
    generated: &mut Vec<(Generated, Secret)>,
) -> Result<(), GenerateError> {
    for which in missing {
        let (secret, public_line) = match which {
            MissingSecret::App => {
                let (catalyst_secret, cookie_secret) = (random()?, random()?);
                let values = secret::AppValues { catalyst_secret, cookie_secret, cookie_secret_previous: None };
                (secret::app_secret(instance, values), None)
            }
            MissingSecret::SshKey => {
                let comment = format!("catalyst-{}-{}", instance.namespace, instance.name);
                let key = catalyst_ssh::generate_ed25519(&comment)?;
                let line = key.public_openssh.trim_end().to_owned();
                (secret::ssh_key(instance, key.private_openssh, key.public_openssh), Some(line))
            }
        };
        if let Some(created) = applier.create(&secret, &instance.namespace).await? {
            tracing::info!(secret = %created.name_any(), "generated");
            let (name, reference) = (created.name_any(), created.object_ref(&()));
            let told = Generated { which: *which, name, reference, public_line };
            generated.push((told, created));
        }
    }
    Ok(())
}

/// Generates the key that is to take the other's place in answer to a request; its line for authorized_keys, or `None` if
/// somebody was quicker.
///
/// # Errors
/// See [`GenerateError`].
pub async fn next_key(
    applier: &Applier,
    instance: &ValidatedInstance,
    answers: Answers,
) -> Result<Option<String>, GenerateError> {
    let comment = format!("catalyst-{}-{}", instance.namespace, instance.name);
    let key = catalyst_ssh::generate_ed25519(&comment)?;
    let line = format!("{} {}", crate::status::KEY_OPTIONS, key.public_openssh.trim_end());
    let secret = secret::next_ssh_key(instance, key.private_openssh, key.public_openssh);
    let secret = secret::answering(secret, answers);
    Ok(applier.create(&secret, &instance.namespace).await?.map(|_| line))
}

/// Puts a key into the place of the one in use, whose Secret is gone.
///
/// # Errors
/// See [`GenerateError`].
pub async fn promoted_key(
    applier: &Applier,
    instance: &ValidatedInstance,
    key: &SshKeySecret,
    answers: Answers,
) -> Result<(), GenerateError> {
    let mut secret = secret::ssh_key(instance, String::new(), String::new());
    let entries = key.entries.iter().map(|(entry, value)| (entry.clone(), ByteString(value.expose().to_vec())));
    secret.data = Some(entries.collect());
    let secret = secret::answering(secret, answers);
    applier.create(&secret, &instance.namespace).await?;
    Ok(())
}

/// Prepares the values that are to take the place of `current`: fresh ones where they are `asked` for, else those in use. A
/// replaced cookie secret stays as the previous one, so that its sessions go on.
///
/// # Errors
/// See [`GenerateError`].
pub async fn next_values(
    applier: &Applier,
    instance: &ValidatedInstance,
    current: &AppValues,
    asked: Asked,
    answers: Answers,
) -> Result<(), GenerateError> {
    let mut next = current.clone();
    if asked.catalyst_secret {
        next.catalyst_secret = random()?;
    }
    if asked.cookie_secret {
        next.cookie_secret_previous = Some(std::mem::replace(&mut next.cookie_secret, random()?));
    }
    let secret = secret::answering(secret::next_app_secret(instance, next), answers);
    applier.create(&secret, &instance.namespace).await?;
    Ok(())
}

/// Puts values into the place of those in use, whose Secret is gone.
///
/// # Errors
/// See [`GenerateError`].
pub async fn promoted_values(
    applier: &Applier,
    instance: &ValidatedInstance,
    values: AppValues,
    answers: Answers,
) -> Result<(), GenerateError> {
    let secret = secret::answering(secret::app_secret(instance, values), answers);
    applier.create(&secret, &instance.namespace).await?;
    Ok(())
}

/// 256 bits from the operating system, in hexadecimal.
fn random() -> Result<String, GenerateError> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| GenerateError::Random)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_long_and_never_the_same() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert_eq!(one.len(), 2 * RANDOM_BYTES);
        assert_ne!(one, other);
    }
}
