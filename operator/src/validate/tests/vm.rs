//! The way to the VM: host keys, and how far the NetworkPolicy opens it.

use std::net::IpAddr;

use super::*;
use crate::validated::HostKeys;

#[test]
fn given_host_keys_win_over_recorded_ones_and_a_bad_line_is_named() {
    let given = format!("192.168.1.100 {PUBLIC_KEY}\n");
    let valid = valid(with("ssh.knownHosts", json!(given)), &complete());
    assert_eq!(valid.ssh.host_keys, HostKeys::Given(given));

    let (reason, field, message) = stopped(with("ssh.knownHosts", json!("# ok\nvm ssh-ed25519 AAAA")), &complete());
    assert_eq!((reason, field.as_deref()), (Reason::InvalidSpec, Some("ssh.knownHosts")));
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn only_the_record_of_this_host_and_port_is_used() {
    let mut instance = instance(json!({"ssh": {"host": "vm", "user": "dev", "port": 2222}}));
    let record = |host: &str, port: i32, key: &str| json!({"host": host, "port": port, "key": key, "fingerprint": "SHA256:x", "recordedAt": "2026-01-01T00:00:00Z"});
    let records = json!({"hostKeys": [record("vm", 2222, PUBLIC_KEY), record("vm", 22, PUBLIC_KEY), record("old", 2222, PUBLIC_KEY), record("vm", 2222, "nonsense")]});
    instance.status = serde_json::from_value(records).unwrap();
    let valid = validate(&instance, &complete(), &defaults()).unwrap();
    assert_eq!(valid.ssh.host_keys, HostKeys::Recorded(vec![format!("[vm]:2222 {PUBLIC_KEY}")]));
}

#[test]
fn ssh_may_go_to_the_given_address_alone() {
    let ranges = |spec: Value| -> Vec<String> {
        valid(spec, &complete()).network_policy.unwrap().ssh_cidrs.iter().map(ToString::to_string).collect()
    };
    assert_eq!(ranges(least()), ["192.168.1.100/32"]);
    assert_eq!(ranges(with("ssh.host", json!("fd00::1"))), ["fd00::1/128"]);
    assert_eq!(ranges(with("networkPolicy.sshEgressCidr", json!("192.168.1.7/24"))), ["192.168.1.0/24"]);
}

#[test]
fn a_name_opens_ssh_to_everywhere_and_says_so() {
    let valid = valid(with("ssh.host", json!("vm.example.com")), &complete());
    assert_eq!(valid.network_policy.unwrap().ssh_cidrs.len(), 2);
    assert_eq!(valid.advice.iter().map(|finding| finding.reason).collect::<Vec<_>>(), [Reason::PermissiveEgress]);
}

#[test]
fn a_range_that_shuts_the_vm_out_is_refused() {
    let (reason, _, message) = stopped(with("networkPolicy.sshEgressCidr", json!("10.0.0.0/8")), &complete());
    assert_eq!(reason, Reason::EgressCidrExcludesHost);
    assert!(message.contains("10.0.0.0/8 does not contain the VM's address 192.168.1.100"), "{message}");

    let mut spec = with("networkPolicy.sshEgressCidr", json!("10.0.0.0/8"));
    spec["ssh"]["host"] = json!("vm");
    let resolved = |addresses: &[&str]| Fetched {
        host_addresses: addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect(),
        ..complete()
    };
    assert_eq!(stopped(spec.clone(), &resolved(&["192.168.1.1", "fd00::1"])).0, Reason::EgressCidrExcludesHost);
    valid(spec.clone(), &resolved(&["192.168.1.1", "10.1.2.3"]));
    valid(spec, &resolved(&[]));
}

#[test]
fn the_policy_follows_the_way_in_and_the_first_hop() {
    let policy = |spec: Value| valid(spec, &complete()).network_policy.unwrap();
    assert_eq!(policy(least()).ingress_namespaces, ["ingress-nginx"]);
    let gateway = json!({"parentRefs": [{"name": "g"}, {"name": "h", "namespace": "gateways"}], "hostnames": ["a.b"]});
    let mut exposed = with("gateway", gateway);
    assert_eq!(policy(exposed.clone()).ingress_namespaces, ["team", "gateways"]);
    exposed["networkPolicy"] = json!({"ingressNamespaces": ["envoy", "envoy"]});
    assert_eq!(policy(exposed).ingress_namespaces, ["envoy"]);

    let mut jumping = with("ssh.jump", json!({"host": "10.20.0.7"}));
    jumping["ssh"]["knownHosts"] = json!(format!("10.20.0.7,192.168.1.100 {PUBLIC_KEY}"));
    assert_eq!(policy(jumping.clone()).ssh_cidrs, ["10.20.0.7/32".parse().unwrap()]);
    let jump = valid(jumping.clone(), &complete()).ssh.jump.unwrap();
    assert_eq!(jump.to_string(), "vagrant@10.20.0.7:22");
    jumping["networkPolicy"] = json!({"sshEgressCidr": "192.168.1.0/24"});
    let (reason, _, message) = stopped(jumping.clone(), &complete());
    assert_eq!(reason, Reason::EgressCidrExcludesHost);
    assert!(message.contains("the jump host's address 10.20.0.7"), "{message}");

    // The addresses of the VM behind it, seen before there was a jump host, are none of the policy's business.
    jumping["ssh"]["jump"]["host"] = json!("bastion.example.com");
    jumping["networkPolicy"] = json!({"sshEgressCidr": "10.20.0.7/32"});
    valid(jumping, &Fetched { host_addresses: vec!["192.168.1.100".parse().unwrap()], ..complete() });
}

#[test]
fn a_range_for_ssh_that_is_nearly_everything_is_warned_of_however_it_came_about() {
    for (range, wide) in [("0.0.0.0/0", true), ("192.0.0.0/7", true), ("192.0.0.0/8", false)] {
        let told = advice(with("networkPolicy.sshEgressCidr", json!(range)), &complete());
        let reasons: Vec<Reason> = told.iter().map(|(reason, _)| *reason).collect();
        assert_eq!(reasons == [Reason::PermissiveEgress], wide, "{range}: {told:?}");
    }
}
