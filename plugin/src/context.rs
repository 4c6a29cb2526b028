//! The cluster, the namespace, and the instance that is meant; failures in words with the remedy.

use std::io::IsTerminal;

use anyhow::{anyhow, bail};
use catalyst_operator::{
    args::Output,
    crd::CatalystInstance,
    offline::cluster::{Cluster, connect},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    args::{Scope, Which},
    hints::Hints,
    paint::Paint,
};

/// Our name in managed fields.
pub(crate) const MANAGER: &str = "kubectl-catalyst";

/// What every command works with.
pub(crate) struct Context {
    pub(crate) cluster: Cluster,
    /// `None`: all of them.
    pub(crate) namespace: Option<String>,
    pub(crate) output: Output,
    pub(crate) paint: Paint,
    pub(crate) hints: Hints,
}

impl Context {
    pub(crate) async fn connect(scope: &Scope) -> anyhow::Result<Context> {
        let cluster = connect(scope.cluster.kubeconfig.as_deref(), scope.cluster.context.as_deref()).await?;
        let namespace = scope.namespace.clone().unwrap_or_else(|| cluster.namespace.clone());
        Ok(Context {
            namespace: (!scope.all_namespaces).then_some(namespace),
            output: scope.output,
            hints: Hints::of(scope),
            paint: Paint::when(
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
            ),
            cluster,
        })
    }

    /// The API of a kind in the namespace of an instance.
    pub(crate) fn beside<K>(&self, instance: &CatalystInstance) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client.clone(), &instance.namespace().unwrap_or_default())
    }

    /// Every instance in scope, ordered by namespace and name.
    pub(crate) async fn instances(&self) -> anyhow::Result<Vec<CatalystInstance>> {
        let api: Api<CatalystInstance> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.cluster.client.clone(), namespace),
            None => Api::all(self.cluster.client.clone()),
        };
        let doing = format!("list the instances {}", self.place());
        let mut instances = self.answered(api.list(&ListParams::default()).await, &doing)?.items;
        instances.sort_by_key(|instance| (instance.namespace(), instance.name_any()));
        Ok(instances)
    }

    /// The instance that is meant.
    pub(crate) async fn instance(&self, which: &Which) -> anyhow::Result<CatalystInstance> {
        let Some(namespace) = &self.namespace else {
            bail!("this command is for one instance: name its namespace (-n) instead of all (-A)");
        };
        let instances = self.instances().await?;
        let names: Vec<_> = instances.iter().map(ResourceExt::name_any).collect();
        let there = if names.is_empty() {
            format!(
                "There is none here; `{}` shows those of all namespaces.",
                self.hints.anywhere("catalyst status -A")
            )
        } else {
            format!("Here are: {}.", names.join(", "))
        };
        match &which.name {
            Some(name) => instances
                .into_iter()
                .find(|instance| instance.name_any() == *name)
                .ok_or_else(|| anyhow!("no CatalystInstance {name} in namespace {namespace}. {there}")),
            None => match <[_; 1]>::try_from(instances) {
                Ok([instance]) => Ok(instance),
                Err(others) if others.is_empty() => bail!("no CatalystInstance in namespace {namespace}. {there}"),
                Err(_) => bail!("which one? {there}"),
            },
        }
    }

    /// Sets an annotation of an instance.
    pub(crate) async fn annotate(&self, instance: &CatalystInstance, key: &str, value: &str) -> anyhow::Result<()> {
        let patch: Value = json!({"metadata": {"annotations": {key: value}}});
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let api: Api<CatalystInstance> = self.beside(instance);
        let outcome = api.patch_metadata(&instance.name_any(), &params, &Patch::Merge(&patch)).await;
        self.answered(outcome, "annotate the CatalystInstance").map(|_| ())
    }

    /// The objects of a kind that carry an instance's label. `None`: the kind is not served, or we may not look.
    pub(crate) async fn labelled<K>(&self, instance: &CatalystInstance) -> anyhow::Result<Option<Vec<K>>>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let selector = format!("{}={}", catalyst_operator::names::INSTANCE_LABEL, instance.name_any());
        match self.beside::<K>(instance).list(&ListParams::default().labels(&selector)).await {
            Ok(list) => Ok(Some(list.items)),
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
            Err(error) => self.answered(Err(error), &format!("list {}", K::plural(&()))),
        }
    }

    /// The value, or the failure in words. `doing` completes "cannot …".
    pub(crate) fn answered<T>(&self, answer: Result<T, kube::Error>, doing: &str) -> anyhow::Result<T> {
        answer.map_err(|error| anyhow!(self.cluster.explain(&error, doing, self.namespace.as_deref())))
    }

    fn place(&self) -> String {
        self.namespace.as_ref().map_or_else(|| "of all namespaces".to_owned(), |name| format!("of namespace {name}"))
    }
}

/// `namespace/name`.
pub(crate) fn place(instance: &CatalystInstance) -> String {
    format!("{}/{}", instance.namespace().unwrap_or_default(), instance.name_any())
}
