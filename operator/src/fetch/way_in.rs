//! What leads to an instance: the route, and what of the cluster an Ingress or a route needs.

use std::{
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::networking::v1::IngressClass as ApiIngressClass;
use kube::{
    Api, Client,
    api::{DynamicObject, GetParams, ListParams},
    core::ApiResource,
};

use super::{FetchError, Fetcher, Known, bounded, view};
use crate::{build::HTTPRoute, live::Kinded, observed::IngressClass, words::words};

/// IngressClasses are not watched: the operator may be confined to namespaces. Many passes at once share one list.
const CLASSES_LISTED_EVERY: Duration = Duration::from_secs(5);

/// When IngressClasses were listed, and which there were.
pub(super) type Listed = (Instant, Vec<IngressClass>);

impl Fetcher {
    /// The route, whatever somebody else made of it: what we set is read by nobody. Where none is wanted and the kind is not
    /// watched, none is looked for: when the watch comes, it tells.
    pub(super) async fn route(
        &self,
        namespace: &str,
        name: &str,
        wanted: bool,
    ) -> Result<Option<DynamicObject>, FetchError> {
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
    pub(super) async fn gateway_api(&self, wanted: bool) -> Result<Option<bool>, FetchError> {
        if !wanted {
            return Ok(None);
        }
        Ok(Some(bounded("the Gateway API", served::<HTTPRoute>(&self.client)).await?))
    }

    /// `None`: none is wanted. `Err`: the API server's words, where RBAC is narrowed to namespaces; that keeps nothing from working.
    pub(super) async fn ingress_classes(
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

fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}
