//! The Helm chart installs what `config/` installs. What needs no value is made from `config/`; the rest is compared with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use catalyst_operator::args::Args;
use catalyst_operator::crd;
use clap::CommandFactory as _;

use super::read;

const GENERATED: &str = "# Generated from config/ and crds/ by `make generate`. Do not edit.\n";

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/catalyst-operator")
}

fn template_text(name: &str) -> String {
    std::fs::read_to_string(chart().join("templates").join(name)).unwrap()
}

fn assert_generated(name: &str, wanted: &str) {
    let path = chart().join("templates").join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "charts/…/{name} is not what config/ says now: run `make generate` and commit it");
}

/// The first document of a file.
fn first_document(text: &str) -> &str {
    text.split("\n---\n").next().unwrap().trim_end()
}

#[test]
fn the_charts_rights_are_those_of_config() {
    let roles = [read("rbac/operator.yaml"), read("rbac/leader-election.yaml")];
    let mut wanted = GENERATED.to_owned();
    for role in &roles {
        wanted.push_str(&format!("{}\n---\n", first_document(role)));
    }
    wanted.push_str(&read("rbac/users.yaml"));
    assert!(!wanted.contains("{{"), "helm would read it as a template");
    assert_generated("roles.yaml", &wanted);
}

#[test]
fn the_charts_crds_are_those_of_the_code_and_outlive_it() {
    let crds = crd::manifests().unwrap();
    assert!(!crds.contains("{{"), "helm would read it as a template");
    let documents = crds.split_once("---\n").unwrap().1;
    let kept = documents.replace("\nmetadata:\n", "\nmetadata:\n  annotations:\n    helm.sh/resource-policy: keep\n");
    assert_eq!(kept.matches("resource-policy: keep").count(), crd::all().len());
    assert_generated("crds.yaml", &format!("{GENERATED}{{{{- if .Values.crds.install }}}}\n{kept}{{{{- end }}}}\n"));
}

#[test]
fn the_charts_warnings_are_those_of_config() {
    let warnings = read("admission/warnings.yaml");
    assert!(!warnings.contains("{{"), "helm would read it as a template");
    let wanted = format!("{GENERATED}{{{{- if .Values.admissionWarnings }}}}\n{warnings}{{{{- end }}}}\n");
    assert_generated("admission.yaml", &wanted);
}

/// Line by line, in order; what values decide is left out.
#[test]
fn the_charts_deployment_says_what_that_of_config_says() {
    let decided_by_values = ["replicas: 1", "image: catalyst-operator", "value: catalyst-proxy"];
    let template = template_text("deployment.yaml");
    let values = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let mut rest = template.lines();
    for line in read("operator/deployment.yaml").lines().filter(|line| !line.trim_start().starts_with('#')) {
        let found = decided_by_values.contains(&line.trim())
            || rest.clone().any(|other| other == line) && rest.any(|other| other == line)
            || line.starts_with("            ") && values.lines().any(|value| value.trim() == line.trim());
        assert!(found, "the chart's Deployment lacks, or has elsewhere: {line}");
    }
    let without_namespace = template_text("service.yaml").replace("  namespace: {{ .Release.Namespace }}\n", "");
    assert_eq!(without_namespace, read("operator/service.yaml"));
}

#[test]
fn every_variable_of_the_charts_deployment_is_one_that_the_operator_reads() {
    let command = Args::command();
    let run = command.find_subcommand("run").unwrap();
    let known: BTreeSet<&str> = run.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    let template = template_text("deployment.yaml");
    let set = template.lines().filter_map(|line| line.trim().strip_prefix("- name: "));
    let set: Vec<&str> =
        set.filter(|name| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')).collect();
    assert!(set.len() >= 5, "{set:?}");
    for variable in set {
        assert!(known.contains(variable), "the operator reads no {variable}, only {known:?}");
    }
}

#[test]
fn the_chart_is_of_this_version() {
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let chart: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    for version in ["version", "appVersion"] {
        assert_eq!(chart[version], env!("CARGO_PKG_VERSION"), "{version}");
    }
}
