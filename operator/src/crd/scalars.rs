//! Values that may be written as a number or as a string, as Helm values are.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A TCP port, written as a number (`22`) or as a string (`"22"`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortValue {
    /// As in `port: 22`.
    Number(i64),
    /// As in `port: "22"`.
    Text(String),
}

impl PortValue {
    /// The port, if what was written is one (1 to 65535).
    pub fn number(&self) -> Option<u16> {
        let port = match self {
            PortValue::Number(number) => u16::try_from(*number).ok()?,
            PortValue::Text(text) if text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()?
            }
            PortValue::Text(_) => return None,
        };
        (port != 0).then_some(port)
    }
}

impl JsonSchema for PortValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PortValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}

/// An amount of a resource as Kubernetes writes it (`500m`, `128Mi`, `2`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QuantityValue {
    /// As in `cpu: 2`.
    Number(i64),
    /// As in `cpu: 0.5`. The API server admits no such value, but an object may have been stored by an older schema.
    Fraction(f64),
    /// As in `memory: 128Mi`.
    Text(String),
}

impl QuantityValue {
    /// What was written, as text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            QuantityValue::Number(number) => number.to_string().into(),
            QuantityValue::Fraction(number) => number.to_string().into(),
            QuantityValue::Text(text) => text.as_str().into(),
        }
    }
}

impl JsonSchema for QuantityValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "QuantityValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "pattern": "^[0-9]+([.][0-9]*)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
            "maxLength": 24,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_from_a_number_or_a_string_and_from_nothing_else() {
        let port = |json: &str| serde_json::from_str::<PortValue>(json).unwrap().number();
        assert_eq!(port("22"), Some(22));
        assert_eq!(port("\"2222\""), Some(2222));
        for wrong in ["0", "-1", "65536", "\"\"", "\"+22\"", "\" 22\"", "\"ssh\"", "\"65536\"", "\"000022\""] {
            assert_eq!(port(wrong), None, "{wrong}");
        }
    }
}
