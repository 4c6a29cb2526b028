//! A tool's result as text: Claude gives a string or a list of blocks.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

/// The text of a `tool_result`'s content; what is not text is named in brackets.
pub(super) fn tool_result(content: Option<&RawValue>) -> String {
    let Some(content) = content else { return String::new() };
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return text;
    }
    match serde_json::from_str::<Vec<Part>>(content.get()) {
        Ok(parts) => {
            let parts: Vec<String> =
                parts.into_iter().map(|part| part.text.unwrap_or_else(|| format!("[{}]", part.kind))).collect();
            parts.join("\n")
        }
        Err(_) if content.get() == "null" => String::new(),
        Err(_) => content.get().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_a_result_becomes_text() {
        for (content, text) in [
            (r#""plain\n""#, "plain\n"),
            (
                r#"[{"type":"text","text":"a"},{"type":"image","source":{}},{"type":"text","text":"b"}]"#,
                "a\n[image]\nb",
            ),
            ("null", ""),
            (r#"{"odd":1}"#, r#"{"odd":1}"#),
        ] {
            let raw: Box<RawValue> = serde_json::from_str(content).unwrap();
            assert_eq!(tool_result(Some(&raw)), text);
        }
        assert_eq!(tool_result(None), "");
    }
}
