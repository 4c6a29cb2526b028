//! Manifests as people hand them over: a file or standard input, one or several documents. Every problem is told at once,
//! each with the file, the document, the field and what to write instead.

use std::{fmt, io::Read, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::schema::{faults, no_string, unknown};
use crate::{
    crd::{CatalystInstance, GROUP, KIND, PAUSED_ANNOTATION, VERSION, spec_schema},
    validate::{NAMESPACES, is_namespace},
};

/// Larger than any manifest, small enough to be read by mistake.
const LARGEST: u64 = 4 << 20;
/// The members of `metadata` that exist.
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// An instance, and where it was written.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file as it was named; `standard input` for `-`.
    pub file: String,
    /// Which document of the file, from 1.
    pub document: usize,
    /// The instance.
    pub instance: CatalystInstance,
}

/// One thing that is wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Which document of the file, from 1; `None`: the file as a whole.
    pub document: Option<usize>,
    /// Path of the field; `None`: the document as a whole.
    pub field: Option<String>,
    /// What is wrong and what to do about it.
    pub problem: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(document) = self.document {
            write!(formatter, ", document {document}")?;
        }
        formatter.write_str(": ")?;
        // Many a sentence begins with the field already.
        match self.field.as_deref().filter(|field| !self.problem.starts_with(field)) {
            Some(field) => formatter.write_str(&named(field, &self.problem)),
            None => formatter.write_str(&self.problem),
        }
    }
}

/// Input that cannot be used: everything that is wrong with it, a line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct BadInput(pub Vec<Problem>);

impl BadInput {
    fn of_file(file: &str, problem: String) -> Self {
        Self(vec![Problem { file: file.to_owned(), document: None, field: None, problem }])
    }
}

/// Reads the instances in a file; `-` is standard input.
///
/// # Errors
/// The file cannot be read, or something in it is no valid `CatalystInstance`.
pub fn read(path: &Path) -> Result<Vec<Source>, BadInput> {
    if path == Path::new("-") {
        return parse("standard input", &text("standard input", std::io::stdin().lock())?);
    }
    let file = path.display().to_string();
    if path.is_dir() {
        return Err(BadInput::of_file(
            &file,
            "is a folder; name one manifest, or pass several through - (cat them)".into(),
        ));
    }
    match std::fs::File::open(path) {
        Ok(open) => parse(&file, &text(&file, open)?),
        Err(error) => {
            let problem = format!("cannot be read ({error}); give the path of a manifest, or - for standard input");
            Err(BadInput::of_file(&file, problem))
        }
    }
}

/// The instances that an earlier document has already: of two the last would be what is applied.
fn twice(sources: &[Source]) -> Vec<Problem> {
    let place = |source: &Source| (source.instance.metadata.namespace.clone(), source.instance.metadata.name.clone());
    let again = sources.iter().enumerate().filter_map(|(index, source)| {
        let first = sources.iter().take(index).find(|other| place(other) == place(source))?;
        Some(Problem {
            file: source.file.clone(),
            document: Some(source.document),
            field: Some("metadata.name".to_owned()),
            problem: format!("is that of document {} too; leave one of them out, or name it otherwise", first.document),
        })
    });
    again.collect()
}

/// That the instances are of the namespace that the command names, if it names one; kubectl refuses it too where they are not.
///
/// # Errors
/// Every instance of which the manifest names another.
pub fn agree(sources: &[Source], namespace: Option<&str>) -> Result<(), BadInput> {
    let Some(namespace) = namespace else { return Ok(()) };
    let others = sources.iter().filter_map(|source| {
        let written = source.instance.metadata.namespace.as_deref().filter(|written| *written != namespace)?;
        Some(Problem {
            file: source.file.clone(),
            document: Some(source.document),
            field: Some("metadata.namespace".to_owned()),
            problem: format!("is {written}, and the command says --namespace {namespace}; leave one of them out"),
        })
    });
    let others: Vec<Problem> = others.collect();
    if others.is_empty() { Ok(()) } else { Err(BadInput(others)) }
}

fn text(file: &str, reader: impl Read) -> Result<String, BadInput> {
    let mut text = String::new();
    match reader.take(LARGEST + 1).read_to_string(&mut text) {
        Ok(read) if read as u64 > LARGEST => {
            Err(BadInput::of_file(file, format!("is larger than {} MiB, which no manifest is", LARGEST >> 20)))
        }
        // Windows' editors begin a file with a mark.
        Ok(_) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            Err(BadInput::of_file(file, format!("cannot be read as text ({error}); it must be YAML in UTF-8")))
        }
    }
}

fn parse(file: &str, text: &str) -> Result<Vec<Source>, BadInput> {
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        let mut wrong = |field: Option<String>, problem: String| {
            problems.push(Problem { file: file.to_owned(), document: Some(number), field, problem });
        };
        // By way of YAML's own value: it refuses a key that is written twice.
        let value = serde_yaml::Value::deserialize(document)
            .map_err(|error| error.to_string())
            .and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string()));
        let value = match value {
            Ok(Value::Null) => continue,
            Ok(value) => value,
            Err(error) => {
                // The parser cannot find the next document after a syntax error.
                wrong(None, format!("is not YAML: {error}"));
                break;
            }
        };
        match check(value) {
            Ok(instance) => sources.push(Source { file: file.to_owned(), document: number, instance }),
            Err(found) => found.into_iter().for_each(|(field, problem)| wrong(field, problem)),
        }
    }
    problems.extend(twice(&sources));
    if !problems.is_empty() {
        return Err(BadInput(problems));
    }
    if sources.is_empty() {
        return Err(BadInput::of_file(file, format!("holds no document; write a {KIND} ({GROUP}/{VERSION})")));
    }
    Ok(sources)
}

/// The instance in a document, or what is wrong with it: field (if one is to blame) and sentence.
///
/// # Errors
/// Everything that is wrong, in the order of the checks: kind, fields and types, then the rules of the schema.
pub fn check(document: Value) -> Result<CatalystInstance, Vec<(Option<String>, String)>> {
    let word = |key: &str| document.get(key).and_then(Value::as_str).unwrap_or("nothing").to_owned();
    let (api, kind) = (word("apiVersion"), word("kind"));
    if kind != KIND {
        return Err(vec![(
            Some("kind".into()),
            format!("is {kind}, not {KIND}; leave other objects out of this file"),
        )]);
    }
    let wanted = format!("{GROUP}/{VERSION}");
    if api != wanted {
        return Err(vec![(Some("apiVersion".into()), format!("is {api}; write {wanted}"))]);
    }
    let mut problems = Vec::new();
    let members = document.as_object().into_iter().flatten();
    for (key, member) in members {
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for (key, value) in member.as_object().into_iter().flatten() {
                    if !METADATA.contains(&key.as_str()) {
                        problems.push((Some(format!("metadata.{key}")), unknown(key, "metadata", &METADATA)));
                    }
                    if matches!(key.as_str(), "annotations" | "labels") {
                        let entries = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
                        problems.extend(
                            entries
                                .filter(|(_, value)| !value.is_string())
                                .map(|(name, value)| (Some(format!("metadata.{key}.{name}")), no_string(value))),
                        );
                    }
                }
            }
            "spec" => {
                let found = spec_schema().map(|schema| faults(&schema, member, "spec")).unwrap_or_default();
                problems.extend(found.into_iter().map(|fault| {
                    let pauses = fault.unknown && matches!(fault.field.as_str(), "spec.paused" | "spec.pause");
                    let problem = if pauses { how_to_pause() } else { fault.problem };
                    (Some(fault.field), problem)
                }));
            }
            other => {
                problems.push((Some(other.to_owned()), "is not a field; an instance has metadata and spec".to_owned()));
            }
        }
    }
    if document.get("spec").is_none_or(Value::is_null) {
        problems.push((Some("spec".into()), "is required; at least spec.ssh.host and spec.ssh.user".to_owned()));
    }
    match document.pointer("/metadata/name") {
        None | Some(Value::Null) => {
            problems.push((Some("metadata.name".into()), "is required: everything is named after it".to_owned()));
        }
        Some(name) if !name.is_string() => problems.push((Some("metadata.name".into()), no_string(name))),
        Some(_) => {}
    }
    match document.pointer("/metadata/namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if name.is_empty() || is_namespace(name) => {}
        Some(Value::String(name)) => problems.push((
            Some("metadata.namespace".into()),
            format!("is {name}, and no namespace has such a name: {NAMESPACES}"),
        )),
        Some(other) => problems.push((Some("metadata.namespace".into()), no_string(other))),
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut instance: CatalystInstance = serde_json::from_value(without_nulls(document))
        .map_err(|error| vec![(None, format!("cannot be understood: {error}"))])?;
    // As kubectl takes it: an empty text is none.
    instance.metadata.namespace = instance.metadata.namespace.filter(|written| !written.is_empty());
    match instance.validate_cel() {
        Ok(()) => Ok(instance),
        Err(errors) => {
            let told = errors.into_vec().into_iter().map(|error| {
                let field = Some(error.field_path).filter(|field| !field.is_empty());
                (field.filter(|field| !error.message.starts_with(field.trim_start_matches("spec."))), error.message)
            });
            Err(told.collect())
        }
    }
}

/// What is wrong with a field, with its name once. Rules name it as for every item of a list (`extraEnv[].name`), or are sentences
/// without it.
fn named(field: &str, words: &str) -> String {
    let short = field.trim_start_matches("spec.");
    let pieces = short.split('[').map(|piece| piece.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    let every = pieces.collect::<Vec<_>>().join("[");
    if let Some(rest) = words.strip_prefix(&every) {
        return format!("{short}{rest}");
    }
    let continues = ["is ", "has ", "must ", "cannot "].iter().any(|verb| words.starts_with(verb));
    if continues { format!("{field} {words}") } else { format!("{field}: {words}") }
}

fn how_to_pause() -> String {
    format!(
        "is not a field; to have an instance left alone, annotate it (metadata.annotations: {{{PAUSED_ANNOTATION}: \"true\"}}), to stop its \
         pods, set spec.suspend"
    )
}

/// The same without members that are null, which the API server drops.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, member)| !member.is_null());
            Value::Object(kept.map(|(key, member)| (key, without_nulls(member))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: catalyst.dev/v1alpha1\nkind: CatalystInstance\nmetadata: {name: a}\nspec: {ssh: {host: h.example, user: u}}\n";

    fn told(text: &str) -> Vec<String> {
        let BadInput(problems) = parse("x.yaml", text).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn several_instances_are_read_in_order_and_empty_documents_do_not_count() {
        let text = format!("# first\n---\n{GOOD}---\n---\n{}", GOOD.replace("name: a", "name: b"));
        let sources = parse("x.yaml", &text).unwrap();
        let names: Vec<_> = sources.iter().map(|source| source.instance.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(sources[1].document, sources[0].document + 2);
    }

    #[test]
    fn a_problem_names_file_document_field_and_remedy() {
        let wrong = GOOD.replace("host:", "hots:").replace("user: u", "user: u, host: h");
        let text = format!("{GOOD}---\n{wrong}---\nkind: Secret\napiVersion: v1\n");
        assert_eq!(
            told(&text),
            [
                "x.yaml, document 2: spec.ssh.hots is not a field; did you mean spec.ssh.host?",
                "x.yaml, document 3: kind is Secret, not CatalystInstance; leave other objects out of this file",
            ]
        );
    }

    #[test]
    fn what_the_rules_of_the_schema_refuse_is_refused_here_with_their_words() {
        let told = told(&GOOD.replace("h.example", "user@h.example"));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("ssh.host must be a host name or an IP address alone"), "{told:?}");
        assert!(!told[0].contains("spec.ssh.host ssh.host"), "{told:?}");
    }

    #[test]
    fn a_rule_names_the_item_of_a_list_and_the_field_once() {
        for (variable, words) in [
            ("{name: a b, value: c}", "extraEnv[0].name must be of letters"),
            ("{name: A}", "spec.extraEnv[0]: a variable of extraEnv needs"),
        ] {
            let told = told(&GOOD.replace("user: u}", &format!("user: u}}, extraEnv: [{variable}]")));
            assert!(told[0].starts_with(&format!("x.yaml, document 1: {words}")), "{told:?}");
        }
    }

    #[test]
    fn whoever_looks_for_a_field_that_pauses_is_told_the_annotation() {
        let told = told(&GOOD.replace("user: u}", "user: u}, paused: true"));
        assert!(
            told[0].contains("spec.paused is not a field; to have an instance left alone, annotate it"),
            "{told:?}"
        );
    }

    #[test]
    fn an_annotation_or_label_that_is_no_text_is_named_with_the_remedy() {
        let text =
            GOOD.replace("name: a", "name: a, annotations: {catalyst.dev/paused: true, x: null}, labels: {n: 1}");
        assert_eq!(
            told(&text),
            [
                "x.yaml, document 1: metadata.annotations.catalyst.dev/paused must be a string, not true; write it in quotes",
                "x.yaml, document 1: metadata.labels.n must be a string, not the number 1; write it in quotes",
            ]
        );
    }

    #[test]
    fn names_that_cannot_be_and_the_same_instance_twice_are_told() {
        for (metadata, words) in [
            ("{name: 1}", "metadata.name must be a string, not the number 1; write it in quotes"),
            ("{name: a, namespace: 1}", "metadata.namespace must be a string, not the number 1; write it in quotes"),
            (
                "{name: a, namespace: Bad_NS}",
                "metadata.namespace is Bad_NS, and no namespace has such a name: at most 63",
            ),
        ] {
            let told = told(&GOOD.replace("{name: a}", metadata));
            assert!(told[0].starts_with(&format!("x.yaml, document 1: {words}")), "{told:?}");
        }
        let told = told(&format!("{GOOD}---\n{GOOD}"));
        assert_eq!(
            told,
            [
                "x.yaml, document 2: metadata.name is that of document 1 too; leave one of them out, or name it otherwise"
            ]
        );
        assert_eq!(text("x", "\u{feff}a".as_bytes()).unwrap(), "a", "a mark of Windows' editors");
    }

    #[test]
    fn an_instance_that_says_another_namespace_than_the_command_is_not_taken_to_either() {
        let sources = parse("x.yaml", &GOOD.replace("name: a", "name: a, namespace: there")).unwrap();
        assert!(agree(&sources, None).is_ok() && agree(&sources, Some("there")).is_ok());
        let told = agree(&sources, Some("here")).unwrap_err().to_string();
        assert_eq!(
            told,
            "x.yaml, document 1: metadata.namespace is there, and the command says --namespace here; leave one of them out"
        );
        assert!(agree(&parse("x.yaml", GOOD).unwrap(), Some("here")).is_ok());
        let unset = parse("x.yaml", &GOOD.replace("name: a", "name: a, namespace: ''")).unwrap();
        assert!(agree(&unset, Some("here")).is_ok() && unset[0].instance.metadata.namespace.is_none());
    }

    #[test]
    fn a_null_is_no_value_in_a_map_either() {
        let text = GOOD.replace("user: u}", "user: u}, podLabels: {a: null, b: c}");
        let spec = parse("x.yaml", &text).unwrap().remove(0).instance.spec;
        assert_eq!(spec.pod_labels.unwrap().into_keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn what_is_no_manifest_at_all_is_told_as_that() {
        assert_eq!(told("")[0], "x.yaml: holds no document; write a CatalystInstance (catalyst.dev/v1alpha1)");
        assert!(told("a: [")[0].starts_with("x.yaml, document 1: is not YAML: "));
        assert!(told("just words")[0].starts_with("x.yaml, document 1: kind is nothing, not CatalystInstance"));
        assert!(
            told(&GOOD.replace("v1alpha1", "v2"))[0]
                .contains("apiVersion is catalyst.dev/v2; write catalyst.dev/v1alpha1")
        );
        assert!(told(&GOOD.replace("user: u", "user: u, user: v"))[0].contains("is not YAML: "), "a key twice");
        assert!(
            told(&GOOD.replace("metadata: {name: a}", "metadata: {nam: a}"))[0].contains("did you mean metadata.name?")
        );
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/x.yaml")).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/x.yaml: cannot be read (No such file"), "{error}");
        assert!(read(Path::new("/")).unwrap_err().to_string().contains("is a folder"));
    }
}
