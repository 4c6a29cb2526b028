//! What concerns the pods: resources, probes and the rest.

use std::collections::BTreeMap;

use super::exposure::annotations;
use super::findings::Findings;
use super::quantity::Quantity;
use super::{placement, text};
use crate::container::{HTTP_PORT, is_managed_variable};
use crate::crd::{CatalystInstanceSpec, EntryRefSpec, EnvVarSpec, PortValue, ProbeSpec, QuantityValue, ResourcesSpec};
use crate::names::{INSTANCE_LABEL, InstanceName};
use crate::validated::{EnvValue, Pod, Probe, Resources};

/// Numeric user and group of the container: those of our image.
const DEFAULT_USER: i64 = 65532;
const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "128Mi")];
const DEFAULT_LIMITS: [(&str, &str); 2] = [("cpu", "500m"), ("memory", "512Mi")];

type Amounts = BTreeMap<String, (String, Quantity)>;

/// Given amounts win. A default that contradicts one of them becomes that amount: a limit is raised to the request, a request
/// lowered to the limit; none is dropped, or the container would be without a bound that nobody took away.
pub(super) fn resources(spec: Option<&ResourcesSpec>, findings: &mut Findings) -> Option<Resources> {
    let unset = ResourcesSpec::default();
    let spec = spec.unwrap_or(&unset);
    let requests = amounts(spec.requests.as_ref(), "resources.requests", findings);
    let limits = amounts(spec.limits.as_ref(), "resources.limits", findings);
    let (mut requests, mut limits) = (requests?, limits?);
    // A limit of zero says that there shall be none.
    let unlimited: Vec<String> =
        limits.iter().filter(|(_, (_, amount))| amount.is_zero()).map(|(name, _)| name.clone()).collect();
    limits.retain(|_, (_, amount)| !amount.is_zero());
    for (name, (text, amount)) in &requests {
        if let Some((limit_text, limit)) = limits.get(name)
            && amount > limit
        {
            return findings.invalid(
                &format!("resources.requests.{name}"),
                format_args!("({text}) is more than resources.limits.{name} ({limit_text})"),
            );
        }
    }
    for (name, text) in DEFAULT_LIMITS {
        let Some(amount) = Quantity::parse(text) else { continue };
        if unlimited.iter().any(|other| other == name) {
            continue;
        }
        let default = match requests.get(name) {
            Some(request) if request.1 > amount => request.clone(),
            _ => (text.to_owned(), amount),
        };
        limits.entry(name.to_owned()).or_insert(default);
    }
    for (name, text) in DEFAULT_REQUESTS {
        let Some(amount) = Quantity::parse(text) else { continue };
        let default = match limits.get(name) {
            Some(limit) if limit.1 < amount => limit.clone(),
            _ => (text.to_owned(), amount),
        };
        requests.entry(name.to_owned()).or_insert(default);
    }
    let texts = |amounts: Amounts| amounts.into_iter().map(|(name, (text, _))| (name, text)).collect();
    Some(Resources { requests: texts(requests), limits: texts(limits) })
}

fn amounts(given: Option<&BTreeMap<String, QuantityValue>>, field: &str, findings: &mut Findings) -> Option<Amounts> {
    let mut amounts = Amounts::new();
    for (name, value) in given.into_iter().flatten() {
        let text = value.text();
        match Quantity::parse(&text) {
            Some(amount) if text::is_qualified_name(name) => {
                amounts.insert(name.clone(), (text.into_owned(), amount));
            }
            Some(_) => {
                return findings.invalid(field, format_args!("has the key {name:?}, which is no resource's name"));
            }
            None => {
                return findings.invalid(
                    &format!("{field}.{name}"),
                    format_args!("is {text:?}, which is no quantity, such as 500m or 512Mi"),
                );
            }
        }
    }
    Some(amounts)
}

/// The probe that the seed sets up, where the spec says nothing else.
pub(super) fn probe(spec: Option<&ProbeSpec>, field: &str, default: Probe, findings: &mut Findings) -> Option<Probe> {
    let Some(spec) = spec else { return Some(default) };
    let get = spec.http_get.as_ref();
    let is_ours = |port: &PortValue| match port {
        PortValue::Number(number) => *number == i64::from(HTTP_PORT),
        PortValue::Text(text) => *text == HTTP_PORT.to_string() || text == "http",
    };
    if get.and_then(|get| get.port.as_ref()).is_some_and(|port| !is_ours(port)) {
        return findings.invalid(&format!("{field}.httpGet.port"), "must be 3001, the only port that the server has");
    }
    let path = get.and_then(|get| get.path.clone()).unwrap_or(default.path);
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return findings
            .invalid(&format!("{field}.httpGet.path"), "must begin with / and contain no spaces, such as /api/health");
    }
    Some(Probe {
        path,
        initial_delay_seconds: spec.initial_delay_seconds.unwrap_or(default.initial_delay_seconds),
        period_seconds: spec.period_seconds.unwrap_or(default.period_seconds),
        timeout_seconds: spec.timeout_seconds.unwrap_or(default.timeout_seconds),
        failure_threshold: spec.failure_threshold.unwrap_or(default.failure_threshold),
    })
}

pub(super) fn default_liveness() -> Probe {
    Probe {
        path: crate::container::HEALTH_PATH.to_owned(),
        initial_delay_seconds: 10,
        period_seconds: 30,
        timeout_seconds: 3,
        // Ten minutes: restarting a pod seldom helps a VM that is away, and must never look like CrashLoopBackOff.
        failure_threshold: 20,
    }
}

pub(super) fn default_readiness() -> Probe {
    Probe {
        path: crate::container::HEALTH_PATH.to_owned(),
        initial_delay_seconds: 5,
        period_seconds: 10,
        timeout_seconds: 3,
        failure_threshold: 1,
    }
}

pub(super) fn pod(spec: &CatalystInstanceSpec, name: &InstanceName, findings: &mut Findings) -> Option<Pod> {
    let annotations = annotations(spec.pod_annotations.as_ref(), "podAnnotations", findings);
    let annotations = match annotations {
        Some(annotations) if annotations.keys().any(|key| key.starts_with("catalyst.dev/")) => findings.invalid(
            "podAnnotations",
            "must not contain keys that begin with catalyst.dev/: the operator writes those",
        ),
        other => other,
    };
    let labels = labels(spec.pod_labels.as_ref(), "podLabels", findings);
    let node_selector = labels_of_nodes(spec.node_selector.as_ref(), findings);
    let security = spec.security_context.clone().unwrap_or_default();
    let run_as_user = match security.run_as_user.unwrap_or(DEFAULT_USER) {
        -1 => Some(None),
        user if (1..=i64::from(i32::MAX)).contains(&user) => Some(Some(user)),
        _ => findings.invalid("securityContext.runAsUser", "must be a user other than root, or -1 for none"),
    };
    let affinity = placement::affinity(spec.affinity.as_ref(), findings);
    let spread = placement::spread(spec.topology_spread_constraints.as_deref().unwrap_or_default(), name, findings);
    let priority_class = match &spec.priority_class_name {
        Some(name) if !text::is_dns_subdomain(name) => {
            findings.invalid("priorityClassName", "must be the name of a PriorityClass")
        }
        given => Some(given.clone()),
    };
    let tolerations = placement::tolerations(spec.tolerations.as_deref().unwrap_or_default(), findings);
    let extra_env = extra_env(spec.extra_env.as_deref().unwrap_or_default(), findings);
    Some(Pod {
        annotations: annotations?,
        labels: labels?,
        node_selector: node_selector?,
        tolerations: tolerations?,
        affinity: affinity?,
        spread: spread?,
        priority_class: priority_class?,
        run_as_user: run_as_user?,
        run_as_group: group(security.run_as_group),
        fs_group: group(security.fs_group),
        read_only_root: security.read_only_root_filesystem.unwrap_or(true),
        extra_env: extra_env?,
    })
}

fn group(given: Option<i64>) -> Option<i64> {
    Some(given.unwrap_or(DEFAULT_USER)).filter(|group| *group != -1)
}

fn labels(
    given: Option<&BTreeMap<String, String>>,
    field: &str,
    findings: &mut Findings,
) -> Option<BTreeMap<String, String>> {
    let given = given.cloned().unwrap_or_default();
    for (key, value) in &given {
        if key.starts_with("catalyst.dev/") || key.starts_with("app.kubernetes.io/") || key == INSTANCE_LABEL {
            return findings.invalid(field, format_args!("must not contain the key {key}: the operator writes it"));
        }
        if !text::is_qualified_name(key) || !text::is_label_value(value) {
            return findings.invalid(field, format_args!("has {key:?}: {value:?}, which is no label"));
        }
    }
    Some(given)
}

fn labels_of_nodes(
    given: Option<&BTreeMap<String, String>>,
    findings: &mut Findings,
) -> Option<BTreeMap<String, String>> {
    let given = given.cloned().unwrap_or_default();
    match given.iter().find(|(key, value)| !text::is_qualified_name(key) || !text::is_label_value(value)) {
        Some((key, value)) => {
            findings.invalid("nodeSelector", format_args!("has {key:?}: {value:?}, which is no label"))
        }
        None => Some(given),
    }
}

fn extra_env(given: &[EnvVarSpec], findings: &mut Findings) -> Option<Vec<(String, EnvValue)>> {
    let mut variables: Vec<(String, EnvValue)> = Vec::with_capacity(given.len());
    for variable @ EnvVarSpec { name, .. } in given {
        if !text::is_variable(name) {
            return findings.invalid("extraEnv", format_args!("has the name {name:?}, which is no variable's name"));
        }
        if is_managed_variable(name) {
            return findings
                .invalid("extraEnv", format_args!("must not contain {name}: the operator sets it from other fields"));
        }
        if variables.iter().any(|(other, _)| other == name) {
            return findings.invalid("extraEnv", format_args!("has {name} twice"));
        }
        variables.push((name.clone(), env_value(variable, findings)?));
    }
    Some(variables)
}

fn env_value(variable: &EnvVarSpec, findings: &mut Findings) -> Option<EnvValue> {
    let EnvVarSpec { name, value, value_from } = variable;
    let source = match (value, value_from) {
        (Some(value), None) => return Some(EnvValue::Text(value.clone())),
        (None, Some(source)) => source,
        _ => {
            return findings
                .invalid("extraEnv", format_args!("must give {name} by value or by valueFrom, and not by both"));
        }
    };
    let (entry, value): (_, fn(EntryRefSpec) -> EnvValue) = match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(entry), None) => (entry, EnvValue::Secret),
        (None, Some(entry)) => (entry, EnvValue::ConfigMap),
        _ => {
            let problem = format_args!("must take {name} from secretKeyRef or from configMapKeyRef, and not from both");
            return findings.invalid("extraEnv", problem);
        }
    };
    if !text::is_dns_subdomain(&entry.name) || !text::is_entry(&entry.key) {
        let EntryRefSpec { name: object, key, .. } = entry;
        return findings.invalid(
            "extraEnv",
            format_args!("takes {name} from {object:?}, {key:?}, which is no entry of any object"),
        );
    }
    Some(value(entry.clone()))
}
