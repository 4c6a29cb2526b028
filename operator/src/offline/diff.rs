//! `diff`: what applying a manifest would change in a cluster, found by the API server's own dry run of the very apply that
//! the operator would make. So what others added to an object is no difference, and neither is a default.

use kube::{
    Api,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams},
    core::Status,
};
use serde_json::Value;

use super::{
    cluster::Cluster,
    input::Source,
    manifests::{Manifest, Wanted, wanted},
    stand_in,
    unified::unified,
    yaml::to_yaml,
};
use crate::{
    apply::{APPLIED_ANNOTATION, MANAGER, left_to_scaler},
    build::build,
    crd::CatalystInstance,
    fetch::{FetchError, Fetcher, Read},
    validate::validate,
    validated::{Defaults, Finding, MissingSecret, ValidatedInstance},
};

/// Why the difference cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// The cluster could not be asked, or refused.
    #[error("{0}")]
    Cluster(String),
    /// Something could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The operator would change nothing, because of this.
    #[error("{place}: nothing would be applied: {}", .findings.iter().map(|found| found.message.as_str()).collect::<Vec<_>>().join(" "))]
    Invalid {
        /// The instance and where it was written.
        place: String,
        /// What is wrong.
        findings: Vec<Finding>,
    },
    /// An object cannot be written down; a bug.
    #[error("an object cannot be written as YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// The same.
    #[error("an object cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The differences, as `diff -u` would write them; empty when there are none.
///
/// # Errors
/// See [`DiffError`].
pub async fn diff(
    cluster: &Cluster,
    sources: &[Source],
    namespace: &str,
    defaults: &Defaults,
) -> Result<String, DiffError> {
    let mut text = String::new();
    for source in sources {
        let place = format!("{}, document {}", source.file, source.document);
        text.push_str(&one(cluster, &source.instance, &place, namespace, defaults).await?);
    }
    Ok(text)
}

async fn one(
    cluster: &Cluster,
    written: &CatalystInstance,
    place: &str,
    namespace: &str,
    defaults: &Defaults,
) -> Result<String, DiffError> {
    let mut instance = written.clone();
    let namespace = instance.metadata.namespace.get_or_insert_with(|| namespace.to_owned()).clone();
    let name = instance.metadata.name.clone().unwrap_or_default();
    let fetcher = Fetcher::new(cluster.client.clone());
    let (before, metadata, status) = match fetcher.instance(&namespace, &name).await {
        Ok(None) => (String::new(), ObjectMeta::default(), None),
        Ok(Some(Read::Instance(live))) => (head(&live, Some(written))?, live.metadata, live.status),
        Ok(Some(Read::Malformed { metadata, status, problem })) => {
            (format!("# cannot be read: {problem}\n"), *metadata, status.map(|status| *status))
        }
        Err(FetchError::Api { source, .. }) => {
            return Err(DiffError::Cluster(cluster.explain(&source, "read the instance", Some(&namespace))));
        }
        Err(error) => return Err(error.into()),
    };
    let mut text = show(&format!("CatalystInstance/{namespace}/{name}"), &before, &head(&instance, None)?);
    instance.metadata.uid = Some(metadata.uid.unwrap_or_else(|| stand_in::UID.to_owned()));
    instance.status = status;
    let (fetched, _) = fetcher.everything(&instance, false, None).await?;
    let valid = validate(&instance, &fetched, defaults)
        .map_err(|findings| DiffError::Invalid { place: format!("{place} ({namespace}/{name})"), findings })?;
    for which in valid.missing_secrets() {
        let name = match which {
            MissingSecret::App => &valid.app_secret.secret,
            MissingSecret::SshKey => &valid.ssh.key.secret,
        };
        text.push_str(&show(&format!("Secret/{namespace}/{name}"), "", "# generated at run time\n"));
    }
    let objects = objects(cluster, &valid).await?;
    text.push_str(&objects.text);
    if objects.without_namespace {
        let create = format!("kubectl create namespace {namespace}{}", cluster.flags);
        text.insert_str(0, &format!("# the cluster has no namespace {namespace}: {create}\n"));
    }
    Ok(text)
}

/// Whether the API server knows no such kind: what it does not find besides, such as the namespace, it names.
fn no_such_kind(status: &Status) -> bool {
    status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty())
}

/// The differences of what the operator makes.
struct Objects {
    text: String,
    /// Nothing can be asked of the cluster before it has the namespace.
    without_namespace: bool,
}

async fn objects(cluster: &Cluster, valid: &ValidatedInstance) -> Result<Objects, DiffError> {
    let mut text = String::new();
    let mut without_namespace = false;
    for wanted in wanted(&valid.name, &build(valid))? {
        let (resource, name) = match &wanted {
            Wanted::Object(manifest) => (&manifest.resource, &manifest.name),
            Wanted::Absent { resource, name } => (resource, name),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), &valid.namespace, resource);
        let what = format!("{}/{}/{name}", resource.kind, valid.namespace);
        let failed = |error: &kube::Error, verb: &str| {
            DiffError::Cluster(cluster.explain(error, &format!("{verb} {what}"), Some(&valid.namespace)))
        };
        let live = match api.get_opt(name).await {
            Ok(live) => live,
            // A kind that the cluster does not have.
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(failed(&error, "read")),
        };
        match &wanted {
            Wanted::Absent { .. } => {
                let ours = live.filter(|live| owned(&live.metadata, &valid.owner.uid));
                text.push_str(&show(&what, &ours.map_or_else(|| Ok(String::new()), plain)?, ""));
            }
            Wanted::Object(manifest) => {
                let after = match dry_run(&api, manifest, live.as_ref()).await {
                    Ok(after) => plain(after)?,
                    // Then the operator applies none either, and says so in status.
                    Err(kube::Error::Api(status)) if no_such_kind(&status) => {
                        format!("# not applied: the cluster knows no {} of {}\n", resource.kind, resource.group)
                    }
                    // Not even the namespace is there yet: what is sent is all there is to show.
                    Err(kube::Error::Api(status)) if status.code == 404 && live.is_none() => {
                        without_namespace = true;
                        plain(serde_json::from_value(manifest.object.clone())?)?
                    }
                    Err(error) => return Err(failed(&error, "make a dry run of applying")),
                };
                text.push_str(&show(&what, &live.map_or_else(|| Ok(String::new()), plain)?, &after));
            }
        }
    }
    Ok(Objects { text, without_namespace })
}

/// The object as it would be after the operator's apply; nothing is stored.
///
/// # Errors
/// What the API server answers.
pub(super) async fn dry_run(
    api: &Api<DynamicObject>,
    manifest: &Manifest,
    live: Option<&DynamicObject>,
) -> Result<DynamicObject, kube::Error> {
    let mut object = manifest.object.clone();
    let replicas = object.pointer("/spec/replicas").map(Value::to_string).unwrap_or_default();
    if left_to_scaler(live.map(|live| &live.metadata), &replicas)
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.remove("replicas");
    }
    let mut params = PatchParams::apply(MANAGER).force();
    params.dry_run = true;
    api.patch(&manifest.name, &params, &Patch::Apply(&object)).await
}

fn owned(metadata: &ObjectMeta, uid: &str) -> bool {
    let references = metadata.owner_references.iter().flatten();
    references.into_iter().any(|reference| reference.controller == Some(true) && reference.uid == uid)
}

/// What a person means by the instance: its spec, and those labels and annotations that the manifest sets too.
fn head(instance: &CatalystInstance, only: Option<&CatalystInstance>) -> Result<String, DiffError> {
    let pick = |all: &Option<std::collections::BTreeMap<String, String>>, of: fn(&CatalystInstance) -> Vec<&String>| {
        let kept = only.map(of);
        let wanted = |key: &String| kept.as_ref().is_none_or(|kept| kept.contains(&key));
        all.iter()
            .flatten()
            .filter(|(key, _)| wanted(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let labels =
        pick(&instance.metadata.labels, |only| only.metadata.labels.iter().flatten().map(|(key, _)| key).collect());
    let annotations = pick(&instance.metadata.annotations, |only| {
        only.metadata.annotations.iter().flatten().map(|(key, _)| key).collect()
    });
    let mut head = serde_json::Map::new();
    for (key, map) in [("labels", labels), ("annotations", annotations)] {
        if !map.is_empty() {
            head.insert(key.to_owned(), serde_json::to_value(map)?);
        }
    }
    head.insert("spec".to_owned(), serde_json::to_value(&instance.spec)?);
    Ok(to_yaml(&head)?)
}

/// An object as YAML without what changes with every write, and without the operator's own notes.
fn plain(mut object: DynamicObject) -> Result<String, DiffError> {
    let metadata = &mut object.metadata;
    let references = metadata.owner_references.take().unwrap_or_default();
    let kept: Vec<_> = references.into_iter().filter(|reference| reference.uid != stand_in::UID).collect();
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    annotations.retain(|key, _| !key.starts_with(APPLIED_ANNOTATION));
    object.metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        labels: metadata.labels.take(),
        annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
        owner_references: Some(kept).filter(|kept| !kept.is_empty()),
        ..ObjectMeta::default()
    };
    if let Some(members) = object.data.as_object_mut() {
        members.remove("status");
    }
    Ok(to_yaml(&object)?)
}

fn show(what: &str, before: &str, after: &str) -> String {
    unified(&format!("live/{what}"), before, &format!("wanted/{what}"), after)
}
