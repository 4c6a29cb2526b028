//! What status will say: one case a test.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::*;
use crate::observed::{AppSecret, Child, IngressClass, Referenced, RouteView, SecretText, SshKeySecret};
use crate::validated::{AppSecretState, HostKeys, KeyState, MissingSecret};

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
fn without_secrets_both_are_to_be_generated() {
    let valid = valid(least(), &Fetched::default());
    assert_eq!(valid.missing_secrets(), [MissingSecret::App, MissingSecret::SshKey]);
    assert_eq!(valid.app_secret.secret, "catalyst-secrets");
    assert_eq!(valid.ssh.key.secret, "catalyst-ssh-key");
}

#[test]
fn secrets_that_are_ours_are_used_and_the_public_key_is_told() {
    let valid = valid(least(), &complete());
    assert_eq!(valid.missing_secrets(), []);
    let KeyState::Present { public_line } = valid.ssh.key.state else { panic!("no key") };
    assert!(
        public_line.starts_with("ssh-ed25519 ") && public_line.ends_with(" catalyst-team-catalyst"),
        "{public_line}"
    );
}

#[test]
fn a_header_that_everybody_could_send_names_nobody() {
    let named = |trusted: &str| {
        let mut spec = least();
        spec["identityHeader"] = json!("Remote-User");
        spec["trustedProxies"] = json!(["10.0.0.0/8", trusted]);
        spec
    };
    assert_eq!(valid(named("10.1.0.0/16"), &complete()).identity_header.as_deref(), Some("Remote-User"));
    for everywhere in ["0.0.0.0/0", "::/0"] {
        let (reason, field, message) = stopped(named(everywhere), &complete());
        assert_eq!((reason, field.as_deref()), (Reason::InvalidSpec, Some("trustedProxies")));
        assert!(message.contains("whoever connects could name himself anybody"), "{message}");
    }
    let mut open = named("10.1.0.0/16");
    open["networkPolicy"] = json!({"enabled": false});
    let (_, field, message) = stopped(open, &complete());
    assert_eq!(field.as_deref(), Some("identityHeader"));
    assert!(message.contains("networkPolicy.enabled: false"), "{message}");
}

#[test]
fn a_named_secret_that_is_missing_is_told_with_the_command_that_makes_it() {
    let (reason, field, message) =
        stopped(with("secrets.useExisting", json!(true)), &Fetched { app_secret: Referenced::Missing, ..complete() });
    assert_eq!((reason, field.as_deref()), (Reason::SecretMissing, Some("secrets")));
    assert!(message.contains("kubectl create secret generic catalyst-secrets -n team"), "{message}");

    let (reason, _, message) =
        stopped(with("ssh.existingKeySecret", json!("mine")), &Fetched { ssh_key: Referenced::Missing, ..complete() });
    assert_eq!(reason, Reason::SecretMissing);
    assert!(message.contains("kubectl create secret generic mine -n team --from-file=id_ed25519="), "{message}");
}

#[test]
fn a_secret_of_somebody_else_is_never_seized() {
    let foreign = Ownership::Foreign(None);
    let Referenced::Found { value, .. } = app_secret("0123456789abcdef", "fedcba9876543210") else { unreachable!() };
    let fetched = Fetched { app_secret: Referenced::Found { owner: foreign.clone(), value }, ..complete() };
    let (reason, _, message) = stopped(least(), &fetched);
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("secrets.useExisting: true"), "{message}");
    // The same Secret is read once the spec says so.
    assert!(valid(with("secrets.useExisting", json!(true)), &fetched).missing_secrets().is_empty());

    let fetched = Fetched { ssh_key: ssh_key(foreign, "id_ed25519", "x"), ..complete() };
    let (reason, _, message) = stopped(least(), &fetched);
    assert_eq!(reason, Reason::NameConflict);
    assert!(message.contains("ssh.existingKeySecret: catalyst-ssh-key"), "{message}");
}

#[test]
fn unsafe_application_secrets_are_refused_without_being_shown() {
    for (catalyst, cookie, problem) in [
        ("CHANGE_ME", "fedcba9876543210", "CATALYST_SECRET still has the placeholder"),
        ("0123456789abcdef", "change_me-0123456789", "COOKIE_SECRET still has the placeholder"),
        ("0123456789abcdef", "hunter2             \n", "COOKIE_SECRET is shorter than 16"),
        ("ääääääää", "fedcba9876543210", "CATALYST_SECRET is shorter than 16"),
        (" \n", "fedcba9876543210", "CATALYST_SECRET is missing"),
        ("01234567\089abcdef", "fedcba9876543210", "CATALYST_SECRET contains a zero byte"),
        ("0123456789abcdef", "hunter2", "COOKIE_SECRET is shorter than 16"),
        ("", "fedcba9876543210", "CATALYST_SECRET is missing"),
    ] {
        let (reason, _, message) =
            stopped(least(), &Fetched { app_secret: app_secret(catalyst, cookie), ..complete() });
        assert_eq!(reason, Reason::SecretInvalid);
        assert!(message.contains(problem), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn an_application_secret_that_is_no_text_is_refused_and_one_in_any_script_is_taken() {
    let Referenced::Found { owner, mut value } = app_secret("ä".repeat(16).as_str(), "fedcba9876543210\n") else {
        unreachable!()
    };
    let with = |value: &AppSecret| Fetched {
        app_secret: Referenced::Found { owner: owner.clone(), value: value.clone() },
        ..complete()
    };
    valid(least(), &with(&value));
    value.cookie_secret = Some(SecretText::new([0xff_u8; 32]));
    let (reason, _, message) = stopped(least(), &with(&value));
    assert_eq!(reason, Reason::SecretInvalid);
    assert!(message.contains("COOKIE_SECRET is no UTF-8 text"), "{message}");
}

#[test]
fn the_checksum_follows_each_secret_and_shows_none() {
    let checksum = |catalyst: &str, cookie: &str| {
        let fetched = Fetched { app_secret: app_secret(catalyst, cookie), ..complete() };
        match valid(least(), &fetched).app_secret.state {
            AppSecretState::Present { checksum } => checksum,
            AppSecretState::ToGenerate => panic!("no secret"),
        }
    };
    let first = checksum("0123456789abcdef", "fedcba9876543210");
    assert_eq!(first, checksum("0123456789abcdef", "fedcba9876543210"));
    assert_ne!(first, checksum("0123456789abcdeX", "fedcba9876543210"));
    assert_ne!(first, checksum("0123456789abcdef", "fedcba987654321X"));
    // A boundary that moves between the two is a change, too.
    assert_ne!(checksum("0123456789abcdefg", "hfedcba9876543210"), checksum("0123456789abcdef", "ghfedcba9876543210"));
    assert_eq!(first.len(), 64);
}

#[test]
fn a_key_that_cannot_be_used_is_refused_with_the_remedy() {
    let (reason, _, message) = stopped(
        with("ssh.existingKeySecret", json!("mine")),
        &Fetched { ssh_key: ssh_key(Ownership::Foreign(None), "id_ed25519", PUBLIC_KEY), ..complete() },
    );
    assert_eq!(reason, Reason::SSHKeyInvalid);
    assert!(message.contains("Secret mine, entry id_ed25519") && message.contains("public half"), "{message}");
}

#[test]
fn a_key_under_another_entry_is_told_by_the_names_that_are_there() {
    let fetched = Fetched { ssh_key: ssh_key(Ownership::Foreign(None), "id_rsa", "x"), ..complete() };
    let (reason, _, message) = stopped(with("ssh.existingKeySecret", json!("mine")), &fetched);
    assert_eq!(reason, Reason::SSHKeyInvalid);
    assert!(message.contains("no entry id_ed25519 (it has id_rsa)"), "{message}");
}

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
fn a_missing_ingress_class_is_told_but_keeps_nothing_from_being_built() {
    let class = IngressClass { name: "traefik".to_owned() };
    let fetched = Fetched { ingress_classes: Some(vec![class]), ..complete() };
    let valid = valid(with("ingress.host", json!("a.example.com")), &fetched);
    let told: Vec<(Reason, bool)> =
        valid.advice.iter().map(|finding| (finding.reason, finding.message.contains("traefik"))).collect();
    assert_eq!(told, [(Reason::PlainHttp, false), (Reason::IngressClassMissing, true)]);
    assert!(valid.ingress.is_some());
}

#[test]
fn the_url_follows_ingress_tls_and_what_overrides_them() {
    let origin = |spec: Value| valid(spec, &complete()).public_url.map(|url| url.origin());
    assert_eq!(origin(least()), None);
    assert_eq!(origin(with("ingress.host", json!("a.b"))).as_deref(), Some("http://a.b"));
    let mut spec = with("ingress.tls.secretName", json!("cert"));
    spec["ingress"]["host"] = json!("a.b");
    assert_eq!(origin(spec.clone()).as_deref(), Some("https://a.b"));
    spec["publicUrl"] = json!("https://c.d:8443");
    assert_eq!(origin(spec).as_deref(), Some("https://c.d:8443"));
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

/// The advice on a spec, as reason and message.
fn advice(spec: Value, fetched: &Fetched) -> Vec<(Reason, String)> {
    valid(spec, fetched).advice.into_iter().map(|finding| (finding.reason, finding.message)).collect()
}

/// An Ingress with TLS and these annotations.
fn annotated(annotations: Value) -> Value {
    with("ingress", json!({"host": "a.b", "tls": {"secretName": "s"}, "annotations": annotations}))
}

#[test]
fn annotations_that_break_web_sockets_are_warned_of() {
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "10"),
        ("nginx.ingress.kubernetes.io/proxy-send-timeout", "59s"),
        ("nginx.org/proxy-read-timeout", "20s"),
        ("nginx.ingress.kubernetes.io/proxy-http-version", "1.0"),
        ("nginx.ingress.kubernetes.io/connection-proxy-header", "keep-alive"),
        ("nginx.org/websocket-services", "other"),
    ] {
        let told = advice(annotated(json!({key: value})), &complete());
        let [(Reason::WebSocketsAtRisk, message)] = told.as_slice() else { panic!("{key}: {told:?}") };
        assert!(message.contains(key) && message.contains(value) && message.contains("Remove it"), "{message}");
    }
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "7200"),
        ("nginx.org/proxy-read-timeout", "2h"),
        ("nginx.ingress.kubernetes.io/proxy-read-timeout", "no time"),
        ("nginx.org/websocket-services", "other, catalyst"),
        ("example.com/proxy-read-timeout", "1"),
    ] {
        assert_eq!(advice(annotated(json!({key: value})), &complete()), [], "{key}: {value}");
    }
}

#[test]
fn plain_http_is_warned_of_and_an_issuer_that_makes_no_certificate_is_named() {
    let told = |spec: Value| advice(spec, &complete());
    let [(Reason::PlainHttp, message)] = &told(with("ingress.host", json!("a.b")))[..] else { panic!("no warning") };
    assert!(message.contains("http://a.b") && message.contains("Set ingress.tls"), "{message}");
    let mut issued = with("ingress.host", json!("a.b"));
    issued["ingress"]["annotations"] = json!({"cert-manager.io/cluster-issuer": "letsencrypt"});
    let [(Reason::PlainHttp, message)] = &told(issued.clone())[..] else { panic!("no warning") };
    assert!(message.contains("set ingress.tls.issuer to {name: letsencrypt, kind: ClusterIssuer}"), "{message}");
    issued["publicUrl"] = json!("https://a.b");
    assert_eq!(told(issued), []);
    assert_eq!(told(with("ingress.host", json!("catalyst.localhost"))), []);
    assert_eq!(told(least()), []);
}

#[test]
fn what_gateways_say_of_the_route_is_told() {
    let routed = || with("gateway", json!({"parentRefs": [{"name": "public"}], "hostnames": ["a.b"]}));
    let told = |route| advice(routed(), &Fetched { route, gateway_api: Some(true), ..complete() });
    assert_eq!(told(Some(RouteView::Accepted)), []);
    let unheard = told(Some(RouteView::Unheard));
    assert_eq!(told(None), unheard, "it is only made now");
    assert_eq!(unheard[0].0, Reason::RouteNotAccepted);
    assert!(unheard[0].1.contains("whether Gateway public exists"), "{unheard:?}");
    let refused = told(Some(RouteView::Refused("Gateway public: NoMatchingListenerHostname: no.".to_owned())));
    assert!(
        refused[0].1.contains("is not accepted: Gateway public: NoMatchingListenerHostname: no. Correct"),
        "{refused:?}"
    );
}

#[test]
fn a_service_that_the_policy_shuts_off_is_warned_of() {
    let typed = |kind: &str| with("service.type", json!(kind));
    assert_eq!(advice(typed("ClusterIP"), &complete()), []);
    for kind in ["NodePort", "LoadBalancer"] {
        let told = advice(typed(kind), &complete());
        let [(Reason::ServiceShutOff, message)] = told.as_slice() else { panic!("{told:?}") };
        assert!(message.contains(kind) && message.contains("networkPolicy.ingressCidrs"), "{message}");
        for policy in [json!({"enabled": false}), json!({"ingressCidrs": ["192.168.0.0/16"]})] {
            let mut open = typed(kind);
            open["networkPolicy"] = policy;
            assert_eq!(advice(open, &complete()), []);
        }
    }
}

#[test]
fn a_range_for_ssh_that_is_nearly_everything_is_warned_of_however_it_came_about() {
    for (range, wide) in [("0.0.0.0/0", true), ("192.0.0.0/7", true), ("192.0.0.0/8", false)] {
        let told = advice(with("networkPolicy.sshEgressCidr", json!(range)), &complete());
        let reasons: Vec<Reason> = told.iter().map(|(reason, _)| *reason).collect();
        assert_eq!(reasons == [Reason::PermissiveEgress], wide, "{range}: {told:?}");
    }
}

#[test]
fn a_key_with_the_line_ends_of_windows_is_refused_with_the_command_that_mends_it() {
    let key = catalyst_ssh::generate_ed25519("test").unwrap().private_openssh.replace('\n', "\r\n");
    let fetched = Fetched { ssh_key: ssh_key(Ownership::Foreign(None), "id_ed25519", &key), ..complete() };
    let (reason, _, message) = stopped(with("ssh.existingKeySecret", json!("mine")), &fetched);
    assert_eq!(reason, Reason::SSHKeyInvalid);
    assert!(message.contains("line ends of Windows") && message.contains(r"tr -d '\r' < FILE"), "{message}");
    assert!(message.contains("kubectl create secret generic mine -n team --from-file=id_ed25519=KEY"), "{message}");
}

#[test]
fn a_gateway_makes_the_url_and_excludes_an_ingress() {
    let gateway = json!({"parentRefs": [{"name": "g"}], "hostnames": ["a.b", "c.d"]});
    let valid = valid(with("gateway", gateway.clone()), &complete());
    assert_eq!(valid.origins(), ["https://a.b", "https://c.d"]);
    let mut both = with("ingress.host", json!("a.b"));
    both["gateway"] = gateway;
    let (reason, field, _) = stopped(both, &complete());
    assert_eq!((reason, field.as_deref()), (Reason::InvalidSpec, Some("gateway")));
}
