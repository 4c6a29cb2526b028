//! The cluster, the CRD, the operator, and IngressClasses.

use catalyst_operator::{
    crd::{self, CatalystInstance},
    names::References,
};
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::EnvVar, networking::v1::IngressClass},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
    },
};
use kube::{Api, ResourceExt, api::ListParams};

use super::{Check, names, unseen};
use crate::{
    context::{Context, place},
    report::Mark,
};

/// The name of the check of the CRD.
pub(super) const CRD: &str = "CRD";
/// The oldest Kubernetes that is supported, 1.x.
const OLDEST: u32 = 33;
/// How the operator's Deployment is labelled.
const OPERATOR: &str = "app.kubernetes.io/name=catalyst-operator";

pub(super) async fn api_server(context: &Context) -> anyhow::Result<Check> {
    let version = context.answered(context.cluster.client.apiserver_version().await, "ask for the version")?;
    let minor: u32 =
        version.minor.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or_default();
    let found = format!("Kubernetes {}.{minor} at {}", version.major, context.cluster.url);
    let mark = if minor >= OLDEST { Mark::Good } else { Mark::Bad };
    Ok(Check::new("API server", mark, found, format!("The operator needs Kubernetes 1.{OLDEST} or newer.")))
}

pub(super) async fn crd(context: &Context) -> anyhow::Result<Check> {
    let api: Api<CustomResourceDefinition> = Api::all(context.cluster.client.clone());
    let Some(ours) = crd::all().into_iter().next() else { anyhow::bail!("this plugin knows no CRD") };
    let live = match unseen(context, CRD, api.get_opt(&ours.name_any()).await)? {
        Ok(live) => live,
        Err(check) => return Ok(check),
    };
    let apply = format!("catalyst-operator crds | {}", context.hints.anywhere("apply --server-side -f -"));
    let Some(live) = live else {
        return Ok(Check::new(
            CRD,
            Mark::Bad,
            format!("{} is not installed", ours.name_any()),
            format!("Install it: {apply}"),
        ));
    };
    let established = live.status.as_ref().is_some_and(|status| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Established" && condition.status == "True")
    });
    if !established {
        let remedy = format!("See {}", context.hints.anywhere(&format!("describe crd {}", ours.name_any())));
        return Ok(Check::new(CRD, Mark::Bad, "it is installed but not served", remedy));
    }
    Ok(compared(&ours, &live, &apply))
}

/// The CRD that is installed beside ours, by their fields; `apply`: the command that installs ours.
fn compared(ours: &CustomResourceDefinition, live: &CustomResourceDefinition, apply: &str) -> Check {
    let (ours, theirs) = (fields(ours), fields(live));
    let missing: Vec<_> = ours.iter().filter(|field| !theirs.contains(field)).map(String::as_str).collect();
    let more = theirs.iter().any(|field| !ours.contains(field));
    match (missing.as_slice(), more) {
        ([], false) => Check::new(CRD, Mark::Good, "installed, with the fields of this version", ""),
        ([], true) => {
            let remedy = "Use the plugin of the operator's version.";
            Check::new(CRD, Mark::Warning, "it is newer than this plugin", remedy)
        }
        (missing, _) => {
            let some = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            let found = format!("it is older than this plugin: it lacks {} fields, such as {some}", missing.len());
            Check::new(CRD, Mark::Warning, found, format!("With the operator of this version, apply its CRD: {apply}"))
        }
    }
}

/// Paths of all fields.
fn fields(crd: &CustomResourceDefinition) -> Vec<String> {
    let mut paths = Vec::new();
    for version in crd.spec.versions.iter().filter(|version| version.name == crd::VERSION) {
        if let Some(root) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) {
            walk(root, "", &mut paths);
        }
    }
    paths
}

fn walk(schema: &JSONSchemaProps, path: &str, paths: &mut Vec<String>) {
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &schema.items {
        walk(item, &format!("{path}[]"), paths);
    }
    for (key, property) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        walk(property, &path, paths);
        // Those of every object; a server may or may not list them.
        if !["apiVersion", "kind", "metadata"].contains(&path.as_str()) {
            paths.push(path);
        }
    }
}

/// The operator's Deployment, and the service account that it runs as.
pub(super) struct Operator {
    pub(super) check: Check,
    pub(super) account: Option<Account>,
}

/// As what the operator runs, and where it looks.
pub(super) struct Account {
    /// `namespace:name`, as in `system:serviceaccount:namespace:name`.
    pub(super) user: String,
    /// The namespaces that it is told to watch; `None`: all. Empty where they are told in a way that cannot be followed.
    pub(super) watched: Option<Vec<String>>,
    /// The namespace that it runs in.
    pub(super) namespace: String,
    /// Whether it is told the networks of pods and Services, which it otherwise has to read from the cluster.
    pub(super) networks_given: bool,
}

pub(super) async fn operator(context: &Context) -> anyhow::Result<Operator> {
    const WHAT: &str = "operator";
    let api: Api<Deployment> = Api::all(context.cluster.client.clone());
    let found = match unseen(context, WHAT, api.list(&ListParams::default().labels(OPERATOR)).await)? {
        Ok(found) => found.items,
        Err(check) => return Ok(Operator { check, account: None }),
    };
    let Some(deployment) = found.first() else {
        let install = context.hints.anywhere("apply --server-side -k config");
        let found = format!("no Deployment is labelled {OPERATOR}");
        let remedy = format!("Install it: {install} (in a checkout of the release), or the Helm chart.");
        return Ok(Operator { check: Check::new(WHAT, Mark::Bad, found, remedy), account: None });
    };
    let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
    let status = deployment.status.clone().unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let image = pod.and_then(|pod| pod.containers.first()?.image.clone()).unwrap_or_default();
    let account = pod.and_then(|pod| pod.service_account_name.clone()).unwrap_or_else(|| "default".to_owned());
    let pods = if available == 1 { "pod" } else { "pods" };
    let words = format!("{namespace}/{name} ({image}), {available} {pods} available");
    let check = if found.len() > 1 {
        let remedy = "Remove all but one: two with their own Leases would write against each other.";
        Check::new(WHAT, Mark::Warning, format!("there are {}: {}", found.len(), names(&found)), remedy)
    } else if available < 1 {
        let see = |words: &str| context.hints.anywhere(&format!("-n {namespace} {words}{name}"));
        let remedy = format!("See why: {}; {}", see("describe deployment "), see("logs deployment/"));
        Check::new(WHAT, Mark::Bad, words, remedy)
    } else {
        Check::new(WHAT, Mark::Good, words, "")
    };
    let given = |name: &str| {
        let variables = pod.and_then(|pod| pod.containers.first()).and_then(|container| container.env.as_ref());
        let variable = variables.into_iter().flatten().find(|variable| variable.name == name);
        variable.filter(|it| it.value_from.is_some() || it.value.as_ref().is_some_and(|value| !value.trim().is_empty()))
    };
    let account = Account {
        user: format!("{namespace}:{account}"),
        watched: given("WATCH_NAMESPACES").map(|variable| watched(variable, &namespace)),
        networks_given: given("CLUSTER_CIDRS").is_some(),
        namespace,
    };
    Ok(Operator { check, account: Some(account) })
}

/// The namespaces that the operator in `own` is told to watch.
fn watched(variable: &EnvVar, own: &str) -> Vec<String> {
    if let Some(value) = &variable.value {
        let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
        return names.map(str::to_owned).collect();
    }
    let field = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
    field.filter(|field| field.field_path == "metadata.namespace").map(|_| own.to_owned()).into_iter().collect()
}

pub(super) async fn ingress_classes(context: &Context, instances: &[CatalystInstance]) -> anyhow::Result<Vec<Check>> {
    const WHAT: &str = "IngressClass";
    let wanting: Vec<_> = instances.iter().filter(|instance| References::of(instance).ingress_host.is_some()).collect();
    if wanting.is_empty() {
        return Ok(Vec::new());
    }
    let api: Api<IngressClass> = Api::all(context.cluster.client.clone());
    let classes = match unseen(context, WHAT, api.list_metadata(&ListParams::default()).await)? {
        Ok(classes) => classes.items,
        Err(check) => return Ok(vec![check]),
    };
    let there = names(&classes);
    let missing: Vec<String> = wanting
        .iter()
        .filter_map(|instance| {
            let class = instance.spec.ingress.as_ref()?.class_name.as_deref().unwrap_or("nginx");
            (!classes.iter().any(|known| known.name_any() == class))
                .then(|| format!("{class} (of {})", place(instance)))
        })
        .collect();
    Ok(vec![if missing.is_empty() {
        Check::new(WHAT, Mark::Good, format!("all that are used exist: {there}"), "")
    } else {
        let remedy = format!("Install that ingress controller, or set spec.ingress.className to one of: {there}.");
        Check::new(WHAT, Mark::Bad, format!("missing: {}", missing.join(", ")), remedy)
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ours, of another version: without some field of its spec, and with another.
    fn crd(without: Option<&str>, with: Option<&str>) -> CustomResourceDefinition {
        let mut crd = crd::all().remove(0);
        let root = crd.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        let spec = root.properties.as_mut().unwrap().get_mut("spec").unwrap().properties.as_mut().unwrap();
        if let Some(name) = without {
            assert!(spec.remove(name).is_some());
        }
        if let Some(name) = with {
            spec.insert(name.to_owned(), JSONSchemaProps::default());
        }
        crd
    }

    #[test]
    fn a_crd_of_another_version_is_told_with_the_fields_that_it_lacks() {
        let told = |live: &CustomResourceDefinition| {
            let Check { mark, found, remedy, .. } = compared(&crd(None, None), live, "APPLY");
            (mark, format!("{found}. {remedy}"))
        };
        assert_eq!(told(&crd(None, None)), (Mark::Good, "installed, with the fields of this version. ".to_owned()));
        let newer = "it is newer than this plugin. Use the plugin of the operator's version.";
        assert_eq!(told(&crd(None, Some("another"))), (Mark::Warning, newer.to_owned()));
        for live in [crd(Some("suspend"), None), crd(Some("suspend"), Some("another"))] {
            let (mark, words) = told(&live);
            assert_eq!(mark, Mark::Warning);
            assert!(words.contains("it lacks 1 fields, such as spec.suspend. With the operator"), "{words}");
            assert!(words.ends_with("apply its CRD: APPLY"), "{words}");
        }
    }
}
