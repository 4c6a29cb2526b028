//! Two objects → the fields that differ, as `path: before → after`. Entries of lists are matched by their name. Pure.

use serde_json::Value;

/// Longest value that is shown, in characters.
const LONGEST: usize = 80;

/// The differences, in the order of the fields; `at` names the place that both stand for.
pub(super) fn differences(at: &str, before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(at, Some(before), Some(after), &mut found);
    found
}

fn walk(at: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let below = if key.contains(['.', '/']) { format!("{at}[{key}]") } else { format!("{at}.{key}") };
                walk(below.trim_start_matches('.'), before.get(key), after.get(key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => list(at, before, after, found),
        (before, after) => found.push(format!("{at}: {} → {}", shown(before), shown(after))),
    }
}

fn list(at: &str, before: &[Value], after: &[Value], found: &mut Vec<String>) {
    let name = |entry: &Value| {
        ["name", "mountPath", "containerPort"].iter().find_map(|key| {
            let value = entry.get(*key)?;
            Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })
    };
    let names: Option<Vec<String>> = before.iter().chain(after).map(name).collect();
    let Some(mut names) = names else {
        let (before, after) = (Value::from(before), Value::from(after));
        return found.push(format!("{at}: {} → {}", shown(Some(&before)), shown(Some(&after))));
    };
    names.sort();
    names.dedup();
    let of =
        |entries: &[Value], wanted: &str| entries.iter().find(|entry| name(entry).as_deref() == Some(wanted)).cloned();
    for wanted in names {
        walk(&format!("{at}[{wanted}]"), of(before, &wanted).as_ref(), of(after, &wanted).as_ref(), found);
    }
}

fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "(not set)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.chars().count() > LONGEST { text.chars().take(LONGEST - 1).chain(['…']).collect() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_named_by_their_path_and_entries_of_lists_by_their_name() {
        let before = json!({"spec": {"containers": [{"name": "catalyst", "image": "a:1", "env": [{"name": "A", "value": "1"}]}]},
            "metadata": {"annotations": {"catalyst.dev/x": "1"}}});
        let after = json!({"spec": {"containers": [{"name": "catalyst", "image": "a:2", "env": [{"name": "A", "value": "1"},
            {"name": "B", "value": "2"}]}]}, "metadata": {"annotations": {"catalyst.dev/x": "2"}}});
        assert_eq!(
            differences("", &before, &after),
            [
                "metadata.annotations[catalyst.dev/x]: 1 → 2",
                "spec.containers[catalyst].env[B]: (not set) → {\"name\":\"B\",\"value\":\"2\"}",
                "spec.containers[catalyst].image: a:1 → a:2",
            ]
        );
        assert_eq!(differences("", &after, &after), Vec::<String>::new());
    }

    #[test]
    fn a_list_without_names_and_a_long_value_are_shown_as_a_whole_and_cut() {
        let told = differences("x", &json!(["a"]), &json!(["b".repeat(200)]));
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("x: [\"a\"] → [\"bbb") && told[0].ends_with('…'), "{told:?}");
    }
}
