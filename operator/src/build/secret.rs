//! The Secrets that the operator generates. They are created by POST, never applied, never updated: random material goes in
//! as an argument, so building stays pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::metadata;
use crate::container::{CATALYST_SECRET, COOKIE_SECRET, COOKIE_SECRET_PREVIOUS};
use crate::observed::Answers;
use crate::validated::ValidatedInstance;

/// The values of an application Secret, each at least 16 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct AppValues {
    /// With which people sign in.
    pub catalyst_secret: String,
    /// From which cookie keys are derived.
    pub cookie_secret: String,
    /// The cookie secret before, if sessions of it are to stay valid.
    pub cookie_secret_previous: Option<String>,
}

/// `NAME-secrets`.
pub fn app_secret(instance: &ValidatedInstance, values: AppValues) -> Secret {
    app_values(instance, instance.app_secret.secret.clone(), values)
}

/// `NAME-secrets-next`: the values that are to take the others' place.
pub fn next_app_secret(instance: &ValidatedInstance, values: AppValues) -> Secret {
    app_values(instance, instance.name.next_app_secret(), values)
}

/// The same Secret with the requests on it that it answers.
#[must_use]
pub fn answering(mut secret: Secret, answers: Answers) -> Secret {
    secret.metadata.annotations.get_or_insert_default().extend(answers);
    secret
}

fn app_values(instance: &ValidatedInstance, name: String, values: AppValues) -> Secret {
    let AppValues { catalyst_secret, cookie_secret, cookie_secret_previous } = values;
    let given = [(CATALYST_SECRET, catalyst_secret), (COOKIE_SECRET, cookie_secret)];
    let previous = cookie_secret_previous.map(|value| (COOKIE_SECRET_PREVIOUS, value));
    let entries = given.into_iter().chain(previous).map(|(entry, value)| (entry.to_owned(), value));
    secret(instance, name, entries)
}

/// `NAME-ssh-key` with a fresh key pair, both halves in OpenSSH's formats. The private half is in the entry that
/// `ssh.keyPath` names (`id_ed25519`), the public half beside it with `.pub`.
pub fn ssh_key(instance: &ValidatedInstance, private_openssh: String, public_openssh: String) -> Secret {
    key_pair(instance, instance.ssh.key.secret.clone(), private_openssh, public_openssh)
}

/// `NAME-ssh-key-next`: the same of the key that is to take the other's place.
pub fn next_ssh_key(instance: &ValidatedInstance, private_openssh: String, public_openssh: String) -> Secret {
    key_pair(instance, instance.name.next_ssh_key(), private_openssh, public_openssh)
}

fn key_pair(instance: &ValidatedInstance, name: String, private_openssh: String, public_openssh: String) -> Secret {
    let entry = &instance.ssh.key.entry;
    secret(
        instance,
        name,
        [(entry.clone(), private_openssh), (format!("{entry}.pub"), format!("{}\n", public_openssh.trim_end()))],
    )
}

fn secret(instance: &ValidatedInstance, name: String, entries: impl IntoIterator<Item = (String, String)>) -> Secret {
    Secret {
        metadata: metadata(instance, name),
        type_: Some("Opaque".to_owned()),
        data: Some(
            entries
                .into_iter()
                .map(|(entry, value)| (entry, ByteString(value.into_bytes())))
                .collect::<BTreeMap<_, _>>(),
        ),
        ..Secret::default()
    }
}
