//! YAML as kubectl reads it. Pure.
//!
//! kubectl, Flux and Argo CD read YAML 1.1, where an unquoted `yes`, `on` or `1_000` is no text
//! (<https://github.com/kubernetes/kubernetes/issues/34146>); our library writes YAML 1.2, where it is. So these are quoted.

use serde::Serialize;
use serde_yaml::{Error, Mapping, Value};

/// Around a scalar that has to be quoted: letters for private use, which no manifest has and the library leaves as they are.
const MARKS: [char; 2] = ['\u{e000}', '\u{e001}'];
/// What YAML 1.1 takes for true or false beside what 1.2 does.
const WORDS: [&str; 8] = ["y", "yes", "on", "n", "no", "off", "true", "false"];

/// A document, which reads the same as YAML 1.1 and 1.2.
///
/// # Errors
/// It cannot be written as YAML.
pub(crate) fn to_yaml(document: &impl Serialize) -> Result<String, Error> {
    let text = serde_yaml::to_string(&marked(serde_yaml::to_value(document)?))?;
    Ok(text.replace(MARKS, "\""))
}

fn marked(value: Value) -> Value {
    match value {
        Value::String(text) if is_other_in_1_1(&text) => Value::String(format!("{}{text}{}", MARKS[0], MARKS[1])),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(marked).collect()),
        Value::Mapping(members) => {
            Value::Mapping(members.into_iter().map(|(key, member)| (marked(key), marked(member))).collect::<Mapping>())
        }
        other => other,
    }
}

/// Whether YAML 1.1 reads it as something else than text, and YAML 1.2 does not.
fn is_other_in_1_1(text: &str) -> bool {
    let word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    word || is_number(text) || is_date(text)
}

/// With `_` between digits, binary, or octal by a leading 0. (What is a number in both the library quotes.)
fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']).replace('_', "");
    let leads = text.trim_start_matches(['-', '+', '.']).starts_with(|letter: char| letter.is_ascii_digit());
    let binary = digits.strip_prefix("0b").is_some_and(|bits| u64::from_str_radix(bits, 2).is_ok());
    let hexadecimal = digits.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16).is_ok());
    let octal = digits.len() > 1 && digits.starts_with('0') && u64::from_str_radix(&digits, 8).is_ok();
    leads && (octal || binary || text.contains('_') && (hexadecimal || digits.parse::<f64>().is_ok()))
}

/// `2026-11-27`, also with a time after it.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut numbers = |length: std::ops::RangeInclusive<usize>| {
        let part = parts.next().unwrap_or_default();
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        (length.contains(&digits)).then(|| part.split_at(digits).1.to_owned())
    };
    let (year, month, day) = (numbers(4..=4), numbers(1..=2), numbers(1..=2));
    let whole = |rest: Option<String>| rest.is_some_and(|rest| rest.is_empty());
    whole(year) && whole(month) && day.is_some_and(|rest| rest.is_empty() || rest.starts_with(['t', 'T', ' ']))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_yaml_1_1_reads_otherwise_is_quoted_as_key_and_as_value_and_nothing_else_is() {
        let document = json!({"on": "off", "list": ["yes", "No", "1_000", "0b1", "010", "2026-11-27", "a yes"], "plain": "x",
            "text": "yes\nno\n", "address": "10.0.0.0/8", "image": "a:1.0", "memory": "512Mi", "is": true, "host": "192.168.1.100",
            "day": "2026-11-27T00:00:00Z", "version": "1.2.3", "key": "ssh-ed25519 AAAA", "dash": "2026-11-x"});
        let text = to_yaml(&document).unwrap();
        for quoted in
            ["\"on\": \"off\"", "- \"yes\"", "- \"No\"", "- \"1_000\"", "\"0b1\"", "- \"2026-11-27\"\n", "day: \"2026"]
        {
            assert!(text.contains(quoted), "{quoted}: {text}");
        }
        assert!(!text.contains("- 010") && text.contains("text: |\n  yes\n  no\n"), "{text}");
        for plain in [
            "- a yes",
            "plain: x",
            "address: 10.0.0.0/8",
            "image: a:1.0",
            "is: true",
            "host: 192.168.1.100",
            "version: 1.2.3",
            "dash: 2026-11-x",
        ] {
            assert!(text.contains(plain), "{plain}: {text}");
        }
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), document);
    }
}
