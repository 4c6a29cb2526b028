//! The names of an instance and of everything that belongs to it. Every name is derived here and nowhere else.

use crate::crd::{CatalystInstance, IngressSpec, MAX_NAME_LENGTH};

/// The label that selects an instance's pods, for ever: a Deployment's selector cannot be changed.
pub const INSTANCE_LABEL: &str = "catalyst.dev/instance";
/// The container's name in the pod.
pub const CONTAINER: &str = "catalyst";

const DEFAULT_INGRESS_CLASS: &str = "nginx";

/// The IngressClass that is asked for.
pub fn ingress_class(spec: &IngressSpec) -> &str {
    spec.class_name.as_deref().unwrap_or(DEFAULT_INGRESS_CLASS)
}

/// An instance by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A name that fits: a DNS label of at most [`MAX_NAME_LENGTH`] characters that begins with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InstanceName(String);

impl InstanceName {
    /// Takes a name that fits, else `None`.
    pub fn parse(name: &str) -> Option<InstanceName> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = name.len() <= MAX_NAME_LENGTH
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.bytes().all(inner);
        fits.then(|| InstanceName(name.to_owned()))
    }

    /// The instance's own name, which Deployment, Service and Ingress share.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ConfigMap with the server's settings.
    pub fn config(&self) -> String {
        format!("{}-config", self.0)
    }

    /// The ConfigMap with the host keys of the VM.
    pub fn known_hosts(&self) -> String {
        format!("{}-known-hosts", self.0)
    }

    /// The application Secret, unless the spec names another.
    pub fn app_secret(&self) -> String {
        format!("{}-secrets", self.0)
    }

    /// The Secret with the values that are to take the place of those in [`app_secret`](Self::app_secret).
    pub fn next_app_secret(&self) -> String {
        format!("{}-secrets-next", self.0)
    }

    /// The Secret with the generated SSH key, unless the spec names another.
    pub fn ssh_key(&self) -> String {
        format!("{}-ssh-key", self.0)
    }

    /// The Secret with the SSH key that is to take the other's place.
    pub fn next_ssh_key(&self) -> String {
        format!("{}-ssh-key-next", self.0)
    }

    /// The NetworkPolicy.
    pub fn policy(&self) -> String {
        format!("{}-policy", self.0)
    }

    /// The Secret that cert-manager fills, unless the spec names another.
    pub fn tls(&self) -> String {
        format!("{}-tls", self.0)
    }

    /// The label selector of the pods, as `kubectl -l` takes it.
    pub fn selector(&self) -> String {
        format!("{INSTANCE_LABEL}={}", self.0)
    }
}

impl std::fmt::Display for InstanceName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What an instance refers to by name: what fetch has to read before anything is validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct References {
    /// The application Secret.
    pub app_secret: String,
    /// Whether that is a person's own, and never generated.
    pub app_is_given: bool,
    /// The Secret with the private key.
    pub ssh_key: String,
    /// Whether that is a person's own, and never generated.
    pub key_is_given: bool,
    /// The host that the Ingress will claim, if one is wanted.
    pub ingress_host: Option<String>,
    /// The class of that Ingress.
    pub ingress_class: Option<String>,
    /// The Secret with the certificate of that host, if one is wanted.
    pub tls_secret: Option<String>,
    /// Whether there may be several pods, and with them a PodDisruptionBudget.
    pub is_redundant: bool,
}

impl References {
    /// Reads them off the raw spec; names are whatever was written, so a read may find nothing.
    pub fn of(instance: &CatalystInstance) -> References {
        let name = instance.metadata.name.as_deref().unwrap_or_default();
        let secrets = instance.spec.secrets.as_ref();
        let ingress = instance.spec.ingress.as_ref().filter(|ingress| ingress.enabled != Some(false));
        let claiming = ingress.filter(|ingress| ingress.host.is_some());
        References {
            app_secret: secrets
                .and_then(|secrets| secrets.existing_secret.clone())
                .unwrap_or_else(|| format!("{name}-secrets")),
            app_is_given: secrets.is_some_and(|secrets| secrets.are_given()),
            key_is_given: instance.spec.ssh.existing_key_secret.is_some(),
            ssh_key: instance.spec.ssh.existing_key_secret.clone().unwrap_or_else(|| format!("{name}-ssh-key")),
            ingress_host: ingress.and_then(|ingress| ingress.host.clone()),
            is_redundant: instance.spec.replicas > 1,
            ingress_class: claiming.map(|ingress| ingress_class(ingress).to_owned()),
            tls_secret: claiming.and_then(|ingress| {
                let tls = ingress.tls.as_ref()?;
                Some(tls.secret_name.clone().unwrap_or_else(|| format!("{name}-tls")))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_leaves_room_for_every_derived_one() {
        let name = InstanceName::parse(&"a".repeat(MAX_NAME_LENGTH)).unwrap();
        let derived = [name.config(), name.known_hosts(), name.app_secret(), name.ssh_key(), name.policy(), name.tls()];
        for derived in derived {
            // 63 is the limit of a label value, the narrowest place that such a name may come to.
            assert!(derived.len() <= 63 + 1, "{derived} has {} characters", derived.len());
        }
        assert_eq!(InstanceName::parse(&"a".repeat(MAX_NAME_LENGTH + 1)), None);
    }

    #[test]
    fn a_secret_is_given_where_the_spec_says_so_or_names_it_and_else_generated() {
        let given = |secrets: serde_json::Value, key: Option<&str>| {
            let ssh = serde_json::json!({"host": "h", "user": "u", "existingKeySecret": key});
            let object = serde_json::json!({"metadata": {"name": "x"}, "spec": {"ssh": ssh, "secrets": secrets}});
            let References { app_secret, app_is_given, ssh_key, key_is_given, .. } =
                References::of(&serde_json::from_value(object).unwrap());
            (app_secret, app_is_given, ssh_key, key_is_given)
        };
        let is =
            |app: &str, app_is_given, key: &str, key_is_given| (app.into(), app_is_given, key.into(), key_is_given);
        assert_eq!(given(serde_json::json!(null), None), is("x-secrets", false, "x-ssh-key", false));
        assert_eq!(given(serde_json::json!({"useExisting": true}), Some("k")), is("x-secrets", true, "k", true));
        assert_eq!(given(serde_json::json!({"existingSecret": "mine"}), None), is("mine", true, "x-ssh-key", false));
        assert_eq!(given(serde_json::json!({"useExisting": false}), None), is("x-secrets", false, "x-ssh-key", false));
    }

    #[test]
    fn what_is_no_dns_label_is_no_name() {
        for wrong in ["", "1a", "-a", "a-", "A", "a.b", "a_b", "ä"] {
            assert_eq!(InstanceName::parse(wrong), None, "{wrong}");
        }
    }
}
