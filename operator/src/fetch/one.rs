//! One object, from the API server's cache where it is known how new the answer has to be.

use std::future::Future;

use kube::{
    Api,
    api::{GetParams, ObjectMeta},
};

use super::{FetchError, Fetcher, bounded};
use crate::live::Kinded;

impl Fetcher {
    pub(super) async fn get<K: Kinded>(&self, namespace: &str, name: &str) -> Result<Option<K>, FetchError> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let read = |params: GetParams| {
            let api = api.clone();
            async move { api.get_with(name, &params).await }
        };
        self.not_older(K::KIND, &format!("{} {name}", K::KIND), read).await
    }

    pub(super) async fn metadata<K: Kinded>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ObjectMeta>, FetchError> {
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
    pub(super) async fn child<K: Kinded>(
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
    pub(super) async fn not_older<T, F: Future<Output = Result<T, kube::Error>>>(
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

/// Whether the API server's cache did not come to the version that was asked for within the time that the server gives it.
fn is_not_reached(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 504)
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
