//! What holds for every spec there can be.

use kube::CustomResourceExt as _;
use kube::core::cel::{CompiledSchema, ValidationErrors, compile_schema, validate_compiled};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{PUBLIC_KEY, complete, defaults, instance};
use super::*;

thread_local! {
    /// The rules of the CRD, compiled once for all cases.
    static RULES: CompiledSchema = {
        let crd = CatalystInstance::crd();
        let schema = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        compile_schema(&serde_json::to_value(schema.unwrap()).unwrap())
    };
}

fn rules(instance: &CatalystInstance) -> Result<(), ValidationErrors> {
    RULES.with(|rules| validate_compiled(rules, &serde_json::to_value(instance).unwrap(), None))
}

fn within_bounds(instance: &CatalystInstance) -> bool {
    let mut findings = Findings::default();
    bounds::check(&instance.spec, &mut findings);
    findings.stopping.is_empty()
}

/// Text as people write it and as they should not: of every length, with letters that mean something somewhere. On the heap, as what is
/// made of it: a spec has some eighty, and a test's stack is small.
fn text() -> BoxedStrategy<String> {
    prop_oneof![
        prop::sample::select(vec![
            "",
            "a",
            "vm",
            "192.168.1.100",
            "300.1.1.1",
            "fd00::1",
            "dev-vm.example.com",
            "-a",
            "a-",
            "A_b",
            "a..b",
            "~",
            "~/x",
            "/",
            "/secrets/ssh/id",
            "/tmp/x",
            "/a/../b",
            "22",
            "0",
            "65536",
            "10.0.0.0/8",
            "10.0.0.1/33",
            "::/0",
            "http://a",
            "https://A.b:443/",
            "https://[::1]:1",
            "http://[::1",
            "ghcr.io/a/b",
            "a:1/b",
            "a//b",
            "sha256:00",
            "v1.2",
            "1Gi",
            "500m",
            "1.5",
            "9999999999999999999999E",
            "CHANGE_ME",
            "Exists",
            "PORT",
            "a/b",
            "a/b/c",
            "x=y",
            "\0",
            "ä\u{202e}",
            "$(x)",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
        "\\PC{0,8}",
        "[a-z0-9.-]{0,80}",
    ]
    .boxed()
}

fn maybe<T>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Value>
where
    T: Into<Value> + std::fmt::Debug + Clone + 'static,
{
    prop::option::weighted(0.3, value).prop_map(|value| value.map_or(Value::Null, Into::into)).boxed()
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        prop::sample::select(vec![-1, 0, 1, 22, 80, 3001, 65535, 65536, i64::from(i32::MAX)]),
        (-5_i64..100_000)
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(text(), 0..3)
}

fn map() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(text(), text(), 0..3).prop_map(|map| json!(map))
}

/// Any spec that the types can hold, most fields unset.
fn any_spec() -> impl Strategy<Value = Value> {
    // Mostly right, or little else would ever be looked at.
    let mostly = |right: &str| prop_oneof![3 => Just(right.to_owned()), 1 => text()].boxed();
    let ssh = (mostly("vm"), mostly("dev"), maybe(text()), maybe(number()), maybe(text()), maybe(text()), maybe(text())).prop_map(
        |(host, user, port, number, base, key, secret)| {
            let port = if number.is_null() { port } else { number };
            json!({"host": host, "user": user, "port": port, "ideasBasePath": base, "keyPath": key, "existingKeySecret": secret})
        },
    );
    let jump = (prop::bool::weighted(0.2), text(), maybe(number()), maybe(text()), any::<bool>()).prop_map(
        |(jump, host, port, user, known)| {
            let known = if known { json!(format!("a {PUBLIC_KEY}")) } else { Value::Null };
            if jump {
                json!({"jump": {"host": host, "port": port, "user": user}, "knownHosts": known})
            } else {
                json!({})
            }
        },
    );
    let ssh = (ssh, jump).prop_map(|(mut ssh, jump)| {
        if let (Some(ssh), Some(jump)) = (ssh.as_object_mut(), jump.as_object()) {
            ssh.extend(jump.clone());
        }
        ssh
    });
    let gateway = (text(), maybe(text()), maybe(text()), maybe(number()), texts(), maybe(any::<bool>())).prop_map(
        |(name, namespace, section, port, hostnames, tls)| {
            let parent = json!({"name": name, "namespace": namespace, "sectionName": section, "port": port});
            json!({"parentRefs": [parent], "hostnames": hostnames, "tls": tls})
        },
    );
    let exposure = (maybe(any::<bool>()), maybe(text()), maybe(text()), maybe(map()), maybe(text()), maybe(text()))
        .prop_map(|(enabled, class, host, annotations, tls, issuer)| {
            let issuer = if issuer.is_null() { issuer } else { json!({"name": issuer}) };
            let tls = if tls.is_null() && issuer.is_null() {
                Value::Null
            } else {
                json!({"secretName": tls, "issuer": issuer})
            };
            json!({"enabled": enabled, "className": class, "host": host, "annotations": annotations, "tls": tls})
        });
    let policy = (maybe(any::<bool>()), maybe(text()), maybe(text()), maybe(texts()), maybe(texts())).prop_map(
        |(enabled, namespace, ssh, ingress, dns)| json!({"enabled": enabled, "ingressNamespace": namespace, "sshEgressCidr": ssh, "ingressCidrs": ingress, "dnsCidrs": dns}),
    );
    let more_policy = (maybe(texts()), maybe(texts()), maybe(map()), text(), maybe(number())).prop_map(
        |(namespaces, metrics, labels, cidr, port)| {
            json!({"ingressNamespaces": namespaces, "metricsNamespaces": metrics, "ingressPodLabels": labels, "extraEgress": [{"cidr": cidr, "port": port}]})
        },
    );
    let policy = (policy, maybe(more_policy)).prop_map(|(mut policy, more)| {
        if let (Some(policy), Some(more)) = (policy.as_object_mut(), more.as_object()) {
            policy.extend(more.clone());
        }
        policy
    });
    let proxies = (maybe(texts()), maybe(text()));
    let image = (maybe(text()), maybe(text()), maybe(text()))
        .prop_map(|(repository, tag, digest)| json!({"repository": repository, "tag": tag, "digest": digest}));
    let secrets = (maybe(any::<bool>()), maybe(text()), maybe(number())).prop_map(
        |(own, name, generation)| json!({"useExisting": own, "existingSecret": name, "generation": generation}),
    );
    let amounts = || maybe(map());
    let reference = || maybe((text(), text()).prop_map(|(name, key)| json!({"name": name, "key": key})));
    let source = (reference(), reference())
        .prop_map(|(secret, config_map)| json!({"secretKeyRef": secret, "configMapKeyRef": config_map}));
    let variable = (text(), maybe(text()), maybe(source));
    let pods = (maybe(text()), maybe(map()), maybe(map()), amounts(), amounts(), variable, number(), number())
        .prop_map(|(url, labels, annotations, requests, limits, variable, user, seconds)| {
            json!({
                "publicUrl": url, "podLabels": labels, "podAnnotations": annotations,
                "resources": {"requests": requests, "limits": limits},
                "extraEnv": [{"name": variable.0, "value": variable.1, "valueFrom": variable.2}],
                "securityContext": {"runAsUser": user},
                "livenessProbe": {"periodSeconds": seconds},
                "service": {"port": seconds},
            })
        });
    let keep = prop::collection::vec(prop::bool::weighted(0.4), 15);
    (ssh, exposure, gateway, policy, image, secrets, proxies, pods, keep).prop_map(
        |(ssh, ingress, gateway, policy, image, secrets, (proxies, header), pods, keep)| {
            let mut spec = serde_json::Map::new();
            let parts = [
                ("ingress", ingress),
                ("gateway", gateway),
                ("networkPolicy", policy),
                ("image", image),
                ("secrets", secrets),
                ("trustedProxies", proxies),
                ("identityHeader", header),
            ];
            let pods = pods.as_object().cloned().unwrap_or_default();
            let parts = parts.into_iter().map(|(name, part)| (name.to_owned(), part)).chain(pods);
            for ((name, part), keep) in parts.zip(keep) {
                if keep {
                    spec.insert(name, part);
                }
            }
            spec.insert("ssh".to_owned(), ssh);
            Value::Object(spec)
        },
    )
}

/// A spec of which each part is right by itself.
fn right_spec() -> impl Strategy<Value = Value> {
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,20}[a-z0-9](\\.[a-z]{2,8}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>()
            .prop_filter("no IPv4 in disguise", |ip| ip.to_ipv4_mapped().is_none())
            .prop_map(|ip| ip.to_string())
    ];
    let port = prop_oneof![
        (1_u16..).prop_map(|port| json!(port)),
        (1_u16..).prop_map(|port| json!(port.to_string())),
        Just(Value::Null)
    ];
    (
        host,
        "[a-z_][a-z0-9_.-]{0,30}",
        port,
        maybe("(~|~/[a-z ]{1,9}|/[a-z]{1,9}/x)"),
        maybe("[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,9}){0,3}"),
        0..=20_i32,
        any::<bool>(),
    )
        .prop_map(|(host, user, port, base, ingress, replicas, suspend)| {
            json!({
                "ssh": {"host": host, "user": user, "port": port, "ideasBasePath": base},
                "ingress": {"host": ingress},
                "replicas": replicas,
                "suspend": suspend,
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is written: no panic; either findings that name what is wrong, or the same objects each time.
    #[test]
    fn any_spec_is_judged_and_builds_the_same_each_time(spec in any_spec(), name in text()) {
        let Ok(mut instance) = serde_json::from_value::<CatalystInstance>(json!({
            "apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "metadata": {"name": "catalyst", "namespace": "team", "uid": "u1"}, "spec": spec,
        })) else { return Ok(()) };
        for name in [Some(name), None, Some("catalyst".to_owned())] {
            instance.metadata.name = name;
            match validate(&instance, &complete(), &defaults()) {
                Err(findings) => {
                    prop_assert!(!findings.is_empty());
                    for finding in findings {
                        prop_assert!(finding.reason != Reason::InvalidSpec || finding.field.is_some(), "{finding:?}");
                        prop_assert!(!finding.message.is_empty());
                    }
                }
                Ok(valid) => prop_assert_eq!(crate::build::build(&valid), crate::build::build(&valid.clone())),
            }
        }
    }

    /// The rules in the CRD and the code agree: what is within bounds and the rules take, the code takes, but for what only code can see.
    #[test]
    fn what_the_rules_take_the_code_does_not_call_malformed(spec in any_spec()) {
        let Ok(instance) = serde_json::from_value::<CatalystInstance>(json!({
            "apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "metadata": {"name": "catalyst", "namespace": "team", "uid": "u1"}, "spec": spec,
        })) else { return Ok(()) };
        if rules(&instance).is_err() || !within_bounds(&instance) {
            return Ok(());
        }
        let findings = validate(&instance, &complete(), &defaults()).err().unwrap_or_default();
        // Patterns are the schema's, not the rules'; names of keys and folders that are taken are the code's alone.
        let beyond_rules =
            ["resources.", "podLabels", "podAnnotations", "ingress.annotations", "ssh.keyPath", "networkPolicy.ingressPodLabels"];
        for finding in findings.iter().filter(|finding| finding.reason == Reason::InvalidSpec) {
            let field = finding.field.as_deref().unwrap_or_default();
            prop_assert!(beyond_rules.iter().any(|beyond| field.starts_with(beyond)), "the rules take {spec}, the code does not: {finding:?}");
        }
    }

    #[test]
    fn a_right_spec_passes_the_rules_and_the_code(spec in right_spec()) {
        let instance = instance(spec);
        let taken = rules(&instance);
        prop_assert!(taken.is_ok(), "{taken:?}");
        let valid = validate(&instance, &complete(), &defaults());
        prop_assert!(valid.is_ok(), "{valid:?}");
    }
}
