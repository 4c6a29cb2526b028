//! The text of a values file as a mapping. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The values, or why the text holds none.
pub(super) fn read(text: &str) -> Result<Map<String, Value>, String> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = serde_yaml::Value::deserialize(document).map_err(|error| format!("it is not YAML ({error})"))?;
        let value = serde_json::to_value(value).map_err(|error| format!("it has what values cannot have ({error})"))?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    let many = documents.len();
    let values = match (documents.pop(), many) {
        (None, _) => return Err("it is empty".to_owned()),
        (Some(Value::Object(values)), 1) => values,
        (Some(_), 1) => return Err("it is no mapping of keys to values".to_owned()),
        (Some(_), _) => {
            return Err(format!(
                "it holds {many} YAML documents, but values are one: leave only the one of the release"
            ));
        }
    };
    if let (Some(Value::String(kind)), true) = (values.get("kind"), values.contains_key("apiVersion")) {
        return Err(format!("it is a manifest ({kind}), not the values that were given to the chart"));
    }
    Ok(values)
}
