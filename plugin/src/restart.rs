//! `restart`: replaces the pods as `kubectl rollout restart` does; the operator leaves that annotation in place.

use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    args::Which,
    context::{Context, MANAGER, place},
};

/// The annotation of the pod template that kubectl changes for this.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// Begins the rollout.
pub(crate) async fn run(context: &Context, which: &Which) -> anyhow::Result<bool> {
    let instance = context.instance(which).await?;
    let name = instance.name_any();
    let api: Api<Deployment> = context.beside(&instance);
    if context.answered(api.get_metadata_opt(&name).await, "read the Deployment")?.is_none() {
        bail!("{} has no Deployment yet; `{}` says why", place(&instance), context.hints.ours("status", &instance));
    }
    let now = k8s_openapi::jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let outcome = api.patch_metadata(&name, &params, &Patch::Merge(&patch)).await;
    context.answered(outcome, "restart the Deployment")?;
    println!(
        "The pods of {} are replaced one by one. Follow it: {}",
        place(&instance),
        context.hints.beside(&format!("rollout status deployment/{name}"), &instance)
    );
    Ok(true)
}
