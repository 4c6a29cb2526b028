//! What status will say: one case a test. What they share, and what concerns no part alone.

mod exposure;
mod secrets;
mod vm;

use serde_json::{Value, json};

use super::*;
use crate::observed::{AppSecret, Child, Referenced, SecretText, SshKeySecret};

pub(super) const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN+kPrZSVGPvYiFiL2rGwf3hN4/sJQ0RI6tOjqjDic8c";

pub(super) fn instance(spec: Value) -> CatalystInstance {
    let object = json!({
        "apiVersion": "catalyst.dev/v1alpha1",
        "kind": "CatalystInstance",
        "metadata": {"name": "catalyst", "namespace": "team", "uid": "u1"},
        "spec": spec,
    });
    serde_json::from_value(object).unwrap()
}

/// One that is complete, with a key.
pub(crate) fn valid_instance() -> ValidatedInstance {
    valid(least(), &complete())
}

pub(super) fn defaults() -> Defaults {
    Defaults { proxy_image: "catalyst-proxy:0.0.0".to_owned() }
}

fn app_secret(catalyst: &str, cookie: &str) -> Referenced<AppSecret> {
    let text = |text: &str| (!text.is_empty()).then(|| SecretText::new(text));
    Referenced::Found {
        owner: Ownership::Ours,
        value: AppSecret { catalyst_secret: text(catalyst), cookie_secret: text(cookie), ..AppSecret::default() },
    }
}

fn ssh_key(owner: Ownership, entry: &str, key: &str) -> Referenced<SshKeySecret> {
    Referenced::Found {
        owner,
        value: SshKeySecret { entries: [(entry.to_owned(), SecretText::new(key))].into(), ..SshKeySecret::default() },
    }
}

/// A cluster in which all that an instance refers to is there.
pub(super) fn complete() -> Fetched {
    let key = catalyst_ssh::generate_ed25519("test").unwrap();
    Fetched {
        app_secret: app_secret("0123456789abcdef", "fedcba9876543210"),
        ssh_key: ssh_key(Ownership::Ours, "id_ed25519", &key.private_openssh),
        ..Fetched::default()
    }
}

fn valid(spec: Value, fetched: &Fetched) -> ValidatedInstance {
    validate(&instance(spec), fetched, &defaults()).unwrap()
}

/// The only finding, as reason, field and message.
fn stopped(spec: Value, fetched: &Fetched) -> (Reason, Option<String>, String) {
    let mut findings = validate(&instance(spec), fetched, &defaults()).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = findings.remove(0);
    (finding.reason, finding.field, finding.message)
}

/// The advice on a spec, as reason and message.
fn advice(spec: Value, fetched: &Fetched) -> Vec<(Reason, String)> {
    valid(spec, fetched).advice.into_iter().map(|finding| (finding.reason, finding.message)).collect()
}

fn least() -> Value {
    json!({"ssh": {"host": "192.168.1.100", "user": "vagrant"}})
}

fn with(path: &str, value: Value) -> Value {
    let mut spec = least();
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut place = &mut spec;
    for part in parents.split('.').filter(|part| !part.is_empty()) {
        place = place.as_object_mut().unwrap().entry(part).or_insert_with(|| json!({}));
    }
    place[last] = value;
    spec
}

#[test]
fn an_object_of_somebody_else_is_a_conflict_only_if_its_name_is_needed() {
    let child = |kind: &str, name: &str| Child {
        kind: kind.to_owned(),
        name: name.to_owned(),
        owner: Ownership::Foreign(Some("Foo/bar".to_owned())),
    };
    let (reason, _, message) =
        stopped(least(), &Fetched { children: vec![child("ConfigMap", "catalyst-config")], ..complete() });
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("ConfigMap catalyst-config exists and belongs to Foo/bar"), "{message}");
    // No Ingress is wanted, so one of that name is nobody's business.
    valid(least(), &Fetched { children: vec![child("Ingress", "catalyst")], ..complete() });
}

#[test]
fn what_a_predecessor_of_the_same_name_left_is_waited_for() {
    let predecessor = Ownership::Foreign(Some("CatalystInstance/catalyst".to_owned()));
    let child = Child { kind: "Service".to_owned(), name: "catalyst".to_owned(), owner: predecessor.clone() };
    let (reason, _, message) = stopped(least(), &Fetched { children: vec![child.clone()], ..complete() });
    assert_eq!(reason, Reason::Progressing);
    assert!(message.contains("Service catalyst of the instance's predecessor is still being removed"), "{message}");

    let Referenced::Found { value, .. } = app_secret("0123456789abcdef", "fedcba9876543210") else { unreachable!() };
    let fetched = Fetched { app_secret: Referenced::Found { owner: predecessor.clone(), value }, ..complete() };
    assert_eq!(stopped(least(), &fetched).0, Reason::Progressing);
    let fetched = Fetched { ssh_key: ssh_key(predecessor, "id_ed25519", "x"), ..complete() };
    assert_eq!(stopped(least(), &fetched).0, Reason::Progressing);

    let another = Ownership::Foreign(Some("CatalystInstance/catalyst-2".to_owned()));
    let fetched = Fetched { children: vec![Child { owner: another, ..child }], ..complete() };
    assert_eq!(stopped(least(), &fetched).0, Reason::NameConflict);
}

#[test]
fn resources_given_win_and_defaults_give_way_to_them() {
    let resources = |spec: Value| valid(spec, &complete()).resources;
    let default = resources(least());
    assert_eq!(default.requests["cpu"], "100m");
    assert_eq!(default.limits["memory"], "512Mi");
    // A default gives way only as far as it must: none is dropped.
    let large = resources(with("resources.requests", json!({"memory": "1Gi"})));
    assert_eq!((large.requests["memory"].as_str(), large.limits["memory"].as_str()), ("1Gi", "1Gi"));
    assert_eq!(large.limits["cpu"], "500m");
    let small = resources(with("resources.limits", json!({"memory": "64Mi"})));
    assert_eq!((small.requests["memory"].as_str(), small.limits["memory"].as_str()), ("64Mi", "64Mi"));
    let unlimited = resources(with("resources.limits", json!({"cpu": 0})));
    assert_eq!(unlimited.limits.get("cpu"), None);

    let mut spec = with("resources.requests", json!({"memory": "2Gi"}));
    spec["resources"]["limits"] = json!({"memory": "1Gi"});
    let (reason, field, _) = stopped(spec, &complete());
    assert_eq!((reason, field.as_deref()), (Reason::InvalidSpec, Some("resources.requests.memory")));
}

#[test]
fn suspend_means_no_pods_and_forgets_nothing() {
    let mut spec = with("suspend", json!(true));
    spec["replicas"] = json!(3);
    let valid = valid(spec, &complete());
    assert_eq!((valid.replicas, valid.suspended), (0, true));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let spec = json!({"ssh": {"host": "a b", "user": "", "port": 0}, "publicUrl": "x", "ingress": {"enabled": true}});
    let findings = validate(&instance(spec), &complete(), &defaults()).unwrap_err();
    let fields: Vec<&str> = findings.iter().filter_map(|finding| finding.field.as_deref()).collect();
    assert_eq!(fields, ["ssh.host", "ssh.port", "ssh.user", "ingress.host", "publicUrl"]);
}
