//! What `config/` installs fits the binary that it installs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod argocd;
mod chart;
mod gitops;

use std::collections::BTreeSet;
use std::path::Path;

use catalyst_operator::args::Args;
use catalyst_operator::crd;
use clap::CommandFactory as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde::Deserialize as _;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../config").join(file)).unwrap()
}

/// The variables that the operator reads.
fn known_variables() -> BTreeSet<String> {
    let command = Args::command();
    let run = command.find_subcommand("run").unwrap();
    run.get_arguments().filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect()
}

#[test]
fn every_variable_and_argument_of_the_deployment_is_one_that_the_operator_reads() {
    let deployment: Deployment = serde_yaml::from_str(&read("operator/deployment.yaml")).unwrap();
    let container = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0);
    let known = known_variables();
    for variable in container.env.unwrap() {
        assert!(known.contains(variable.name.as_str()), "the operator reads no {}, only {known:?}", variable.name);
    }
    let line = std::iter::once("catalyst-operator".to_owned()).chain(container.args.unwrap());
    Args::command().try_get_matches_from(line).unwrap();
}

/// The rules of a ClusterRole of `config/rbac/operator.yaml`.
fn operator_rules() -> Vec<PolicyRule> {
    let text = read("rbac/operator.yaml");
    let document = serde_yaml::Deserializer::from_str(&text).next().unwrap();
    ClusterRole::deserialize(document).unwrap().rules.unwrap()
}

#[test]
fn no_right_is_granted_by_an_asterisk_and_no_secret_may_be_changed() {
    // Deleted are generated ones that others take the place of; what that does is held to by UID in the code.
    for rule in operator_rules() {
        let names = rule.api_groups.iter().flatten().chain(rule.resources.iter().flatten()).chain(&rule.verbs);
        assert!(names.into_iter().all(|name| name != "*"), "{rule:?}");
        if rule.resources.iter().flatten().any(|resource| resource == "secrets") {
            let changing = ["update", "patch", "deletecollection"];
            assert!(!rule.verbs.iter().any(|verb| changing.contains(&verb.as_str())), "{rule:?}");
        }
    }
}

#[test]
fn every_resource_of_ours_may_be_watched_and_its_status_written() {
    for crd in crd::all() {
        let plural = crd.spec.names.plural;
        for (resource, verb) in [(plural.clone(), "watch"), (format!("{plural}/status"), "patch")] {
            let granted = operator_rules().iter().any(|rule| {
                rule.resources.iter().flatten().any(|granted| *granted == resource)
                    && rule.verbs.iter().any(|granted| granted == verb)
            });
            assert!(granted, "{verb} {resource} is not granted");
        }
    }
}
