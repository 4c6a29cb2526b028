//! The mapped values held to the rules of the resource: what these refuse is taken out again and noted.

use serde_json::{Map, Value, json};

use super::{Mapping, Migrated, ValuesError, convert::sentence};
use crate::{
    crd::{GROUP, KIND, VERSION},
    offline,
};

/// What to do where the values lack what every instance needs.
const GET_ALL: &str =
    "If the chart's defaults had it, get all values with: helm get values RELEASE -n NAMESPACE --all -o yaml";

/// Of a probe, what has one right value alone.
const PROBED_PORT: &str = "httpGet.port";

impl Mapping {
    /// Takes out again what the rules of the resource refuse, and notes it; what is needed and missing or wrong is an error.
    pub(super) fn checked(mut self, metadata: Value, file: &str) -> Result<Migrated, ValuesError> {
        // So that what is missing below it is named.
        self.spec.entry("ssh").or_insert_with(|| json!({}));
        loop {
            self.redundant_annotations(&metadata);
            let manifest = json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": metadata, "spec": self.spec});
            let problems = match offline::check(manifest.clone()) {
                Ok(instance) => match offline::acceptable(&instance) {
                    Ok(()) => return Ok(Migrated { instance, manifest, notes: self.notes }),
                    Err(problems) => problems,
                },
                Err(problems) => problems,
            };
            let before = self.spec.clone();
            // Of these an entry was taken, so the numbers of the others are others: they are looked at anew.
            let mut shorter = Vec::new();
            for (field, problem) in &problems {
                let path = without_spec(field.as_deref().unwrap_or_default());
                if let Some((list, index)) = entry_of(path) {
                    if !shorter.contains(&list)
                        && let Some(entry) = self.remove_entry(list, index)
                    {
                        shorter.push(list);
                        let which = name_of(&entry).unwrap_or_else(|| format!("number {}", index + 1));
                        let remedy =
                            format!("Only this entry is left out; add it to spec.{list} by hand if it is needed.");
                        self.note(&format!("{list} ({which})"), sentence(path, problem), remedy);
                    }
                } else if self.remove(&path.split(['.', '[']).collect::<Vec<_>>()) {
                    let remedy = if path.ends_with(PROBED_PORT) {
                        "It is left out, and that port is asked.".to_owned()
                    } else {
                        format!("It is left out; set spec.{path} by hand if it is needed.")
                    };
                    self.note(path, sentence(path, problem), remedy);
                }
            }
            if self.spec == before {
                return Err(self.unusable(&problems, file));
            }
        }
    }

    fn unusable(self, problems: &[(Option<String>, String)], file: &str) -> ValuesError {
        let there = |field: &str| {
            let mut place = Some(&self.spec);
            let mut value = None;
            for key in without_spec(field).split('.') {
                value = place.and_then(|place| place.get(key));
                place = value.and_then(Value::as_object);
            }
            value.is_some()
        };
        let missing = problems.iter().any(|(field, _)| field.as_deref().is_some_and(|field| !there(field)));
        let words: Vec<_> = problems
            .iter()
            .map(|(field, problem)| {
                let field = field.as_deref().map(without_spec).unwrap_or_default();
                let problem = sentence(field, problem);
                if field.is_empty() { problem } else { format!("{field}: {problem}") }
            })
            .collect();
        let remedy = if missing { GET_ALL } else { "Correct it there." };
        let problem = words.join(" ");
        ValuesError::Unusable { file: file.to_owned(), problem, remedy: remedy.to_owned(), notes: self.notes }
    }

    /// Removes a field, unless the instance cannot be without it.
    fn remove(&mut self, path: &[&str]) -> bool {
        let Some((last, folders)) = path.split_last() else { return false };
        if matches!(path, [] | [""] | ["ssh"] | ["ssh", "host"] | ["ssh", "user"]) {
            return false;
        }
        let mut place = &mut self.spec;
        for folder in folders {
            if !place.get(*folder).is_some_and(Value::is_object) {
                return false;
            }
            let Some(Value::Object(below)) = place.get_mut(*folder) else { return false };
            place = below;
        }
        place.remove(*last).is_some()
    }

    /// Removes an entry of a list, and the list when it was the last.
    fn remove_entry(&mut self, list: &str, index: usize) -> Option<Value> {
        let (folders, last) = list.rsplit_once('.').map_or(("", list), |(folders, last)| (folders, last));
        let mut place = &mut self.spec;
        for folder in folders.split('.').filter(|folder| !folder.is_empty()) {
            place = place.get_mut(folder)?.as_object_mut()?;
        }
        let entries = place.get_mut(last)?.as_array_mut()?;
        let entry = (index < entries.len()).then(|| entries.remove(index))?;
        if entries.is_empty() {
            place.remove(last);
        }
        Some(entry)
    }

    fn redundant_annotations(&mut self, metadata: &Value) {
        let mut bare = self.spec.clone();
        let Some(Value::Object(ingress)) = bare.get_mut("ingress") else { return };
        let Some(Value::Object(own)) = ingress.remove("annotations") else { return };
        let manifest =
            json!({"apiVersion": format!("{GROUP}/{VERSION}"), "kind": KIND, "metadata": metadata, "spec": bare});
        let Ok(instance) = offline::check(manifest) else { return };
        let set = offline::ingress_annotations(&instance);
        let kept: Map<String, Value> =
            own.into_iter().filter(|(key, value)| set.get(key).map(String::as_str) != value.as_str()).collect();
        if let Some(Value::Object(ingress)) = self.spec.get_mut("ingress") {
            ingress.remove("annotations");
            if !kept.is_empty() {
                ingress.insert("annotations".to_owned(), Value::Object(kept));
            }
        }
    }
}

/// The list and the index in a path that leads into the entry of one.
fn entry_of(path: &str) -> Option<(&str, usize)> {
    let (list, rest) = path.split_once('[')?;
    Some((list, rest.split_once(']')?.0.parse().ok()?))
}

/// What a person knows an entry by.
pub(super) fn name_of(entry: &Value) -> Option<String> {
    let known = ["name", "key", "topologyKey", "cidr"].iter().find_map(|key| entry.get(key)?.as_str());
    known.or(entry.as_str()).map(str::to_owned)
}

/// The path as the values have it.
fn without_spec(field: &str) -> &str {
    field.strip_prefix("spec.").unwrap_or(field)
}
