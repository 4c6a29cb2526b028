//! Helm values → `CatalystInstance`. Pure. Field names were chosen so that most values keep their place: whatever the schema
//! has at the same path is taken over; what is called otherwise is in the table below; all else is listed with the reason
//! and what to do. Nothing is dropped in silence but what is unset (null, empty) or always so under the operator.

mod chart;
mod checked;
mod convert;
mod read;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Map, Value, json};

use self::{
    checked::name_of,
    convert::{at, converted, entry_schema, unset, value_kind},
};
use crate::{
    container::HEALTH_PATH,
    crd::{CatalystInstance, spec_schema},
    names::InstanceName,
    offline,
};

/// The name of an instance where neither the flag nor the values give one: that of the chart.
const DEFAULT_NAME: &str = "catalyst";

/// What is wanted beside the values.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the instance; unset: `fullnameOverride`, else `catalyst`.
    pub name: Option<String>,
    /// Its namespace; unset: left out of the manifest.
    pub namespace: Option<String>,
    /// Whether a running release is taken over: then the Secret that the chart made is kept.
    pub adopting: bool,
}

/// A value that was not taken over as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where it was among the values, such as `autoscaling.minReplicas`.
    pub key: String,
    /// Why not.
    pub reason: String,
    /// What to do; empty where nothing is to be done.
    pub remedy: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.key, self.reason)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(formatter, " {}", self.remedy) }
    }
}

/// Values as an instance.
#[derive(Clone, Debug)]
pub struct Migrated {
    /// The instance.
    pub instance: CatalystInstance,
    /// The same as it is to be printed: without defaults.
    pub manifest: Value,
    /// What was not taken over, in the order of the values.
    pub notes: Vec<Note>,
}

/// Why values cannot become an instance.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// They are no YAML mapping.
    #[error(
        "{file} cannot be read as Helm values: {problem}. Get them with: helm get values RELEASE -n NAMESPACE --all -o yaml"
    )]
    Unreadable {
        /// The file as it was named.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// What every instance needs is missing or wrong.
    #[error("{file}: {problem} {remedy}{}", also(.notes))]
    Unusable {
        /// The file as it was named.
        file: String,
        /// Which fields, and what is wrong with each, in sentences.
        problem: String,
        /// What to do.
        remedy: String,
        /// What could not be taken over besides; the reason may be among it, such as a key that is written wrong.
        notes: Vec<Note>,
    },
}

fn also(notes: &[Note]) -> String {
    notes.iter().map(|note| format!("\n  {note}")).collect()
}

/// Turns values into an instance; `file` is only for messages.
///
/// # Errors
/// See [`ValuesError`].
pub fn migrate(text: &str, file: &str, options: &Options) -> Result<Migrated, ValuesError> {
    let values = read::read(text).map_err(|problem| ValuesError::Unreadable { file: file.to_owned(), problem })?;
    let namespace = options.namespace.clone();
    let mut mapping = Mapping { spec: Map::new(), notes: Vec::new(), adopting: options.adopting, namespace };
    let chosen = ["fullnameOverride", "nameOverride"].iter().find_map(|key| values.get(*key)?.as_str());
    let name = options.name.as_deref().or(chosen.filter(|name| !name.is_empty())).unwrap_or(DEFAULT_NAME);
    if InstanceName::parse(name).is_none() {
        let problem = format!("{name:?} is no name for an instance.");
        let remedy = "Give one with --name (a-z, 0-9 and '-', at most 52).".to_owned();
        return Err(ValuesError::Unusable { file: file.to_owned(), problem, remedy, notes: Vec::new() });
    }
    let schema = spec_schema().unwrap_or_default();
    for (key, value) in &values {
        mapping.value(&schema, key, &[key], value);
    }
    mapping.issuer();
    mapping.kept_secret(&values, name);
    mapping.kept_key(&values);
    let metadata = match &options.namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    };
    mapping.checked(metadata, file)
}

struct Mapping {
    spec: Map<String, Value>,
    notes: Vec<Note>,
    adopting: bool,
    namespace: Option<String>,
}

impl Mapping {
    fn note(&mut self, key: &str, reason: impl Into<String>, remedy: impl Into<String>) {
        self.notes.push(Note { key: key.to_owned(), reason: reason.into(), remedy: remedy.into() });
    }

    /// One value: by the table, or to the same place, or noted. `at` is its path among the values.
    fn value(&mut self, schema: &JSONSchemaProps, key: &str, at: &[&str], value: &Value) {
        if unset(value) {
            return;
        }
        let path = at.join(".");
        if self.known(&path, value) {
            return;
        }
        let Some(field) = schema.properties.as_ref().and_then(|properties| properties.get(key)) else {
            let names: Vec<_> = schema.properties.iter().flatten().map(|(name, _)| name.as_str()).collect();
            let remedy = match offline::nearest(key, &names) {
                Some(name) => {
                    let right = [at.split_last().map_or(&[][..], |(_, above)| above), &[name]].concat().join(".");
                    format!("If {right} is meant, the chart did not know it either: correct the key.")
                }
                None => format!("If it matters, look for another field: kubectl explain cati.spec{}", below(at)),
            };
            return self.note(&path, "no field of the instance corresponds to it.", remedy);
        };
        match (value, field.properties.is_some()) {
            (Value::Object(members), true) => {
                for (key, member) in members {
                    self.value(field, key, &[at, &[key.as_str()]].concat(), member);
                }
            }
            _ => match (converted(field, value), value) {
                (Some(value), _) => self.set(at, value),
                (None, Value::Array(entries)) if entry_schema(field).is_some() => self.entries(field, at, entries),
                (None, _) => {
                    let reason = format!("{} is not what the field takes.", value_kind(value));
                    self.note(&path, reason, format!("Set spec.{path} by hand (kubectl explain cati.spec.{path})."));
                }
            },
        }
    }

    /// A probe that asks something else than the server answers for it: `instead` says whether it runs, or takes requests, and no more, as
    /// such a probe would.
    fn probe(&mut self, path: &str, probe: &str, instead: &str) {
        self.set(&[probe, "httpGet", "path"], json!(instead));
        let remedy = format!("{instead} is asked instead; {HEALTH_PATH} would fail while the VM is out of reach, too.");
        self.note(path, "the server tells how it is by httpGet, and on other paths.", remedy);
    }

    /// Of a list what can be taken over; what cannot is noted.
    fn entries(&mut self, list: &JSONSchemaProps, at: &[&str], entries: &[Value]) {
        let path = at.join(".");
        let mut taken = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(entry) = entry_schema(list).and_then(|of| converted(of, entry)) {
                taken.push(entry);
                continue;
            }
            let which = name_of(entry).unwrap_or_else(|| format!("number {}", index + 1));
            let reason = match entry {
                Value::Object(_) => "a field in it is not of the type that it takes.".to_owned(),
                other => format!("{} is not what an entry is.", value_kind(other)),
            };
            let remedy = format!("Only this entry is left out; add it to spec.{path} by hand if it is needed.");
            self.note(&format!("{path} ({which})"), reason, remedy);
        }
        if !taken.is_empty() {
            self.set(at, Value::Array(taken));
        }
    }

    /// Values that are called otherwise, are always so, or cannot be carried over. `false`: none of these.
    fn known(&mut self, path: &str, value: &Value) -> bool {
        let truth = value.as_bool();
        match path {
            "replicaCount" => self.renamed(path, &["replicas"], value),
            "imagePullSecrets" => {
                // Charts take names alone as well.
                let names = value.as_array().into_iter().flatten();
                let names =
                    names.map(|entry| entry.as_str().map_or_else(|| entry.clone(), |name| json!({"name": name})));
                self.set(&["image", "pullSecrets"], Value::Array(names.collect()));
            }
            "fullnameOverride" | "nameOverride" => {}
            "livenessProbe.httpGet.path" if !is_asked(value, "/livez") => self.probe(path, "livenessProbe", "/livez"),
            "readinessProbe.httpGet.path" if !is_asked(value, "/readyz") => {
                self.probe(path, "readinessProbe", "/readyz")
            }
            "livenessProbe.tcpSocket" | "livenessProbe.exec" | "livenessProbe.grpc" => {
                self.probe(path, "livenessProbe", "/livez");
            }
            "readinessProbe.tcpSocket" | "readinessProbe.exec" | "readinessProbe.grpc" => {
                self.probe(path, "readinessProbe", "/readyz");
            }
            "containerPort" | "service.targetPort" => {
                if !["3001", "\"3001\"", "\"http\""].contains(&value.to_string().as_str()) {
                    self.note(path, "the server's port in the container is always 3001.", "Nothing is to be done.");
                }
            }
            "secrets.useExisting" if truth == Some(false) => {}
            "catalystSecret" | "cookieSecret" | "secrets.catalystSecret" | "secrets.cookieSecret" => {}
            "env" | "extraEnvVars" => self.environment(path, value),
            "extraEnv" => self.environment(path, value),
            "ingress.annotations" => self.annotations(value),
            "ingress.tls" => self.tls(value),
            "ingress.hosts" => self.hosts(value),
            "podSecurityContext" | "securityContext" => self.security_context(path, value),
            "serviceAccount" => {
                let asked = value.get("annotations").is_some_and(|annotations| !unset(annotations));
                if asked || value.get("name").is_some_and(|name| !unset(name)) {
                    let remedy = "If a webhook or a policy needs it, say so to whoever runs them.";
                    self.note(path, "the pods use no service account's rights and mount no token.", remedy);
                }
            }
            "autoscaling" => {
                if value.get("enabled") != Some(&Value::Bool(false)) {
                    let remedy = "Make a HorizontalPodAutoscaler whose scaleTargetRef is this CatalystInstance; its number is kept.";
                    self.note(path, "autoscaling is no matter of the instance.", remedy);
                }
            }
            _ => return false,
        }
        true
    }

    fn renamed(&mut self, path: &str, field: &[&str], value: &Value) {
        let schema = spec_schema().unwrap_or_default();
        match at(&schema, field).and_then(|schema| converted(schema, value)) {
            Some(value) => self.set(field, value),
            None => {
                let field = field.join(".");
                self.note(
                    path,
                    format!("{} is not what spec.{field} takes.", value_kind(value)),
                    format!("Set spec.{field}."),
                );
            }
        }
    }

    fn set(&mut self, path: &[&str], value: Value) {
        let mut place = &mut self.spec;
        let Some((last, folders)) = path.split_last() else { return };
        for folder in folders {
            let below = place.entry((*folder).to_owned()).or_insert_with(|| json!({}));
            let Value::Object(below) = below else { return };
            place = below;
        }
        place.insert((*last).to_owned(), value);
    }
}

/// Whether a probe's path is the server's health, or what it says on `own` alone.
fn is_asked(path: &Value, own: &str) -> bool {
    path.as_str().is_some_and(|path| path == HEALTH_PATH || path == own)
}

/// The path of the mapping that a value is in, as `kubectl explain` takes it after `spec`.
fn below(at: &[&str]) -> String {
    let above = at.split_last().map_or(&[][..], |(_, above)| above);
    above.iter().map(|key| format!(".{key}")).collect()
}

#[cfg(test)]
mod tests;
