//! `render`: the objects that become of a manifest, as YAML. Pure: no cluster is asked, so Secrets hold placeholders.

use serde_json::Value;

use super::{
    input::{BadInput, Problem, Source},
    manifests::{Wanted, wanted},
    stand_in,
    yaml::to_yaml,
};
use crate::{
    apply::APPLIED_ANNOTATION,
    build::{
        build,
        secret::{self, AppValues},
    },
    validated::{Defaults, HostKeys, MissingSecret, ValidatedInstance},
};

/// In place of a value that the operator generates.
const GENERATED: &str = "(generated at run time)";

/// Every object of every instance, as YAML documents with comments that say what is only known at run time. `namespace` is
/// used where a manifest names none.
///
/// # Errors
/// An instance is not valid: every finding, with file, document and field.
pub fn render(sources: &[Source], namespace: &str, defaults: &Defaults) -> Result<String, BadInput> {
    let mut text = String::new();
    let mut problems = Vec::new();
    for source in sources {
        let problem = |field: Option<String>, problem: String| Problem {
            file: source.file.clone(),
            document: Some(source.document),
            field,
            problem,
        };
        match stand_in::validated(&source.instance, namespace, defaults) {
            Ok(valid) => match documents(&valid) {
                Ok(documents) => text.push_str(&documents),
                Err(error) => problems.push(problem(None, format!("cannot be written as YAML: {error}"))),
            },
            Err(findings) => problems.extend(findings.into_iter().map(|found| problem(found.field, found.message))),
        }
    }
    if problems.is_empty() { Ok(text) } else { Err(BadInput(problems)) }
}

fn documents(valid: &ValidatedInstance) -> Result<String, Box<dyn std::error::Error>> {
    let mut text = heading(valid);
    for secret in placeholders(valid)? {
        document(secret, &mut text)?;
    }
    let built = build(&stand_in::with_checksum(valid.clone()));
    for wanted in wanted(&valid.name, &built)? {
        if let Wanted::Object(manifest) = wanted {
            document(manifest.object, &mut text)?;
        }
    }
    Ok(text)
}

fn heading(valid: &ValidatedInstance) -> String {
    let mut lines = vec![
        format!(
            "CatalystInstance {}/{}: what catalyst-operator {} makes of it, in this order.",
            valid.namespace,
            valid.name,
            env!("CARGO_PKG_VERSION")
        ),
        format!("Added at run time: the owner reference to the instance, and the annotations {APPLIED_ANNOTATION}*."),
    ];
    let missing = valid.missing_secrets();
    for (which, name, yours) in [
        (MissingSecret::App, &valid.app_secret.secret, "its checksum is an annotation of the pods"),
        (MissingSecret::SshKey, &valid.ssh.key.secret, "it is mounted into the pods"),
    ] {
        lines.push(match missing.contains(&which) {
            true => format!("Secret {name}: generated at run time, once; below it has placeholders."),
            false => format!("Secret {name}: yours, only read; {yours}."),
        });
    }
    if matches!(valid.ssh.host_keys, HostKeys::Recorded(_)) {
        lines.push(format!(
            "ConfigMap {}: the VM's host key is recorded at first contact; below it is empty.",
            valid.name.known_hosts()
        ));
    }
    lines.extend(valid.advice.iter().map(|found| format!("{}: {}", found.reason, found.message)));
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

/// The Secrets that the operator generates, without their values.
fn placeholders(valid: &ValidatedInstance) -> Result<Vec<Value>, serde_json::Error> {
    let missing = valid.missing_secrets();
    let secrets = missing.iter().map(|which| match which {
        MissingSecret::App => {
            let [catalyst_secret, cookie_secret] = [GENERATED, GENERATED].map(str::to_owned);
            secret::app_secret(valid, AppValues { catalyst_secret, cookie_secret, cookie_secret_previous: None })
        }
        MissingSecret::SshKey => secret::ssh_key(valid, GENERATED.to_owned(), GENERATED.to_owned()),
    });
    secrets
        .map(|mut secret| {
            let data = secret.data.take().unwrap_or_default();
            // As text: the placeholder is to be read.
            secret.string_data = Some(data.into_keys().map(|entry| (entry, GENERATED.to_owned())).collect());
            serde_json::to_value(secret)
        })
        .collect()
}

fn document(mut object: Value, text: &mut String) -> Result<(), serde_yaml::Error> {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        // It names an instance that is not there: an object applied with it would be collected as garbage.
        metadata.remove("ownerReferences");
    }
    text.push_str("---\n");
    text.push_str(&to_yaml(&object)?);
    Ok(())
}
