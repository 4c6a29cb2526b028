//! Reads what an instance refers to and what is observed of it. Writes nothing.
//!
//! Children are read as metadata only (but the Deployment, and what Gateways say of a route), and not at all where a watch shows them. Of a
//! new instance those are not looked for that no watch shows: something of somebody else's is met when ours is to be made, which takes nobody's
//! place. Secrets are read by name and only those that the instance uses; pods only while they are not ready. Every read is bounded by
//! [`READ_DEADLINE`]. Where versions are followed, what can be had from the API server's cache is, and is never older than what is known.

mod one;
mod pods;
mod secrets;
mod view;
mod way_in;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    build::HTTPRoute,
    children::Children,
    crd::{CatalystInstance, CatalystInstanceStatus, KIND},
    live::Live,
    names::{InstanceName, References},
    observed::{Child, Fetched, Ownership},
    versions::Versions,
    words::words,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client,
    api::{DynamicObject, GetParams, ObjectMeta},
    core::ApiResource,
};

pub(crate) use self::view::{app_secret as app_secret_in, ssh_key as ssh_key_in};
use self::way_in::Listed;
pub use self::{secrets::Secrets, way_in::served};

/// No single read takes longer.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The API server, or the way to it, failed.
    #[error("{what} could not be read: {}", words(source))]
    Api {
        /// What was to be read.
        what: String,
        /// What came back.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer within [`READ_DEADLINE`].
    #[error("{what} could not be read: the API server did not answer in {} s", READ_DEADLINE.as_secs())]
    TimedOut {
        /// What was to be read.
        what: String,
    },
}

/// An instance as it was read.
#[derive(Debug)]
pub enum Read {
    /// It can be understood.
    Instance(Box<CatalystInstance>),
    /// It cannot: stored under another schema.
    Malformed {
        /// Its metadata, which always can.
        metadata: Box<ObjectMeta>,
        /// Its status, if that can be understood.
        status: Option<Box<CatalystInstanceStatus>>,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads. One for the process.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    /// `None`: the latest is read.
    known: Option<Known>,
}

/// What is known without a read.
#[derive(Clone)]
struct Known {
    versions: Versions,
    children: Children,
    classes: Arc<Mutex<Option<Listed>>>,
}

impl Fetcher {
    /// A reader of the latest.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, known: None }
    }

    /// A reader of what is not older than what is known; what is held is not read at all.
    #[must_use]
    pub fn cached(client: Client, versions: Versions, children: Children) -> Self {
        Self { client, known: Some(Known { versions, children, classes: Arc::default() }) }
    }

    /// The instance itself; `None` when it is gone.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn instance(&self, namespace: &str, name: &str) -> Result<Option<Read>, FetchError> {
        let resource = ApiResource::erase::<CatalystInstance>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let read = |params: GetParams| {
            let api = api.clone();
            async move { api.get_with(name, &params).await }
        };
        let Some(object) = self.not_older(KIND, "the CatalystInstance", read).await? else { return Ok(None) };
        let DynamicObject { types, metadata, data } = object;
        let mut whole = data;
        if let Some(members) = whole.as_object_mut() {
            let types = types.unwrap_or_default();
            members.insert("apiVersion".into(), types.api_version.into());
            members.insert("kind".into(), types.kind.into());
            members.insert("metadata".into(), serde_json::to_value(&metadata).unwrap_or_default());
        }
        let status = whole.get("status").cloned();
        Ok(Some(match serde_json::from_value::<CatalystInstance>(whole) {
            Ok(mut instance) => {
                instance.status = instance.status.filter(CatalystInstanceStatus::is_written);
                Read::Instance(Box::new(instance))
            }
            Err(problem) => Read::Malformed {
                metadata: Box::new(metadata),
                status: status
                    .and_then(|status| serde_json::from_value::<CatalystInstanceStatus>(status).ok())
                    .filter(CatalystInstanceStatus::is_written)
                    .map(Box::new),
                problem: problem.to_string(),
            },
        }))
    }

    /// Everything else that one pass needs to know, except what SSH shows. `listen`: also what a server says that is ready. `known`: the
    /// Secrets, where they are known to be as they were.
    ///
    /// # Errors
    /// Something could not be read; which, says the error.
    pub async fn everything(
        &self,
        instance: &CatalystInstance,
        listen: bool,
        known: Option<Secrets>,
    ) -> Result<(Fetched, Live), FetchError> {
        let namespace = instance.metadata.namespace.as_deref().unwrap_or_default();
        let owner = instance.metadata.uid.as_deref().unwrap_or_default();
        let references = References::of(instance);
        let mut live = Live::of(owner);
        let mut fetched = Fetched::default();
        let Some(name) = instance.metadata.name.as_deref().and_then(InstanceName::parse) else {
            // Validation says what is wrong with the name; nothing can carry one derived from it.
            return Ok((fetched, live));
        };
        let (config, known_hosts, policy) = (name.config(), name.known_hosts(), name.policy());
        let new = instance.status.is_none();
        let (secrets, deployment, service, ingress, config, known_hosts, policy, classes, tls_secret) = futures::try_join!(
            self.secrets(instance, &name, &references, known),
            self.get::<Deployment>(namespace, name.as_str()),
            self.child::<Service>(!new, namespace, name.as_str()),
            self.child::<Ingress>(!new && references.ingress_host.is_some(), namespace, name.as_str()),
            self.child::<ConfigMap>(!new, namespace, &config),
            self.child::<ConfigMap>(!new, namespace, &known_hosts),
            self.child::<NetworkPolicy>(!new, namespace, &policy),
            self.ingress_classes(references.ingress_class.as_deref()),
            self.tls_secret(namespace, references.tls_secret.as_deref()),
        )?;
        Secrets { app: fetched.app_secret, ssh_key: fetched.ssh_key } = secrets;
        match classes {
            Some(Ok(classes)) => fetched.ingress_classes = Some(classes),
            Some(Err(words)) => fetched.unseen.push(format!(
                "Whether the IngressClass exists is not known, because the operator may not look: {words}. It works without; to have \
                 it told, give the operator's account the verb list for ingressclasses in a ClusterRole."
            )),
            None => {}
        }
        fetched.tls_secret = tls_secret;
        if let Some(deployment) = deployment {
            let mine = view::owner(&deployment.metadata, owner) == Ownership::Ours;
            fetched.deployment = mine.then(|| view::deployment(&deployment));
            live.insert::<Deployment>(deployment.metadata);
        }
        let (route, budget, gateway_api) = futures::try_join!(
            self.route(namespace, name.as_str(), instance.spec.gateway.is_some()),
            self.child::<PodDisruptionBudget>(!new && references.is_redundant, namespace, name.as_str()),
            self.gateway_api(instance.spec.gateway.is_some()),
        )?;
        fetched.gateway_api = gateway_api;
        // Where the cluster knows no routes there is none.
        if let Some(route) = route {
            let mine = view::owner(&route.metadata, owner) == Ownership::Ours;
            let status = route.data.get("status");
            fetched.route = mine.then(|| view::route(route.metadata.generation, status));
            live.insert::<HTTPRoute>(route.metadata);
        }
        budget.into_iter().for_each(|meta| live.insert::<PodDisruptionBudget>(meta));
        service.into_iter().for_each(|meta| live.insert::<Service>(meta));
        ingress.into_iter().for_each(|meta| live.insert::<Ingress>(meta));
        config.into_iter().for_each(|meta| live.insert::<ConfigMap>(meta));
        known_hosts.into_iter().for_each(|meta| live.insert::<ConfigMap>(meta));
        policy.into_iter().for_each(|meta| live.insert::<NetworkPolicy>(meta));
        fetched.children = live
            .iter()
            .map(|(kind, meta)| Child {
                kind: kind.to_owned(),
                name: meta.name.clone().unwrap_or_default(),
                owner: view::owner(meta, owner),
            })
            .collect();
        fetched.children.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        if let Some(deployment) = &fetched.deployment {
            if !view::settled(deployment) {
                fetched.pods = self.pods(namespace, &name).await?;
                if fetched.pods.iter().any(view::cannot_pull) {
                    fetched.missing_pull_secrets = self.missing_pull_secrets(namespace, instance).await?;
                }
            } else if deployment.available > 0 && listen {
                fetched.ideas_path = self.word_on_ideas_path(namespace, &name).await?;
            }
        }
        Ok((fetched, live))
    }

    /// The entries of a ConfigMap of ours; `None`: there is none.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn settings(&self, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, String>>, FetchError> {
        Ok(self.get::<ConfigMap>(namespace, name).await?.and_then(|config| config.data))
    }
}

async fn bounded<T>(what: &str, read: impl Future<Output = Result<T, kube::Error>>) -> Result<T, FetchError> {
    match tokio::time::timeout(READ_DEADLINE, read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(FetchError::Api { what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(FetchError::TimedOut { what: what.to_owned() }),
    }
}
