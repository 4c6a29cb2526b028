//! Holds a value to the resource's schema as the API server does under `--validate=strict`: unknown fields, wrong types,
//! missing fields. What values may be is for CEL and [`crate::validate`] to say. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

/// Something in a value that the schema does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, such as `spec.ssh.hots`.
    pub field: String,
    /// What is wrong and what to write instead, without the field's name.
    pub problem: String,
    /// Whether the field itself is unknown, rather than its value wrong.
    pub unknown: bool,
}

/// Everything in `value` that `schema` does not allow, in the order of the fields.
#[must_use]
pub fn faults(schema: &JSONSchemaProps, value: &Value, path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    walk(schema, value, path, &mut faults);
    faults
}

fn walk(schema: &JSONSchemaProps, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    // An explicit null is the same as an absent field, as it is to the server.
    if value.is_null() || schema.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    let mut wrong = |problem: String| faults.push(Fault { field: path.to_owned(), problem, unknown: false });
    if schema.x_kubernetes_int_or_string == Some(true) {
        if !(value.is_i64() || value.is_u64() || value.is_string()) {
            wrong(format!("must be a whole number or a string, not {}", kind_of(value)));
        }
        return;
    }
    match schema.type_.as_deref() {
        Some("object") => object(schema, value, path, faults),
        Some("array") => match (value.as_array(), &schema.items) {
            (Some(items), Some(JSONSchemaPropsOrArray::Schema(of))) => {
                for (index, item) in items.iter().enumerate() {
                    walk(of, item, &format!("{path}[{index}]"), faults);
                }
            }
            (Some(_), _) => {}
            (None, _) => wrong(format!("must be a list, not {}", kind_of(value))),
        },
        Some("string") if !value.is_string() => {
            wrong(no_string(value));
        }
        Some("integer") if !(value.is_i64() || value.is_u64()) => {
            wrong(format!("must be a whole number, not {}", kind_of(value)));
        }
        Some("number") if !value.is_number() => wrong(format!("must be a number, not {}", kind_of(value))),
        Some("boolean") if !value.is_boolean() => {
            wrong(format!("must be true or false (without quotes), not {}", kind_of(value)));
        }
        _ => {
            let choices: Vec<&Value> = schema.enum_.iter().flatten().map(|choice| &choice.0).collect();
            if !choices.is_empty() && !choices.contains(&value) {
                let names: Vec<_> = choices.iter().filter_map(|choice| choice.as_str()).collect();
                wrong(format!("must be one of {}, not {value}", names.join(", ")));
            }
        }
    }
}

fn object(schema: &JSONSchemaProps, value: &Value, path: &str, faults: &mut Vec<Fault>) {
    let Some(members) = value.as_object() else {
        let problem = format!("must be an object with fields, not {}", kind_of(value));
        return faults.push(Fault { field: path.to_owned(), problem, unknown: false });
    };
    let properties = schema.properties.as_ref();
    for (key, member) in members {
        let field = format!("{path}.{key}");
        match (properties.and_then(|properties| properties.get(key)), &schema.additional_properties) {
            (Some(property), _) => walk(property, member, &field, faults),
            (None, Some(JSONSchemaPropsOrBool::Schema(any))) => walk(any, member, &field, faults),
            (None, Some(JSONSchemaPropsOrBool::Bool(true))) => {}
            (None, _) => {
                let names: Vec<&str> =
                    properties.iter().flat_map(|properties| properties.keys()).map(String::as_str).collect();
                faults.push(Fault { field, problem: unknown(key, path, &names), unknown: true });
            }
        }
    }
    for required in schema.required.iter().flatten() {
        if members.get(required).is_none_or(Value::is_null) {
            let problem = "is required and is not there".to_owned();
            faults.push(Fault { field: format!("{path}.{required}"), problem, unknown: false });
        }
    }
}

/// What to say of a value that is not the text that it should be.
pub(super) fn no_string(value: &Value) -> String {
    let quoted = if value.is_object() || value.is_array() { "" } else { "; write it in quotes" };
    format!("must be a string, not {}{quoted}", kind_of(value))
}

/// What to say of a field that `path` does not have.
pub(super) fn unknown(key: &str, path: &str, names: &[&str]) -> String {
    match nearest(key, names) {
        Some(name) => format!("is not a field; did you mean {path}.{name}?"),
        None => format!("is not a field; {path} has: {}", names.join(", ")),
    }
}

/// The one name that is written almost like `key`, if there is one.
pub(crate) fn nearest<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    let distance = |name: &str| edits(&key.to_lowercase(), &name.to_lowercase());
    let best = names.iter().min_by_key(|name| distance(name))?;
    (distance(best) <= (1 + key.len() / 5).max(2) && distance(best) < key.len()).then_some(*best)
}

/// Letters to insert, remove or replace to make one of the other (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = vec![left];
        for (above, against) in row.iter().skip(1).zip(other.chars()) {
            left = (left + 1).min(above + 1).min(diagonal + usize::from(letter != against));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(word) => format!("{word}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::spec_schema;

    fn told(spec: Value) -> Vec<String> {
        let schema = spec_schema().unwrap();
        faults(&schema, &spec, "spec").into_iter().map(|fault| format!("{} {}", fault.field, fault.problem)).collect()
    }

    #[test]
    fn a_field_that_is_written_wrong_is_told_with_the_right_one() {
        let spec = json!({"ssh": {"hots": "h", "host": "h", "user": "u"}, "replica": 2, "Suspend": true});
        let told = told(spec);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.contains(&"spec.ssh.hots is not a field; did you mean spec.ssh.host?".to_owned()), "{told:?}");
        assert!(told.contains(&"spec.replica is not a field; did you mean spec.replicas?".to_owned()), "{told:?}");
        assert!(told.contains(&"spec.Suspend is not a field; did you mean spec.suspend?".to_owned()), "{told:?}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_told_with_what_it_must_be() {
        let spec = json!({"ssh": {"host": 5, "user": "u", "port": 1.5}, "replicas": "2", "suspend": "yes",
            "image": [], "tolerations": {}});
        let told = told(spec);
        for expected in [
            "spec.ssh.host must be a string, not the number 5; write it in quotes",
            "spec.ssh.port must be a whole number or a string, not the number 1.5",
            "spec.replicas must be a whole number, not a string",
            "spec.suspend must be true or false (without quotes), not a string",
            "spec.image must be an object with fields, not a list",
            "spec.tolerations must be a list, not an object",
        ] {
            assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
        }
    }

    #[test]
    fn what_is_required_is_missed_and_a_null_counts_as_absent() {
        assert_eq!(told(json!({"ssh": {"host": null, "user": "u"}})), ["spec.ssh.host is required and is not there"]);
        assert_eq!(told(json!({"ssh": {"host": "h", "user": "u", "port": null}})), Vec::<String>::new());
    }

    #[test]
    fn nothing_alike_is_suggested_where_nothing_is_alike() {
        assert_eq!(nearest("zzz", &["host", "user"]), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
