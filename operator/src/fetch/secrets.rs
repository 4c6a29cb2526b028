//! The Secrets that an instance uses, and whether those are there that it only names.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{FetchError, Fetcher, Known, view};
use crate::{
    crd::{
        CatalystInstance, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION, ROTATE_SSH_KEY_ANNOTATION,
    },
    live::Kinded as _,
    names::{InstanceName, References},
    observed::{AppSecret, Referenced, SshKeySecret},
};

/// What asks for other values in Secrets.
const ROTATE_ANNOTATIONS: [&str; 3] =
    [ROTATE_SSH_KEY_ANNOTATION, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION];

/// The Secrets that an instance uses.
#[derive(Debug)]
pub struct Secrets {
    /// The application Secret.
    pub app: Referenced<AppSecret>,
    /// The Secret with the SSH key.
    pub ssh_key: Referenced<SshKeySecret>,
}

impl Fetcher {
    /// The Secrets that an instance uses.
    pub(super) async fn secrets(
        &self,
        instance: &CatalystInstance,
        name: &InstanceName,
        references: &References,
        known: Option<Secrets>,
    ) -> Result<Secrets, FetchError> {
        if let Some(known) = known {
            return Ok(known);
        }
        let namespace = instance.metadata.namespace.as_deref().unwrap_or_default();
        let owner = instance.metadata.uid.as_deref().unwrap_or_default();
        let unmade = self.is_unmade(instance, name);
        let app = async {
            match unmade && !references.app_is_given {
                true => Ok(Referenced::Missing),
                false => self.app_secret(namespace, &references.app_secret, owner).await,
            }
        };
        let ssh_key = async {
            match unmade && !references.key_is_given {
                true => Ok(Referenced::Missing),
                false => self.ssh_key(namespace, &references.ssh_key, owner).await,
            }
        };
        let (app, ssh_key) = futures::try_join!(app, ssh_key)?;
        Ok(Secrets { app, ssh_key })
    }

    /// Whether nothing was ever made for an instance, as far as is known, so that its Secrets are to be made: one that is there all the same
    /// is met then. (Asked to replace what is in them, they are looked for.)
    fn is_unmade(&self, instance: &CatalystInstance, name: &InstanceName) -> bool {
        let namespace = instance.metadata.namespace.as_deref().unwrap_or_default();
        let mut annotations = instance.metadata.annotations.iter().flatten();
        let asks = annotations.any(|(key, _)| ROTATE_ANNOTATIONS.contains(&key.as_str()));
        let lacks = |known: &Known| known.children.lacks(ConfigMap::KIND, namespace, &name.config());
        instance.status.is_none() && !asks && self.known.as_ref().is_some_and(lacks)
    }

    /// The application Secret.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn app_secret(
        &self,
        namespace: &str,
        name: &str,
        owner: &str,
    ) -> Result<Referenced<AppSecret>, FetchError> {
        let secret = self.get::<Secret>(namespace, name).await?;
        Ok(secret.map_or(Referenced::Missing, |secret| view::app_secret(secret, owner)))
    }

    /// The Secret with the SSH key.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn ssh_key(
        &self,
        namespace: &str,
        name: &str,
        owner: &str,
    ) -> Result<Referenced<SshKeySecret>, FetchError> {
        let secret = self.get::<Secret>(namespace, name).await?;
        Ok(secret.map_or(Referenced::Missing, |secret| view::ssh_key(secret, owner)))
    }

    /// Only whether it is there: the private key in it is none of ours.
    pub(super) async fn tls_secret(&self, namespace: &str, name: Option<&str>) -> Result<Option<bool>, FetchError> {
        let Some(name) = name else { return Ok(None) };
        Ok(Some(self.metadata::<Secret>(namespace, name).await?.is_some()))
    }

    /// Of the Secrets with which the image is pulled those that do not exist.
    pub(super) async fn missing_pull_secrets(
        &self,
        namespace: &str,
        instance: &CatalystInstance,
    ) -> Result<Vec<String>, FetchError> {
        let named = instance.spec.image.iter().flat_map(|image| image.pull_secrets.iter().flatten());
        let mut missing = Vec::new();
        for secret in named {
            if self.metadata::<Secret>(namespace, &secret.name).await?.is_none() {
                missing.push(secret.name.clone());
            }
        }
        Ok(missing)
    }
}
