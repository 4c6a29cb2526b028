//! What is deployed for each example, in full. A change here is a change in people's clusters: read it as one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test says what is wrong by panicking, and its modules are its own"
)]

mod examples;

use catalyst_operator::build::{Desired, build};
use catalyst_operator::reason::Reason;
use examples::{example, examples, validated};

fn manifests(desired: Desired) -> String {
    let Desired { deployment, service, ingress, http_route, disruption_budget, config, known_hosts, network_policy } =
        desired;
    let documents = [
        Some(serde_yaml::to_string(&config).unwrap()),
        Some(serde_yaml::to_string(&known_hosts).unwrap()),
        Some(serde_yaml::to_string(&deployment).unwrap()),
        Some(serde_yaml::to_string(&service).unwrap()),
        ingress.map(|ingress| serde_yaml::to_string(&ingress).unwrap()),
        http_route.map(|route| serde_yaml::to_string(&route).unwrap()),
        disruption_budget.map(|budget| serde_yaml::to_string(&budget).unwrap()),
        network_policy.map(|policy| serde_yaml::to_string(&policy).unwrap()),
    ];
    documents.into_iter().flatten().collect::<Vec<_>>().join("---\n")
}

#[test]
fn each_example_becomes_these_objects() {
    let examples = examples();
    assert!(examples.len() >= 5, "only {examples:?}");
    for path in examples {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        insta::assert_snapshot!(name, manifests(build(&validated(&path))));
    }
}

#[test]
fn each_example_passes_the_rules_and_only_the_expected_ones_are_warned_about() {
    for path in examples() {
        example(&path).validate_cel().unwrap_or_else(|errors| panic!("{}: {errors}", path.display()));
        let valid = validated(&path);
        // Most are opened as the chart sets it up, over plain http.
        let open = valid.public_url.as_ref().is_some_and(|url| !url.https);
        let expected = if open { vec![Reason::PlainHttp] } else { Vec::new() };
        let told: Vec<Reason> = valid.advice.iter().map(|finding| finding.reason).collect();
        assert_eq!(told, expected, "{}", path.display());
        assert_eq!(validated(&path).missing_secrets(), [], "{}", path.display());
    }
}
