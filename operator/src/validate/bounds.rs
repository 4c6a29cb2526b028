//! Holds a spec to the bounds of the schema: ranges, lengths, numbers of entries. They are read from the schema, where they
//! stand and nowhere else; what the API server refuses by them it may have taken under an older one. Pure.

use std::fmt::Display;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use super::findings::Findings;
use crate::crd::{CatalystInstanceSpec, spec_schema};

/// Those of the spec. The schema itself is large, and most of it is Kubernetes' own, which bounds nothing.
static OF_SPEC: LazyLock<Bounds> = LazyLock::new(|| spec_schema().as_ref().map(Bounds::of).unwrap_or_default());

/// Finds what is out of bounds, unless something is found about that field already.
pub(super) fn check(spec: &CatalystInstanceSpec, findings: &mut Findings) {
    // Only a key that is no text could not be written, and there is none.
    let spec = serde_json::to_value(spec).unwrap_or_default();
    let mut problems = Vec::new();
    OF_SPEC.walk(&spec, "", &mut problems);
    for (field, problem) in problems {
        if !findings.are_about(&field) {
            findings.invalid::<()>(&field, problem);
        }
    }
}

/// What bounds a value, and what is below it.
#[derive(Debug, Default, PartialEq)]
struct Bounds {
    /// Of a number.
    number: Range<f64>,
    /// Of a text, in characters.
    letters: Range<i64>,
    /// Of a list or a map.
    entries: Range<i64>,
    /// Of the fields of an object.
    fields: Vec<(String, Bounds)>,
    /// Of each entry of a list, or value of a map.
    each: Option<Box<Bounds>>,
}

impl Bounds {
    fn of(schema: &JSONSchemaProps) -> Self {
        let below = |schema: &JSONSchemaProps| Some(Self::of(schema)).filter(|bounds| *bounds != Self::default());
        let each = match (&schema.items, &schema.additional_properties) {
            (Some(JSONSchemaPropsOrArray::Schema(item)), _) => below(item),
            (_, Some(JSONSchemaPropsOrBool::Schema(value))) => below(value),
            _ => None,
        };
        let fields = schema.properties.iter().flatten();
        Self {
            number: Range(schema.minimum, schema.maximum),
            letters: Range(schema.min_length, schema.max_length),
            entries: Range(schema.min_items.or(schema.min_properties), schema.max_items.or(schema.max_properties)),
            fields: fields.filter_map(|(name, field)| Some((name.clone(), below(field)?))).collect(),
            each: each.map(Box::new),
        }
    }

    /// Field and problem of everything in `value` that is out of bounds.
    fn walk(&self, value: &Value, path: &str, problems: &mut Vec<(String, String)>) {
        problems.extend(self.problem(value).map(|problem| (path.to_owned(), problem)));
        match value {
            Value::Array(items) => {
                if let Some(each) = &self.each {
                    items.iter().for_each(|item| each.walk(item, &format!("{path}[]"), problems));
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    let field = self.fields.iter().find(|(field, _)| field == name);
                    match (field, &self.each) {
                        (Some((_, field)), _) if path.is_empty() => field.walk(member, name, problems),
                        (Some((_, field)), _) => field.walk(member, &format!("{path}.{name}"), problems),
                        (None, Some(each)) => {
                            let problem = each.problem(member);
                            let told = |problem| format!("has {name:?}, the value of which {problem}");
                            problems.extend(problem.map(|problem| (path.to_owned(), told(problem))));
                        }
                        (None, None) => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn problem(&self, value: &Value) -> Option<String> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        match value {
            Value::Number(number) => self.number.missed_by(number.as_f64()?).map(|range| format!("must be {range}")),
            Value::String(text) => {
                self.letters.missed_by(count(text.chars().count())).map(|range| format!("must have {range} characters"))
            }
            Value::Array(items) => {
                self.entries.missed_by(count(items.len())).map(|range| format!("must have {range} entries"))
            }
            Value::Object(members) => {
                self.entries.missed_by(count(members.len())).map(|range| format!("must have {range} entries"))
            }
            Value::Null | Value::Bool(_) => None,
        }
    }
}

/// The least and the most, as far as there are such.
#[derive(Debug, Default, PartialEq)]
struct Range<N>(Option<N>, Option<N>);

impl<N: PartialOrd + Display> Range<N> {
    /// The range in words, if `value` is not in it.
    fn missed_by(&self, value: N) -> Option<String> {
        let Range(least, most) = self;
        if least.as_ref().is_none_or(|least| *least <= value) && most.as_ref().is_none_or(|most| value <= *most) {
            return None;
        }
        match (least, most) {
            (Some(least), Some(most)) => Some(format!("from {least} to {most}")),
            (Some(least), None) => Some(format!("at least {least}")),
            (None, Some(most)) => Some(format!("at most {most}")),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(spec: Value) -> Vec<String> {
        let mut findings = Findings::default();
        check(&serde_json::from_value(spec).unwrap(), &mut findings);
        findings.stopping.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn what_is_out_of_the_schemas_bounds_is_told_with_them() {
        let letters = |count: usize| "a".repeat(count);
        let spec = json!({
            "ssh": {"host": letters(254), "user": "u", "ideasBasePath": format!("/{}", letters(1024))},
            "replicas": 21,
            "secrets": {"generation": 1_i64 << 31},
            "livenessProbe": {"periodSeconds": 0, "timeoutSeconds": 3601, "failureThreshold": 1000},
            "podLabels": {"a": "ä".repeat(63), "b": letters(64)},
            "gateway": {"parentRefs": [], "hostnames": ["a", ""]},
            "tolerations": [{"key": letters(317)}, {"key": letters(318)}, {"key": letters(319)}],
            "extraEnv": vec![json!({"name": "A", "value": ""}); 65],
        });
        let mut told = told(spec);
        told.sort();
        assert_eq!(
            told,
            [
                "extraEnv must have at most 64 entries",
                "gateway.hostnames[] must have from 1 to 253 characters",
                "gateway.parentRefs must have from 1 to 8 entries",
                "livenessProbe.periodSeconds must be from 1 to 86400",
                "livenessProbe.timeoutSeconds must be from 1 to 3600",
                "podLabels has \"b\", the value of which must have at most 63 characters",
                "replicas must be from 0 to 20",
                "secrets.generation must be from 0 to 2147483647",
                "ssh.host must have from 1 to 253 characters",
                "ssh.ideasBasePath must have from 1 to 1024 characters",
                "tolerations[].key must have at most 317 characters",
            ]
        );
    }

    #[test]
    fn what_is_told_of_a_field_already_is_not_told_again() {
        let spec = serde_json::from_value(json!({"ssh": {"host": "", "user": ""}, "trustedProxies": [""]})).unwrap();
        let mut findings = Findings::default();
        findings.invalid::<()>("ssh.host", "is wrong");
        findings.invalid::<()>("trustedProxies", "holds one that is wrong");
        check(&spec, &mut findings);
        let fields: Vec<_> = findings.stopping.iter().filter_map(|finding| finding.field.as_deref()).collect();
        assert_eq!(fields, ["ssh.host", "trustedProxies", "ssh.user"]);
    }
}
