//! Which instances use which Secret: a Secret of somebody's carries no label of ours, so its watch asks here whom it concerns.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use kube::ResourceExt;

use crate::{crd::CatalystInstance, names::References};

/// Which instances use which Secret; kept up by each reconcile before it reads.
#[derive(Clone, Debug, Default)]
pub struct SecretUses(Arc<Mutex<Uses>>);

#[derive(Debug, Default)]
struct Uses {
    /// (namespace, Secret) → instances.
    by_secret: HashMap<(String, String), HashSet<String>>,
    /// (namespace, instance) → Secrets.
    by_instance: HashMap<(String, String), Vec<String>>,
}

impl SecretUses {
    /// Notes what an instance refers to now.
    pub fn note(&self, instance: &CatalystInstance) {
        let references = References::of(instance);
        let (namespace, name) = (instance.namespace().unwrap_or_default(), instance.name_any());
        let secrets = [Some(references.app_secret), Some(references.ssh_key), references.tls_secret];
        self.set(&namespace, &name, secrets.into_iter().flatten().collect());
    }

    /// Forgets an instance that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.set(namespace, name, Vec::new());
    }

    /// The instances that use a Secret.
    #[must_use]
    pub fn of(&self, namespace: &str, secret: &str) -> Vec<String> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = uses.by_secret.get(&(namespace.to_owned(), secret.to_owned()));
        found.map(|instances| instances.iter().cloned().collect()).unwrap_or_default()
    }

    fn set(&self, namespace: &str, name: &str, secrets: Vec<String>) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (namespace.to_owned(), name.to_owned());
        if uses.by_instance.get(&key).map(Vec::as_slice).unwrap_or_default() == secrets {
            return;
        }
        for old in uses.by_instance.remove(&key).unwrap_or_default() {
            let at = (namespace.to_owned(), old);
            if let Some(instances) = uses.by_secret.get_mut(&at) {
                instances.remove(name);
                if instances.is_empty() {
                    uses.by_secret.remove(&at);
                }
            }
        }
        for secret in &secrets {
            uses.by_secret.entry((namespace.to_owned(), secret.clone())).or_default().insert(name.to_owned());
        }
        if !secrets.is_empty() {
            uses.by_instance.insert(key, secrets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_leads_to_the_instances_that_use_it_now() {
        let uses = SecretUses::default();
        uses.set("n", "a", vec!["shared".into(), "a-key".into()]);
        uses.set("n", "b", vec!["shared".into()]);
        let mut both = uses.of("n", "shared");
        both.sort();
        assert_eq!(both, ["a", "b"]);
        assert!(uses.of("other", "shared").is_empty());
        uses.set("n", "a", vec!["a-key".into()]);
        assert_eq!(uses.of("n", "shared"), ["b"]);
        uses.forget("n", "a");
        uses.forget("n", "b");
        assert!(uses.0.lock().unwrap().by_secret.is_empty() && uses.0.lock().unwrap().by_instance.is_empty());
    }
}
