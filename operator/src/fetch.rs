//! Reads what an instance refers to and what is observed of it. Writes nothing.
//!
//! Children are read as metadata only (but the Deployment, and what Gateways say of a route), and not at all where a watch shows them. Of a
//! new instance nothing is looked for that no watch shows: something of somebody else's is met when ours is to be made, which takes nobody's
//! place. Secrets are read by name and only those that the instance uses; pods only while they are not ready. Every read is bounded by
//! [`READ_DEADLINE`]. Where versions are followed, what can be had from the API server's cache is, and is never older than what is known.

mod pods;
mod view;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    build::HTTPRoute,
    children::Children,
    crd::{
        CatalystInstance, CatalystInstanceStatus, KIND, ROTATE_CATALYST_SECRET_ANNOTATION,
        ROTATE_COOKIE_SECRET_ANNOTATION, ROTATE_SSH_KEY_ANNOTATION,
    },
    live::{Kinded, Live},
    names::{InstanceName, References},
    observed::{AppSecret, Child, Fetched, IngressClass, Ownership, Referenced, SshKeySecret},
    versions::Versions,
    words::words,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    networking::v1::{Ingress, IngressClass as ApiIngressClass, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client,
    api::{DynamicObject, GetParams, ListParams, ObjectMeta},
    core::ApiResource,
};

pub(crate) use self::view::{app_secret as app_secret_in, ssh_key as ssh_key_in};

/// No single read takes longer.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);
/// IngressClasses are not watched: the operator may be confined to namespaces. Many passes at once share one list.
const CLASSES_LISTED_EVERY: Duration = Duration::from_secs(5);

/// What asks for other values in Secrets.
const ROTATE_ANNOTATIONS: [&str; 3] =
    [ROTATE_SSH_KEY_ANNOTATION, ROTATE_CATALYST_SECRET_ANNOTATION, ROTATE_COOKIE_SECRET_ANNOTATION];

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

/// The Secrets that an instance uses.
#[derive(Debug)]
pub struct Secrets {
    /// The application Secret.
    pub app: Referenced<AppSecret>,
    /// The Secret with the SSH key.
    pub ssh_key: Referenced<SshKeySecret>,
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

/// When IngressClasses were listed, and which there were.
type Listed = (Instant, Vec<IngressClass>);

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

    /// The Secrets that an instance uses.
    async fn secrets(
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

    /// The entries of a ConfigMap of ours; `None`: there is none.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn settings(&self, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, String>>, FetchError> {
        Ok(self.get::<ConfigMap>(namespace, name).await?.and_then(|config| config.data))
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
    async fn tls_secret(&self, namespace: &str, name: Option<&str>) -> Result<Option<bool>, FetchError> {
        let Some(name) = name else { return Ok(None) };
        Ok(Some(self.metadata::<Secret>(namespace, name).await?.is_some()))
    }

    /// Of the Secrets with which the image is pulled those that do not exist.
    async fn missing_pull_secrets(
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

    /// The route, whatever somebody else made of it: what we set is read by nobody. Where none is wanted and the kind is not
    /// watched, none is looked for: when the watch comes, it tells.
    async fn route(&self, namespace: &str, name: &str, wanted: bool) -> Result<Option<DynamicObject>, FetchError> {
        let watched = |known: &Known| known.versions.is_watched(HTTPRoute::KIND);
        if !wanted && !self.known.as_ref().is_none_or(watched) {
            return Ok(None);
        }
        let resource = ApiResource::erase::<HTTPRoute>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let read = |params: GetParams| {
            let api = api.clone();
            async move { api.get_with(name, &params).await }
        };
        self.not_older(HTTPRoute::KIND, &format!("{} {name}", HTTPRoute::KIND), read).await
    }

    /// Whether the cluster knows HTTPRoutes.
    async fn gateway_api(&self, wanted: bool) -> Result<Option<bool>, FetchError> {
        if !wanted {
            return Ok(None);
        }
        Ok(Some(bounded("the Gateway API", served::<HTTPRoute>(&self.client)).await?))
    }

    /// `None`: none is wanted. `Err`: the API server's words, where RBAC is narrowed to namespaces; that keeps nothing from working.
    async fn ingress_classes(
        &self,
        wanted: Option<&str>,
    ) -> Result<Option<Result<Vec<IngressClass>, String>>, FetchError> {
        let Some(wanted) = wanted else { return Ok(None) };
        if let Some(classes) = self.known.as_ref().and_then(|known| known.classes_with(wanted, Instant::now())) {
            return Ok(Some(Ok(classes)));
        }
        let api: Api<ApiIngressClass> = Api::all(self.client.clone());
        // They are not watched. A class that seems to be missing is looked for again anyway.
        let params = if self.known.is_some() { ListParams::default().match_any() } else { ListParams::default() };
        match bounded("the IngressClasses", api.list(&params)).await {
            Ok(list) => {
                let classes: Vec<IngressClass> = list.items.into_iter().map(view::ingress_class).collect();
                if let Some(known) = &self.known {
                    *known.classes() = Some((Instant::now(), classes.clone()));
                }
                Ok(Some(Ok(classes)))
            }
            Err(FetchError::Api { source, .. }) if is_forbidden(&source) => Ok(Some(Err(words(&source)))),
            Err(error) => Err(error),
        }
    }

    async fn get<K: Kinded>(&self, namespace: &str, name: &str) -> Result<Option<K>, FetchError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let read = |params: GetParams| {
            let api = api.clone();
            async move { api.get_with(name, &params).await }
        };
        self.not_older(K::KIND, &format!("{} {name}", K::KIND), read).await
    }

    async fn metadata<K: Kinded>(&self, namespace: &str, name: &str) -> Result<Option<ObjectMeta>, FetchError> {
        let held = self.known.as_ref().and_then(|known| known.children.get(K::KIND, namespace, name));
        if held.is_some() {
            return Ok(held);
        }
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let read = |params: GetParams| {
            let api = api.clone();
            async move { api.get_metadata_with(name, &params).await }
        };
        // Of a kind that the cluster does not know there is nothing either, which is said in another way.
        let found = self.not_older(K::KIND, &format!("{} {name}", K::KIND), read).await?;
        Ok(found.map(|partial| partial.metadata))
    }

    /// The same of a child. Where none of ours is known, one is looked for only if that is told to: one of somebody else's is of no concern
    /// where none is wanted, and else is met when ours is to be made.
    async fn child<K: Kinded>(
        &self,
        look: bool,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ObjectMeta>, FetchError> {
        if !look && self.known.as_ref().is_some_and(|known| known.children.lacks(K::KIND, namespace, name)) {
            return Ok(None);
        }
        self.metadata::<K>(namespace, name).await
    }

    /// Reads what is not older than what is known of the kind, or else the latest; `None`: there is no such thing.
    async fn not_older<T, F: Future<Output = Result<T, kube::Error>>>(
        &self,
        kind: &str,
        what: &str,
        read: impl Fn(GetParams) -> F,
    ) -> Result<Option<T>, FetchError> {
        // On the heap: a pass makes a dozen reads at once, and each is a deep stack of futures.
        let read = |params| Box::pin(bounded(what, read(params)));
        let floor = self.known.as_ref().and_then(|known| Some((known, known.versions.floor(kind)?)));
        let params = floor.as_ref().map_or_else(GetParams::default, |(_, version)| GetParams::at(version));
        let mut answer = read(params).await;
        let not_reached = matches!(&answer, Err(FetchError::Api { source, .. }) if is_not_reached(source));
        if let Some((known, _)) = floor
            && not_reached
        {
            known.versions.doubt(kind);
            known.children.doubt(kind);
            answer = read(GetParams::default()).await;
        }
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(FetchError::Api { source, .. }) if is_absent(&source) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Known {
    /// The classes as they were a moment ago, if the one that is wanted was among them.
    fn classes_with(&self, wanted: &str, now: Instant) -> Option<Vec<IngressClass>> {
        let listed = self.classes();
        let (at, classes) = listed.as_ref()?;
        let fresh = now.saturating_duration_since(*at) < CLASSES_LISTED_EVERY;
        (fresh && classes.iter().any(|class| class.name == wanted)).then(|| classes.clone())
    }

    /// A list is replaced whole.
    fn classes(&self) -> MutexGuard<'_, Option<Listed>> {
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the API server serves a kind: its CRD may come and go while we run.
///
/// # Errors
/// It could not be asked.
pub async fn served<K: Kinded>(client: &Client) -> Result<bool, kube::Error> {
    match client.list_api_group_resources(&K::api_version(&())).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == K::KIND)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

async fn bounded<T>(what: &str, read: impl Future<Output = Result<T, kube::Error>>) -> Result<T, FetchError> {
    match tokio::time::timeout(READ_DEADLINE, read).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(FetchError::Api { what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(FetchError::TimedOut { what: what.to_owned() }),
    }
}

/// Whether the API server's cache did not come to the version that was asked for within the time that the server gives it.
fn is_not_reached(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 504)
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
