//! `upgrade-preview`: which pods a change to this version of the operator would restart, and why. For every instance the pod
//! template that this version builds is put, as a dry run, in the place of the one that runs.

use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    cluster::Cluster,
    diff::{DiffError, dry_run},
    manifests::{Wanted, wanted},
    paths::differences,
};
use crate::{
    build::build,
    crd::CatalystInstance,
    fetch::{Fetcher, Read},
    validate::validate,
    validated::Defaults,
};

/// What would become of one instance's pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// Namespace of the instance.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Pods that run now.
    pub pods: i64,
    /// What would happen.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What would happen to the pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "fate", content = "why")]
pub enum Fate {
    /// Nothing.
    Stay,
    /// They are replaced, one by one; the fields of the pod template that change.
    Restart(Vec<String>),
    /// Nothing, because this version would change nothing of the instance until that is corrected.
    Untouched(String),
}

/// The preview of every instance in `namespace` (all namespaces if `None`), ordered by namespace and name.
///
/// # Errors
/// The cluster could not be asked.
pub async fn preview(
    cluster: &Cluster,
    namespace: Option<&str>,
    defaults: &Defaults,
) -> Result<Vec<Preview>, DiffError> {
    let resource = ApiResource::erase::<CatalystInstance>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    };
    let failed = |error: &kube::Error, doing: &str| DiffError::Cluster(cluster.explain(error, doing, namespace));
    let listed = api.list(&ListParams::default()).await.map_err(|error| failed(&error, "list the instances"))?;
    let fetcher = Fetcher::new(cluster.client.clone());
    let mut previews = Vec::new();
    for found in listed.items {
        let (name, namespace) = (found.metadata.name.unwrap_or_default(), found.metadata.namespace.unwrap_or_default());
        let (pods, fate) = match fetcher.instance(&namespace, &name).await? {
            None => continue,
            Some(Read::Malformed { problem, .. }) => (0, Fate::Untouched(format!("it cannot be read: {problem}"))),
            Some(Read::Instance(instance)) => fate(cluster, &fetcher, &instance, defaults).await?,
        };
        previews.push(Preview { namespace, name, pods, fate });
    }
    previews.sort_by(|one, other| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)));
    Ok(previews)
}

async fn fate(
    cluster: &Cluster,
    fetcher: &Fetcher,
    instance: &CatalystInstance,
    defaults: &Defaults,
) -> Result<(i64, Fate), DiffError> {
    let (fetched, _) = fetcher.everything(instance, false, None).await?;
    let pods = fetched.deployment.as_ref().map_or(0, |deployment| i64::from(deployment.replicas));
    let valid = match validate(instance, &fetched, defaults) {
        Ok(valid) => valid,
        Err(findings) => {
            let words: Vec<_> = findings.into_iter().map(|found| found.message).collect();
            return Ok((pods, Fate::Untouched(words.join(" "))));
        }
    };
    for wanted in wanted(&valid.name, &build(&valid))? {
        let Wanted::Object(manifest) = wanted else { continue };
        if manifest.resource.kind != "Deployment" {
            continue;
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client.clone(), &valid.namespace, &manifest.resource);
        let what = format!("Deployment {}/{}", valid.namespace, valid.name);
        let failed = |error: &kube::Error, verb: &str| {
            DiffError::Cluster(cluster.explain(error, &format!("{verb} {what}"), Some(&valid.namespace)))
        };
        let Some(live) = api.get_opt(&manifest.name).await.map_err(|error| failed(&error, "read"))? else {
            return Ok((pods, Fate::Stay));
        };
        let after = dry_run(&api, &manifest, Some(&live))
            .await
            .map_err(|error| failed(&error, "make a dry run of applying"))?;
        let template = |object: &DynamicObject| object.data.pointer("/spec/template").cloned().unwrap_or(Value::Null);
        let changes = differences("", &template(&live), &template(&after));
        return Ok((pods, if changes.is_empty() { Fate::Stay } else { Fate::Restart(changes) }));
    }
    Ok((pods, Fate::Stay))
}

/// The previews for people.
#[must_use]
pub fn text(previews: &[Preview]) -> String {
    let restarting = previews.iter().filter(|preview| matches!(preview.fate, Fate::Restart(_))).count();
    let mut text = format!(
        "catalyst-operator {}: the pods of {restarting} of {} instances would restart.\n",
        env!("CARGO_PKG_VERSION"),
        previews.len()
    );
    for Preview { namespace, name, pods, fate } in previews {
        let (word, reasons) = match fate {
            Fate::Stay => ("stay".to_owned(), &[][..]),
            Fate::Restart(changes) => (format!("restart ({pods})"), changes.as_slice()),
            Fate::Untouched(why) => ("untouched".to_owned(), std::slice::from_ref(why)),
        };
        text.push_str(&format!("{namespace}/{name}: {word}\n"));
        reasons.iter().for_each(|reason| text.push_str(&format!("    {reason}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_how_many_restart_and_why() {
        let preview = |name: &str, fate| Preview { namespace: "team".into(), name: name.into(), pods: 2, fate };
        let previews = [
            preview("a", Fate::Stay),
            preview("b", Fate::Restart(vec!["spec.containers[catalyst].image: x → y".into()])),
            preview("c", Fate::Untouched("Secret s does not exist.".into())),
        ];
        let told = text(&previews);
        assert!(told.contains("the pods of 1 of 3 instances would restart."), "{told}");
        assert!(told.contains("team/b: restart (2)\n    spec.containers[catalyst].image: x → y\n"), "{told}");
        assert_eq!(serde_json::to_value(&previews[0]).unwrap()["fate"], "stay");
    }
}
