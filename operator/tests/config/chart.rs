//! The Helm chart installs what `config/` installs. What needs no value is made from `config/`; the rest is filled in as Helm does
//! it, by the engine that Helm has, and compared.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use catalyst_operator::crd;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{known_variables, read};

const GENERATED: &str = "# Generated from config/ and crds/ by `make generate`. Do not edit.\n";
/// Where `config/` installs the operator.
const NAMESPACE: &str = "catalyst-system";
/// What is of no namespace, of what the operator reads: that it is not more shows where it has rights in its namespace alone.
const OF_THE_CLUSTER: [&str; 3] = ["ingressclasses", "servicecidrs", "nodes"];

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/catalyst-operator")
}

fn template(name: &str) -> PathBuf {
    chart().join("templates").join(name)
}

fn assert_generated(name: &str, wanted: &str) {
    let path = template(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "charts/…/{name} is not what config/ says now: run `make generate` and commit it");
}

/// The objects in a text.
fn objects(text: &str) -> Vec<Value> {
    let objects = serde_yaml::Deserializer::from_str(text).map(|object| Value::deserialize(object).unwrap());
    objects.filter(|object| !object.is_null()).collect()
}

/// The first document of a file.
fn first_document(text: &str) -> &str {
    text.split("\n---\n").next().unwrap().trim_end()
}

/// What Helm makes of these templates with `given` in the place of some of the chart's values.
fn filled_in<const N: usize>(given: &Value, templates: [&str; N]) -> [String; N] {
    let text = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let mut values: Value = serde_yaml::from_str(&text).unwrap();
    for (key, value) in given.as_object().unwrap() {
        *values.get_mut(key).unwrap_or_else(|| panic!("values.yaml has no {key}")) = value.clone();
    }
    let about: Value = serde_yaml::from_str(&std::fs::read_to_string(chart().join("Chart.yaml")).unwrap()).unwrap();
    let input =
        json!({"Values": values, "Release": {"Namespace": NAMESPACE}, "Chart": {"AppVersion": about["appVersion"]}});
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/render.go");
    let mut command = Command::new("go");
    command.arg("run").arg(program).args(templates.map(template));
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let filled: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    filled.try_into().unwrap()
}

#[test]
fn the_charts_rights_are_those_of_config() {
    let roles = [read("rbac/operator.yaml"), read("rbac/leader-election.yaml")];
    let mut wanted = GENERATED.to_owned();
    for role in &roles {
        wanted.push_str(&format!("{}\n---\n", first_document(role)));
    }
    wanted.push_str(&read("rbac/users.yaml"));
    assert!(!wanted.contains("{{"), "helm would read it as a template");
    assert_generated("roles.yaml", &wanted);
}

#[test]
fn the_charts_crds_are_those_of_the_code_and_outlive_it() {
    let crds = crd::manifests().unwrap();
    assert!(!crds.contains("{{"), "helm would read it as a template");
    let documents = crds.split_once("---\n").unwrap().1;
    let kept = documents.replace("\nmetadata:\n", "\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n");
    assert_eq!(kept.matches("resource-policy: keep").count(), crd::all().len());
    assert_generated("crds.yaml", &format!("{GENERATED}{{{{- if .Values.crds.install }}}}\n{kept}{{{{- end }}}}\n"));
}

#[test]
fn the_charts_warnings_are_those_of_config() {
    let warnings = read("admission/warnings.yaml");
    assert!(!warnings.contains("{{"), "helm would read it as a template");
    let wanted = format!("{GENERATED}{{{{- if .Values.admissionWarnings }}}}\n{warnings}{{{{- end }}}}\n");
    assert_generated("admission.yaml", &wanted);
}

#[test]
fn with_the_values_of_the_chart_it_installs_what_config_installs() {
    let names =
        ["deployment.yaml", "service.yaml", "service-account.yaml", "bindings.yaml", "crds.yaml", "admission.yaml"];
    let [deployment, service, account, bindings, crds, warnings] = filled_in(&json!({}), names);
    let in_namespace = |text: String| {
        let mut objects = objects(&text);
        for object in &mut objects {
            object["metadata"]["namespace"] = json!(NAMESPACE);
        }
        objects
    };
    let of_version = |image: &str| json!(format!("{image}:{}", env!("CARGO_PKG_VERSION")));
    let mut wanted = in_namespace(read("operator/deployment.yaml"));
    let container = &mut wanted[0]["spec"]["template"]["spec"]["containers"][0];
    // As the kustomization's `images` has it, and as it is where nobody says otherwise.
    container["image"] = of_version("catalyst-operator");
    container["imagePullPolicy"] = json!("IfNotPresent");
    let variables = container["env"].as_array_mut().unwrap();
    variables.iter_mut().find(|variable| variable["name"] == "PROXY_IMAGE").unwrap()["value"] =
        of_version("catalyst-proxy");
    assert_eq!(objects(&deployment), wanted);
    assert_eq!(objects(&service), in_namespace(read("operator/service.yaml")));
    assert_eq!(objects(&account), in_namespace(read("rbac/service-account.yaml")));

    let of_kind = |file: &str, kind: &str| objects(&read(file)).into_iter().find(|it| it["kind"] == kind).unwrap();
    let mut leader = of_kind("rbac/leader-election.yaml", "RoleBinding");
    leader["metadata"]["namespace"] = json!(NAMESPACE);
    assert_eq!(objects(&bindings), [of_kind("rbac/operator.yaml", "ClusterRoleBinding"), leader]);
    assert_eq!(objects(&crds).len(), crd::all().len());
    assert_eq!(objects(&warnings), objects(&read("admission/warnings.yaml")));
    let [crds, warnings] =
        filled_in(&json!({"crds": {"install": false}, "admissionWarnings": false}), ["crds.yaml", "admission.yaml"]);
    assert!(objects(&crds).is_empty() && objects(&warnings).is_empty(), "{crds}{warnings}");
}

/// Verbs and what they are for, of the rules of a role.
fn rights(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let of = |key: &str| rule[key].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
        for (group, resource) in of("apiGroups").flat_map(|group| of("resources").map(move |it| (group.clone(), it))) {
            rights.extend(of("verbs").map(|verb| format!("{verb} {resource} of {group:?}")));
        }
    }
    rights
}

#[test]
fn for_some_namespaces_the_role_is_bound_there_and_only_what_is_of_none_is_granted_in_the_whole_cluster() {
    let [bindings, deployment] =
        filled_in(&json!({"watchNamespaces": ["a", "b"]}), ["bindings.yaml", "deployment.yaml"]);
    let bindings = objects(&bindings);
    let role = bindings.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
    let whole = objects(&read("rbac/operator.yaml")).into_iter().find(|it| it["kind"] == "ClusterRole").unwrap();
    let of_none = |right: &String| OF_THE_CLUSTER.iter().any(|resource| right.contains(&format!(" {resource} ")));
    let wanted: BTreeSet<String> = rights(&whole).into_iter().filter(of_none).collect();
    assert_eq!((rights(role), wanted.len()), (wanted, OF_THE_CLUSTER.len()));

    let account = json!([{"kind": "ServiceAccount", "name": "catalyst-operator", "namespace": NAMESPACE}]);
    let mut bound = Vec::new();
    for binding in bindings.iter().filter(|object| object.get("roleRef").is_some()) {
        assert_eq!(binding["subjects"], account, "{binding}");
        let text = |value: &Value| value.as_str().unwrap_or("the cluster").to_owned();
        let (place, kind) = (text(&binding["metadata"]["namespace"]), text(&binding["roleRef"]["kind"]));
        bound.push(format!("{kind} {} in {place}", text(&binding["roleRef"]["name"])));
    }
    bound.sort();
    let expected = [
        "ClusterRole catalyst-operator in a",
        "ClusterRole catalyst-operator in b",
        "ClusterRole catalyst-operator-cluster in the cluster",
        "Role catalyst-operator-leader-election in catalyst-system",
    ];
    assert_eq!(bound, expected);
    let deployment = objects(&deployment).remove(0);
    assert_eq!(variable(&deployment, "WATCH_NAMESPACES"), "a,b");
}

/// The value of a variable of the operator's container.
fn variable<'a>(deployment: &'a Value, name: &str) -> &'a Value {
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    &variables.iter().find(|variable| variable["name"] == name).unwrap()["value"]
}

#[test]
fn each_value_of_the_chart_comes_where_it_belongs() {
    let toleration = json!({"key": "a", "operator": "Exists"});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}});
    let given = json!({
        "image": {"repository": "example.com/operator", "tag": "v2", "pullPolicy": "Always", "pullSecrets": [{"name": "s"}]},
        "proxyImage": {"repository": "example.com/proxy", "tag": "v3"}, "replicas": 2,
        "clusterCidrs": ["10.0.0.0/8", "fd00::/8"], "resources": {"limits": {"memory": "1Gi"}},
        "extraEnv": [{"name": "CONCURRENCY", "value": "8"}, {"name": "LOG", "value": "info"}],
        "podAnnotations": {"example.com/a": "1"}, "podLabels": {"example.com/b": "2"}, "nodeSelector": {"disk": "ssd"},
        "tolerations": [toleration], "affinity": affinity, "priorityClassName": "high",
    });
    let [deployment, notes] = filled_in(&given, ["deployment.yaml", "NOTES.txt"]);
    assert!(notes.contains(&format!("namespace {NAMESPACE}.")), "{notes}");
    let mut deployment = objects(&deployment).remove(0);
    assert_eq!(deployment["spec"]["replicas"], 2);
    for (name, value) in [
        ("PROXY_IMAGE", "example.com/proxy:v3"),
        ("CLUSTER_CIDRS", "10.0.0.0/8,fd00::/8"),
        ("CONCURRENCY", "8"),
        ("LOG", "info"),
    ] {
        assert_eq!(variable(&deployment, name), value, "{name}");
    }
    let variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    let known = known_variables();
    for name in variables.iter().map(|variable| variable["name"].as_str().unwrap()) {
        assert!(known.contains(name), "the operator reads no {name}, only {known:?}");
    }
    let template = deployment["spec"]["template"].take();
    assert_eq!(template["metadata"]["annotations"]["example.com/a"], "1");
    assert_eq!(template["metadata"]["labels"]["example.com/b"], "2");
    let (pod, container) = (&template["spec"], &template["spec"]["containers"][0]);
    let came = [
        (&container["image"], json!("example.com/operator:v2")),
        (&container["imagePullPolicy"], json!("Always")),
        (&container["resources"], json!({"limits": {"memory": "1Gi"}})),
        (&pod["imagePullSecrets"], json!([{"name": "s"}])),
        (&pod["nodeSelector"], json!({"disk": "ssd"})),
        (&pod["tolerations"], json!([toleration])),
        (&pod["affinity"], affinity),
        (&pod["priorityClassName"], json!("high")),
    ];
    for (found, wanted) in came {
        assert_eq!(*found, wanted, "{pod}");
    }
}

#[test]
fn the_chart_is_of_this_version() {
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let chart: Value = serde_yaml::from_str(&text).unwrap();
    for version in ["version", "appVersion"] {
        assert_eq!(chart[version], env!("CARGO_PKG_VERSION"), "{version}");
    }
}
