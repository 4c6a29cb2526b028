//! The rules of the CRD, evaluated without an API server: what must be refused is, with a message that names the field.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test says what is wrong by panicking, and its modules are its own"
)]

mod refusals;

use catalyst_operator::crd::CatalystInstance;
use refusals::{ACCEPTED, By, REFUSALS, manifest};

fn refusal(name: &str, spec: &str) -> Option<String> {
    let instance: CatalystInstance = serde_yaml::from_str(&manifest(name, spec)).unwrap();
    instance.validate_cel().err().map(|errors| errors.to_string())
}

#[test]
fn a_wrong_spec_is_refused_with_a_message_that_names_the_field() {
    for (case, name, spec, _, expected) in REFUSALS.iter().filter(|(_, _, _, by, _)| *by == By::Rule) {
        let refusal = refusal(name, spec).unwrap_or_else(|| panic!("{case}: accepted"));
        assert!(refusal.contains(expected), "{case}: {refusal}");
    }
}

#[test]
fn a_right_spec_is_taken() {
    for (case, spec) in ACCEPTED {
        assert_eq!(refusal("x", spec), None, "{case}");
    }
}
