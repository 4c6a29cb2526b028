//! Values in the form that a field of the schema takes. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::{Map, Value};

/// Whether Helm's own charts would take it for not given.
pub(super) fn unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

pub(super) fn at<'a>(schema: &'a JSONSchemaProps, path: &[&str]) -> Option<&'a JSONSchemaProps> {
    path.iter().try_fold(schema, |schema, key| schema.properties.as_ref()?.get(*key))
}

/// What the entries of a list are.
pub(super) fn entry_schema(list: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &list.items {
        Some(JSONSchemaPropsOrArray::Schema(of)) => Some(of),
        _ => None,
    }
}

/// The value as the field takes it: templates turn numbers into text and back without a word.
pub(super) fn converted(schema: &JSONSchemaProps, value: &Value) -> Option<Value> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return (value.is_i64() || value.is_string()).then(|| value.clone());
    }
    match (schema.type_.as_deref()?, value) {
        ("string", value) => text(value).map(Value::String),
        ("integer", Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
        ("integer", value) => value.is_i64().then(|| value.clone()),
        ("boolean", Value::String(text)) => text.trim().parse::<bool>().ok().map(Value::Bool),
        ("boolean", value) => value.is_boolean().then(|| value.clone()),
        ("array", Value::Array(items)) => {
            let Some(of) = entry_schema(schema) else { return Some(value.clone()) };
            items.iter().map(|item| converted(of, item)).collect::<Option<Vec<_>>>().map(Value::Array)
        }
        ("object", Value::Object(members)) => {
            let field = |key: &str| match (
                schema.properties.as_ref().and_then(|all| all.get(key)),
                &schema.additional_properties,
            ) {
                (Some(field), _) => Some(field),
                (None, Some(JSONSchemaPropsOrBool::Schema(any))) => Some(any.as_ref()),
                (None, _) => None,
            };
            let member = |(key, value): (&String, &Value)| {
                // What the field does not know is told by the check of the whole.
                let value = field(key).map_or_else(|| Some(value.clone()), |field| converted(field, value))?;
                Some((key.clone(), value))
            };
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(member)
                .collect::<Option<Map<_, _>>>()
                .map(Value::Object)
        }
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What is wrong with a field, without its name and as a sentence: messages begin with the name.
pub(super) fn sentence(field: &str, problem: &str) -> String {
    let rest = problem.strip_prefix("spec.").unwrap_or(problem);
    let rest = rest.strip_prefix(field).map(str::trim_start).filter(|_| !field.is_empty());
    let text = rest.map_or_else(|| problem.to_owned(), |rest| format!("it {rest}"));
    let verb = ["is ", "has ", "must "].iter().any(|verb| text.starts_with(verb));
    let text = if verb { format!("it {text}") } else { text };
    if text.ends_with(['.', '!', '?']) { text } else { format!("{text}.") }
}

pub(super) fn value_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "this number",
        Value::String(_) => "this text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
