//! `status`: reads an instance's objects and tells how each is.

use catalyst_operator::{args::Output, build::HTTPRoute, crd::CatalystInstance, names::References};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::{ResourceExt, api::ListParams};

use crate::{
    args::Which,
    context::Context,
    report::{self, InstanceReport, Mark, ObjectReport},
    tree,
};

/// Whether every instance is well.
pub(crate) async fn run(context: &Context, which: &Which) -> anyhow::Result<bool> {
    let instances = match (&which.name, &context.namespace) {
        (Some(_), _) => vec![context.instance(which).await?],
        (None, _) => context.instances().await?,
    };
    if instances.is_empty() && context.output == Output::Text {
        // As an error when one is meant; here it is an answer.
        let place =
            context.namespace.as_ref().map_or_else(String::new, |name| format!(" in namespace {name} (-A shows all)"));
        println!("No CatalystInstance{place}.");
        return Ok(true);
    }
    let mut reports = Vec::new();
    for instance in &instances {
        let mut report = report::of(instance, &context.hints);
        report.objects = objects(context, instance).await?;
        reports.push(report);
    }
    match context.output {
        Output::Text => print!("{}", tree::text(&reports, context.paint)),
        Output::Json => println!("{}", serde_json::to_string_pretty(&serde_json::json!({"instances": reports}))?),
    }
    Ok(reports.iter().all(well))
}

fn well(report: &InstanceReport) -> bool {
    matches!(report.mark, Mark::Good | Mark::Warning)
}

async fn objects(context: &Context, instance: &CatalystInstance) -> anyhow::Result<Vec<ObjectReport>> {
    let pods: Vec<_> = context.labelled::<Pod>(instance).await?.unwrap_or_default().iter().map(pod).collect();
    let mut objects = Vec::new();
    for found in context.labelled::<Deployment>(instance).await?.unwrap_or_default() {
        objects.push(ObjectReport { below: pods.clone(), ..deployment(&found) });
    }
    if objects.is_empty() {
        objects.extend(pods);
    }
    for found in context.labelled::<Service>(instance).await?.unwrap_or_default() {
        objects.push(plain("Service", &found, service(&found)));
    }
    for found in context.labelled::<Ingress>(instance).await?.unwrap_or_default() {
        objects.push(plain("Ingress", &found, ingress(&found)));
    }
    for found in context.labelled::<HTTPRoute>(instance).await?.unwrap_or_default() {
        objects.push(plain("HTTPRoute", &found, route(&found)));
    }
    for found in context.labelled::<NetworkPolicy>(instance).await?.unwrap_or_default() {
        objects.push(plain("NetworkPolicy", &found, String::new()));
    }
    for found in context.labelled::<PodDisruptionBudget>(instance).await?.unwrap_or_default() {
        objects.push(plain("PodDisruptionBudget", &found, String::new()));
    }
    for found in context.labelled::<ConfigMap>(instance).await?.unwrap_or_default() {
        objects.push(plain("ConfigMap", &found, String::new()));
    }
    objects.extend(secrets(context, instance).await?);
    Ok(objects)
}

/// Names of the Secrets that are used; never what they hold.
async fn secrets(context: &Context, instance: &CatalystInstance) -> anyhow::Result<Vec<ObjectReport>> {
    let references = References::of(instance);
    let listed = match context.beside::<Secret>(instance).list_metadata(&ListParams::default()).await {
        Ok(listed) => Some(listed.items),
        Err(kube::Error::Api(status)) if status.code == 403 => None,
        Err(error) => return context.answered(Err(error), "list Secrets"),
    };
    let uid = instance.metadata.uid.as_deref();
    let used = [
        (references.app_secret, "to sign in", references.app_is_given),
        (references.ssh_key, "SSH key", references.key_is_given),
    ];
    Ok(used
        .into_iter()
        .map(|(name, purpose, given)| {
            let found = listed.as_ref().map(|all| all.iter().find(|secret| secret.name_any() == name));
            let (mark, whose) = match found {
                None => (Mark::Unknown, "you may not list Secrets"),
                Some(None) if given => (Mark::Bad, "missing"),
                Some(None) => (Mark::Waiting, "not generated yet"),
                Some(Some(secret)) if secret.owner_references().iter().any(|owner| Some(owner.uid.as_str()) == uid) => {
                    (Mark::Good, "generated")
                }
                Some(Some(_)) => (Mark::Good, "yours"),
            };
            ObjectReport { kind: "Secret".into(), name, mark, detail: format!("{whose}, {purpose}"), below: Vec::new() }
        })
        .collect())
}

fn plain(kind: &str, object: &impl ResourceExt, detail: String) -> ObjectReport {
    ObjectReport { kind: kind.to_owned(), name: object.name_any(), mark: Mark::Good, detail, below: Vec::new() }
}

fn deployment(deployment: &Deployment) -> ObjectReport {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let (ready, updated) = (status.ready_replicas.unwrap_or_default(), status.updated_replicas.unwrap_or_default());
    let refused = status.conditions.iter().flatten().find(|one| one.type_ == "ReplicaFailure" && one.status == "True");
    let image =
        deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()?.containers.first()?.image.clone());
    let mut detail = format!("{ready}/{wanted} ready, {}", image.unwrap_or_default());
    let mark = match refused {
        Some(refused) => {
            detail.push_str(&format!(": {}", refused.message.as_deref().unwrap_or_default()));
            Mark::Bad
        }
        None if ready >= wanted && updated >= wanted => Mark::Good,
        None => Mark::Waiting,
    };
    ObjectReport { detail, mark, ..plain("Deployment", deployment, String::new()) }
}

fn pod(pod: &Pod) -> ObjectReport {
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
    let container = status.container_statuses.iter().flatten().next();
    let restarts = container.map_or(0, |container| container.restart_count);
    let waiting = container.and_then(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let unschedulable =
        status.conditions.iter().flatten().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    let mut words = vec![match (&waiting, pod.metadata.deletion_timestamp.is_some()) {
        (_, true) => "Terminating".to_owned(),
        (Some(reason), false) => reason.clone(),
        (None, false) => status.phase.clone().unwrap_or_default(),
    }];
    if !ready {
        words.push("not ready".to_owned());
    }
    if restarts > 0 {
        words.push(format!("{restarts} restarts"));
    }
    words.extend(unschedulable.and_then(|one| one.message.clone()));
    let mark = match (ready, waiting.as_deref(), unschedulable.is_some()) {
        (true, ..) => Mark::Good,
        (false, Some("ContainerCreating" | "PodInitializing") | None, false) => Mark::Waiting,
        _ => Mark::Bad,
    };
    ObjectReport { mark, ..plain("Pod", pod, words.join(", ")) }
}

fn service(service: &Service) -> String {
    let spec = service.spec.clone().unwrap_or_default();
    let ports: Vec<_> = spec.ports.iter().flatten().map(|port| port.port.to_string()).collect();
    format!("{} port {}", spec.type_.unwrap_or_default(), ports.join(", "))
}

fn ingress(ingress: &Ingress) -> String {
    let spec = ingress.spec.clone().unwrap_or_default();
    let hosts: Vec<_> = spec.rules.iter().flatten().filter_map(|rule| rule.host.clone()).collect();
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let addresses: Vec<_> =
        balancer.into_iter().flatten().filter_map(|at| at.ip.clone().or(at.hostname.clone())).collect();
    let at = if addresses.is_empty() { String::new() } else { format!(" at {}", addresses.join(", ")) };
    format!("{} by {}{at}", hosts.join(", "), spec.ingress_class_name.unwrap_or_default())
}

fn route(route: &HTTPRoute) -> String {
    let parents: Vec<_> = route.spec.parent_refs.iter().map(|parent| parent.name.as_str()).collect();
    format!("{} by {}", route.spec.hostnames.join(", "), parents.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(status: Value) -> (Mark, String) {
        let ObjectReport { mark, detail, .. } =
            pod(&serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap());
        (mark, detail)
    }

    #[test]
    fn a_pod_says_why_it_does_not_run() {
        let container = |state: Value, restarts: i32| json!([{"name": "catalyst", "image": "i", "imageID": "", "ready": false, "restartCount": restarts, "state": state}]);
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        assert_eq!(
            seen(json!({"phase": "Pending", "containerStatuses": container(waiting("ImagePullBackOff"), 0)})),
            (Mark::Bad, "ImagePullBackOff, not ready".into())
        );
        assert_eq!(
            seen(json!({"phase": "Running", "containerStatuses": container(waiting("CrashLoopBackOff"), 3)})),
            (Mark::Bad, "CrashLoopBackOff, not ready, 3 restarts".into())
        );
        assert_eq!(
            seen(json!({"phase": "Pending", "containerStatuses": container(waiting("ContainerCreating"), 0)})).0,
            Mark::Waiting
        );
        let full = json!([{"type": "PodScheduled", "status": "False", "message": "0/1 nodes"}]);
        assert_eq!(
            seen(json!({"phase": "Pending", "conditions": full})),
            (Mark::Bad, "Pending, not ready, 0/1 nodes".into())
        );
        let ready = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(seen(json!({"phase": "Running", "conditions": ready})), (Mark::Good, "Running".into()));
    }
}
