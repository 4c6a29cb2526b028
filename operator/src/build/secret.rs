//! The Secrets that the operator generates. They are created by POST, never applied, never updated: random material goes in
//! as an argument, so building stays pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::metadata;
use crate::container::{CATALYST_SECRET, COOKIE_SECRET};
use crate::validated::ValidatedInstance;

/// `NAME-secrets` with two fresh values, each at least 16 characters.
pub fn app_secret(instance: &ValidatedInstance, catalyst_secret: String, cookie_secret: String) -> Secret {
    secret(
        instance,
        instance.app_secret.secret.clone(),
        [(CATALYST_SECRET.to_owned(), catalyst_secret), (COOKIE_SECRET.to_owned(), cookie_secret)],
    )
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

fn secret(instance: &ValidatedInstance, name: String, entries: [(String, String); 2]) -> Secret {
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
