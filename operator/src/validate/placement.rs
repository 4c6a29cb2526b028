//! Where the pods run: affinity and spread, which users write as Kubernetes does and which reach the pods as they are.
//!
//! Invariant: nothing is left in them that the API server drops (an empty list, an empty text), for it would be missed as a
//! field of ours for ever. What else is wrong with them the API server says when the Deployment is applied.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm, TopologySpreadConstraint, WeightedPodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{findings::Findings, text};
use crate::crd::TolerationSpec;
use crate::names::{INSTANCE_LABEL, InstanceName};

/// `None` also if none is wanted.
pub(super) fn affinity(given: Option<&Affinity>, findings: &mut Findings) -> Option<Option<Affinity>> {
    let Some(given) = given else { return Some(None) };
    let near = given.pod_affinity.as_ref().is_none_or(|it| {
        are_keyed(
            &it.required_during_scheduling_ignored_during_execution,
            &it.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let apart = given.pod_anti_affinity.as_ref().is_none_or(|it| {
        are_keyed(
            &it.required_during_scheduling_ignored_during_execution,
            &it.preferred_during_scheduling_ignored_during_execution,
        )
    });
    if !near || !apart {
        return findings.invalid("affinity", "must have a topologyKey, such as kubernetes.io/hostname, for other pods");
    }
    match without_empty(given) {
        Some(affinity) => Some(Some(affinity).filter(|affinity| *affinity != Affinity::default())),
        None => findings.invalid("affinity", "cannot be read"),
    }
}

fn are_keyed(required: &Option<Vec<PodAffinityTerm>>, preferred: &Option<Vec<WeightedPodAffinityTerm>>) -> bool {
    let preferred = preferred.iter().flatten().map(|weighted| &weighted.pod_affinity_term);
    required.iter().flatten().chain(preferred).all(|term| !term.topology_key.is_empty())
}

/// Taints that the pods tolerate. Held to the API server's rules for them, or `render` would print what it refuses.
pub(super) fn tolerations(given: &[TolerationSpec], findings: &mut Findings) -> Option<Vec<TolerationSpec>> {
    let among = |text: &Option<String>, known: &[&str]| text.as_ref().is_none_or(|text| known.contains(&text.as_str()));
    let is_there = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    for toleration in given {
        let exists = toleration.operator.as_deref() == Some("Exists");
        let fits = |text: &Option<String>, rule: fn(&str) -> bool| {
            text.as_deref().is_none_or(|text| text.is_empty() || rule(text))
        };
        let problem = if !among(&toleration.operator, &["", "Exists", "Equal"]) {
            "must each have the operator Exists or Equal, or none"
        } else if !among(&toleration.effect, &["", "NoSchedule", "PreferNoSchedule", "NoExecute"]) {
            "must each have the effect NoSchedule, PreferNoSchedule or NoExecute, or none"
        } else if !fits(&toleration.key, text::is_qualified_name) {
            "must each have as key the key of a taint, such as dedicated or example.com/dedicated"
        } else if !is_there(&toleration.key) && !exists {
            "must each have a key, or the operator Exists, which without a key tolerates every taint"
        } else if exists && is_there(&toleration.value) {
            "must have no value where the operator is Exists; write Equal to compare it"
        } else if !fits(&toleration.value, text::is_label_value) {
            "must each have as value the value of a taint: at most 63 letters, digits, -, _ and ., a letter or digit first and last"
        } else if toleration.toleration_seconds.is_some() && toleration.effect.as_deref() != Some("NoExecute") {
            "must have tolerationSeconds only with the effect NoExecute, which alone ends pods that run"
        } else {
            continue;
        };
        return findings.invalid("tolerations", problem);
    }
    Some(given.to_vec())
}

/// A constraint that selects no pods counts those of this instance.
pub(super) fn spread(
    given: &[TopologySpreadConstraint],
    name: &InstanceName,
    findings: &mut Findings,
) -> Option<Vec<TopologySpreadConstraint>> {
    let mut constraints: Vec<TopologySpreadConstraint> = Vec::with_capacity(given.len());
    for constraint in given {
        if constraint.topology_key.is_empty() || constraint.max_skew < 1 {
            return findings.invalid(
                "topologySpreadConstraints",
                "must each have a topologyKey, such as topology.kubernetes.io/zone, and a maxSkew of at least 1",
            );
        }
        if !matches!(constraint.when_unsatisfiable.as_str(), "DoNotSchedule" | "ScheduleAnyway") {
            return findings.invalid(
                "topologySpreadConstraints",
                "must each have whenUnsatisfiable, either DoNotSchedule or ScheduleAnyway",
            );
        }
        let Some(mut constraint) = without_empty(constraint) else {
            return findings.invalid("topologySpreadConstraints", "cannot be read");
        };
        let same = |other: &TopologySpreadConstraint| {
            (&other.topology_key, &other.when_unsatisfiable)
                == (&constraint.topology_key, &constraint.when_unsatisfiable)
        };
        if constraints.iter().any(same) {
            return findings.invalid(
                "topologySpreadConstraints",
                format_args!("has {} with {} twice", constraint.topology_key, constraint.when_unsatisfiable),
            );
        }
        constraint.label_selector.get_or_insert_with(|| LabelSelector {
            match_labels: Some(BTreeMap::from([(INSTANCE_LABEL.to_owned(), name.to_string())])),
            ..LabelSelector::default()
        });
        constraints.push(constraint);
    }
    Some(constraints)
}

/// The same without what the API server would drop.
fn without_empty<T: Serialize + DeserializeOwned>(given: &T) -> Option<T> {
    let mut value = serde_json::to_value(given).ok()?;
    prune(&mut value);
    serde_json::from_value(value).ok()
}

/// An empty object stays: as a selector it selects everything.
fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, member| {
                let dropped = match &*member {
                    Value::Null => true,
                    Value::String(text) => text.is_empty(),
                    Value::Array(items) => items.is_empty(),
                    Value::Object(entries) => entries.is_empty() && name == "matchLabels",
                    _ => false,
                };
                !dropped
            });
            members.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_server_would_drop_is_left_out_and_an_empty_selector_is_not() {
        let given: Affinity = serde_json::from_value(json!({
            "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []},
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, "namespaces": [], "namespaceSelector": {"matchLabels": {}}},
            ]},
        }))
        .unwrap();
        let kept = affinity(Some(&given), &mut Findings::default()).unwrap().unwrap();
        assert_eq!(
            serde_json::to_value(kept).unwrap(),
            json!({
                "nodeAffinity": {},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}, "namespaceSelector": {}},
                ]},
            })
        );
    }

    #[test]
    fn a_toleration_that_the_api_server_refuses_is_refused_with_what_to_write() {
        let told = |given: Value| {
            let mut findings = Findings::default();
            let taken = tolerations(&[serde_json::from_value(given).unwrap()], &mut findings);
            assert_eq!(taken.is_none(), !findings.stopping.is_empty());
            findings.stopping.pop().map(|finding| finding.message).unwrap_or_default()
        };
        for fine in [
            json!({"operator": "Exists"}),
            json!({"operator": "Exists", "key": "", "value": "", "effect": ""}),
            json!({"operator": "", "key": "k"}),
            json!({"key": "example.com/dedicated", "value": "ideas", "effect": "NoSchedule"}),
            json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}),
        ] {
            assert_eq!(told(fine.clone()), "", "{fine}");
        }
        for (refused, words) in [
            (json!({"operator": "Exists", "key": "k", "value": "v"}), "no value where the operator is Exists"),
            (json!({"value": "v"}), "a key, or the operator Exists"),
            (json!({"key": "a b"}), "as key the key of a taint"),
            (json!({"key": "Example.com/dedicated"}), "as key the key of a taint"),
            (json!({"key": "k", "value": "a b"}), "as value the value of a taint"),
            (json!({"key": "k", "tolerationSeconds": 5}), "only with the effect NoExecute"),
            (json!({"key": "k", "operator": "In"}), "the operator Exists or Equal"),
        ] {
            let said = told(refused.clone());
            assert!(said.contains(words), "{refused}: {said}");
        }
    }

    #[test]
    fn what_is_said_of_other_pods_needs_a_topology_key() {
        let taken = |anti: &str, preferred: Value| {
            let given = json!({anti: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": preferred}]}});
            affinity(Some(&serde_json::from_value(given).unwrap()), &mut Findings::default()).is_some()
        };
        for anti in ["podAffinity", "podAntiAffinity"] {
            assert!(
                taken(anti, json!({"topologyKey": "zone"})) && !taken(anti, json!({"labelSelector": {}})),
                "{anti}"
            );
        }
    }

    #[test]
    fn a_constraint_counts_the_instances_pods_unless_it_says_otherwise() {
        let name = InstanceName::parse("x").unwrap();
        let constraint = |selector: Value| -> TopologySpreadConstraint {
            serde_json::from_value(json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": selector})).unwrap()
        };
        let spread = |given: &[TopologySpreadConstraint]| spread(given, &name, &mut Findings::default());
        let ours = spread(&[constraint(Value::Null)]).unwrap().remove(0).label_selector.unwrap();
        assert_eq!(ours.match_labels.unwrap()[INSTANCE_LABEL], "x");
        let theirs = spread(&[constraint(json!({"matchLabels": {"a": "b"}}))]).unwrap().remove(0);
        assert_eq!(theirs.label_selector.unwrap().match_labels.unwrap()["a"], "b");
        assert_eq!(spread(&[constraint(Value::Null), constraint(Value::Null)]), None);
    }
}
