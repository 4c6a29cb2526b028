//! What holds for the objects of every instance.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::crd::{EntryRefSpec, ServiceType};
use crate::validated::{
    AppSecretState, AppSecretUse, EnvValue, Gateway, Host, HostKeys, Image, Ingress as WantedIngress, IngressTls, Jump,
    KeyState, KeyUse, Parent, Pod, Policy, Probe, PublicUrl, Resources, Service as WantedService, Ssh,
};

fn probe() -> Probe {
    Probe {
        path: "/api/health".to_owned(),
        initial_delay_seconds: 0,
        period_seconds: 10,
        timeout_seconds: 3,
        failure_threshold: 1,
    }
}

fn instance(name: &str) -> ValidatedInstance {
    ValidatedInstance {
        name: InstanceName::parse(name).unwrap(),
        namespace: "team".to_owned(),
        owner: OwnerReference {
            api_version: "catalyst.dev/v1alpha1".to_owned(),
            kind: "CatalystInstance".to_owned(),
            name: name.to_owned(),
            uid: "u1".to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        },
        image: Image { reference: "catalyst-proxy:0".to_owned(), pull_policy: None, pull_secrets: vec![] },
        replicas: 1,
        suspended: false,
        ssh: Ssh {
            host: Host::Name("vm".to_owned()),
            port: 22,
            user: "dev".to_owned(),
            jump: None,
            ideas_base_path: "~/catalyst/ideas".to_owned(),
            key: KeyUse {
                secret: "key".to_owned(),
                entry: "id_ed25519".to_owned(),
                folder: "/secrets/ssh".to_owned(),
                state: KeyState::ToGenerate,
            },
            host_keys: HostKeys::Recorded(vec![]),
        },
        app_secret: AppSecretUse { secret: "app".to_owned(), generation: None, state: AppSecretState::ToGenerate },
        public_url: Some(PublicUrl { https: false, host: "a.b".to_owned(), port: None }),
        trusted_proxies: vec![],
        identity_header: None,
        service: WantedService { type_: ServiceType::ClusterIP, port: 80, annotations: BTreeMap::new() },
        ingress: Some(WantedIngress {
            class: "nginx".to_owned(),
            host: "a.b".to_owned(),
            annotations: BTreeMap::new(),
            tls: Some(IngressTls { secret: "tls".to_owned(), issuer: None }),
            snippet: false,
        }),
        gateway: None,
        network_policy: Some(Policy {
            ingress_namespaces: vec!["ingress-nginx".to_owned()],
            ingress_pod_labels: BTreeMap::new(),
            metrics_namespaces: vec![],
            ingress_cidrs: vec![],
            ssh_cidrs: vec!["10.0.0.1/32".parse().unwrap()],
            dns_cidrs: vec![],
            extra_egress: vec![],
        }),
        resources: Resources::default(),
        liveness: probe(),
        readiness: probe(),
        pod: Pod {
            annotations: BTreeMap::new(),
            labels: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: vec![],
            affinity: None,
            spread: vec![],
            priority_class: None,
            run_as_user: Some(65532),
            run_as_group: Some(65532),
            fs_group: Some(65532),
            read_only_root: true,
            extra_env: vec![("EMPTY".to_owned(), EnvValue::Text(String::new()))],
        },
        advice: vec![],
    }
}

fn objects(desired: &Desired) -> Vec<Value> {
    let Desired { deployment, service, ingress, http_route, disruption_budget, config, known_hosts, network_policy } =
        desired;
    [
        Some(serde_json::to_value(deployment).unwrap()),
        Some(serde_json::to_value(service).unwrap()),
        ingress.as_ref().map(|ingress| serde_json::to_value(ingress).unwrap()),
        http_route.as_ref().map(|route| serde_json::to_value(route).unwrap()),
        disruption_budget.as_ref().map(|budget| serde_json::to_value(budget).unwrap()),
        Some(serde_json::to_value(config).unwrap()),
        Some(serde_json::to_value(known_hosts).unwrap()),
        network_policy.as_ref().map(|policy| serde_json::to_value(policy).unwrap()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Nothing that the API server would drop or fill in: it could never be found again as ours.
fn assert_nothing_dropped(path: &str, value: &Value) {
    match value {
        Value::Null => panic!("{path} is null"),
        Value::String(text) if text.is_empty() => panic!("{path} is empty"),
        Value::Number(number)
            if number.as_i64() == Some(0) && !path.ends_with("maxUnavailable") && !path.ends_with("replicas") =>
        {
            panic!("{path} is zero")
        }
        Value::Array(items) => {
            assert!(!items.is_empty(), "{path} is an empty list");
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| assert_nothing_dropped(&format!("{path}[{index}]"), item));
        }
        Value::Object(fields) => {
            // These two mean something by being empty.
            let meant = path.ends_with("emptyDir") || path.ends_with("namespaceSelector");
            assert!(meant || !fields.is_empty(), "{path} is an empty object");
            fields.iter().for_each(|(name, field)| assert_nothing_dropped(&format!("{path}.{name}"), field));
        }
        _ => {}
    }
}

#[test]
fn no_field_is_set_that_the_api_server_would_drop() {
    for object in objects(&build(&instance("catalyst"))) {
        assert_nothing_dropped(object["kind"].as_str().unwrap(), &object);
    }
}

#[test]
fn every_object_is_ours_and_carries_no_label_that_gitops_tools_take_for_theirs() {
    for object in objects(&build(&instance("catalyst"))) {
        let metadata = &object["metadata"];
        assert_eq!(metadata["namespace"], "team");
        assert_eq!(metadata["ownerReferences"][0]["uid"], "u1");
        assert_eq!(metadata["ownerReferences"][0]["controller"], true);
        assert_eq!(metadata["labels"]["catalyst.dev/instance"], "catalyst");
        assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], MANAGER);
        assert_eq!(metadata["labels"].get("app.kubernetes.io/instance"), None);
    }
}

#[test]
fn labels_of_the_user_never_replace_those_that_select() {
    let mut instance = instance("catalyst");
    instance.pod.labels.insert(INSTANCE_LABEL.to_owned(), "other".to_owned());
    let deployment = serde_json::to_value(build(&instance).deployment).unwrap();
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    assert_eq!(selector, &serde_json::json!({"catalyst.dev/instance": "catalyst"}));
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["catalyst.dev/instance"], "catalyst");
}

#[test]
fn each_change_of_the_environment_changes_the_pod_template_and_the_known_hosts_do_not() {
    let template = |instance: &ValidatedInstance| {
        serde_json::to_value(build(instance).deployment).unwrap()["spec"]["template"].clone()
    };
    let before = instance("catalyst");
    let mut after = before.clone();
    after.ssh.user = "other".to_owned();
    assert_ne!(template(&before), template(&after));
    let mut after = before.clone();
    after.app_secret.state = AppSecretState::Present { checksum: "1".to_owned() };
    assert_ne!(template(&before), template(&after));
    let mut after = before.clone();
    after.ssh.host_keys = HostKeys::Recorded(vec!["vm ssh-ed25519 AAAA".to_owned()]);
    assert_eq!(template(&before), template(&after));
    assert_ne!(build(&before).known_hosts, build(&after).known_hosts);
}

#[test]
fn annotations_of_the_user_win_on_the_ingress() {
    let mut instance = instance("catalyst");
    let key = "nginx.ingress.kubernetes.io/proxy-read-timeout".to_owned();
    instance.ingress.as_mut().unwrap().annotations.insert(key.clone(), "7200".to_owned());
    let annotations = build(&instance).ingress.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations[&key], "7200");
    assert_eq!(annotations["nginx.org/proxy-read-timeout"], "3600s");
}

#[test]
fn the_snippet_and_the_issuer_are_emitted_only_when_asked_for() {
    let mut instance = instance("catalyst");
    let snippet = "nginx.ingress.kubernetes.io/configuration-snippet";
    assert!(!build(&instance).ingress.unwrap().metadata.annotations.unwrap().contains_key(snippet));
    let ingress = instance.ingress.as_mut().unwrap();
    ingress.snippet = true;
    ingress.tls = Some(IngressTls {
        secret: "tls".to_owned(),
        issuer: Some(("cert-manager.io/cluster-issuer", "letsencrypt".to_owned())),
    });
    let annotations = build(&instance).ingress.unwrap().metadata.annotations.unwrap();
    assert!(annotations[snippet].contains("$http_upgrade"));
    assert_eq!(annotations["cert-manager.io/cluster-issuer"], "letsencrypt");
}

fn with_gateway() -> ValidatedInstance {
    let mut instance = instance("catalyst");
    instance.ingress = None;
    instance.gateway = Some(Gateway {
        parents: vec![Parent { name: "g".to_owned(), namespace: None, section: None, port: None }],
        hostnames: vec!["a.b".to_owned(), "c.d".to_owned()],
        https: true,
        annotations: BTreeMap::new(),
    });
    instance.public_url = Some(PublicUrl { https: true, host: "a.b".to_owned(), port: None });
    instance
}

#[test]
fn a_route_takes_the_ingresses_place_and_each_of_its_hosts_is_an_origin() {
    let desired = build(&with_gateway());
    assert_eq!(desired.ingress, None);
    let route = desired.http_route.clone().unwrap();
    assert_eq!(route.spec.rules[0].backend_refs[0].name, "catalyst");
    let service = serde_json::to_value(&desired.service).unwrap();
    assert_eq!(service["spec"]["ports"][0]["appProtocol"], "kubernetes.io/ws");
    let variables = variables(&desired);
    assert_eq!(variables["PUBLIC_URL"], "https://a.b");
    assert_eq!(variables["ALLOWED_ORIGINS"], "https://a.b,https://c.d");
    for object in objects(&desired) {
        assert_nothing_dropped(object["kind"].as_str().unwrap(), &object);
    }
}

/// Variables with a plain value.
fn variables(desired: &Desired) -> BTreeMap<String, String> {
    let deployment = desired.deployment.clone();
    let container = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0);
    container.env.unwrap().into_iter().filter_map(|variable| Some((variable.name, variable.value?))).collect()
}

#[test]
fn a_disruption_budget_exists_only_where_it_can_be_kept() {
    let mut instance = instance("catalyst");
    for (replicas, wanted) in [(0, false), (1, false), (2, true)] {
        instance.replicas = replicas;
        assert_eq!(build(&instance).disruption_budget.is_some(), wanted, "{replicas}");
    }
}

#[test]
fn with_a_jump_host_the_policy_opens_its_port_and_the_pods_are_told_of_it() {
    let mut instance = instance("catalyst");
    instance.ssh.jump =
        Some(Jump { host: Host::Address("fd00::7".parse().unwrap()), port: 2222, user: "bastion".to_owned() });
    let desired = build(&instance);
    assert_eq!(desired.config.data.clone().unwrap()["SSH_JUMP"], "bastion@[fd00::7]:2222");
    let policy = serde_json::to_value(desired.network_policy.unwrap()).unwrap();
    assert_eq!(policy["spec"]["egress"][1]["ports"][0]["port"], 2222);
}

#[test]
fn every_variable_of_ours_is_named_one_by_one() {
    let mut instance = with_gateway();
    instance.ssh.jump = Some(Jump { host: Host::Name("j".to_owned()), port: 22, user: "u".to_owned() });
    instance.app_secret.generation = Some(3);
    instance.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    instance.identity_header = Some("Remote-User".to_owned());
    instance.pod.extra_env.clear();
    let deployment = build(&instance).deployment;
    let container = deployment.spec.unwrap().template.spec.unwrap().containers.remove(0);
    assert_eq!(container.env_from, None, "what is in envFrom loses to a variable of somebody else");
    for variable in container.env.unwrap() {
        assert!(crate::container::is_managed_variable(&variable.name), "extraEnv could set {} too", variable.name);
    }
}

#[test]
fn a_variable_of_the_users_is_a_text_or_an_entry_of_a_secret_or_a_config_map() {
    let entry = |optional| EntryRefSpec { name: "mine".to_owned(), key: "a.b".to_owned(), optional };
    let mut instance = instance("catalyst");
    let given = [
        ("TEXT", EnvValue::Text("t".to_owned())),
        ("SECRET", EnvValue::Secret(entry(None))),
        ("CONFIG", EnvValue::ConfigMap(entry(Some(true)))),
    ];
    instance.pod.extra_env = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let deployment = serde_json::to_value(build(&instance).deployment).unwrap();
    let variables = deployment.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
    let built = [
        json!({"name": "TEXT", "value": "t"}),
        json!({"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "a.b"}}}),
        json!({"name": "CONFIG", "valueFrom": {"configMapKeyRef": {"name": "mine", "key": "a.b", "optional": true}}}),
    ];
    assert_eq!(variables[variables.len() - 3..], built);
}

#[test]
fn a_policy_that_lets_nobody_in_has_no_rule_that_would_let_in_all() {
    let mut instance = instance("catalyst");
    let policy = instance.network_policy.as_mut().unwrap();
    policy.ingress_namespaces.clear();
    let policy = build(&instance).network_policy.unwrap().spec.unwrap();
    assert_eq!(policy.ingress, None);
    assert_eq!(policy.policy_types.unwrap(), ["Ingress", "Egress"]);
}

#[test]
fn generated_secrets_hold_what_the_server_reads() {
    let instance = instance("catalyst");
    let values = |previous: Option<&str>| secret::AppValues {
        catalyst_secret: "one".to_owned(),
        cookie_secret: "two".to_owned(),
        cookie_secret_previous: previous.map(str::to_owned),
    };
    let app = secret::app_secret(&instance, values(None));
    let entries = app.data.unwrap();
    assert_eq!(entries["CATALYST_SECRET"].0, b"one");
    assert_eq!(entries["COOKIE_SECRET"].0, b"two");
    let key = secret::ssh_key(&instance, "private".to_owned(), "public".to_owned());
    let entries = key.data.unwrap();
    assert_eq!(
        (entries["id_ed25519"].0.as_slice(), entries["id_ed25519.pub"].0.as_slice()),
        (&b"private"[..], &b"public\n"[..])
    );
    assert_eq!(key.metadata.owner_references.unwrap()[0].uid, "u1");
}

proptest! {
    #[test]
    fn every_name_is_one_that_the_api_server_takes(name in "[a-z]([-a-z0-9]{0,50}[a-z0-9])?") {
        for object in objects(&build(&instance(&name))) {
            let object_name = object["metadata"]["name"].as_str().unwrap();
            prop_assert!(object_name.len() <= 253 && object_name.starts_with(&name));
            prop_assert!(object["kind"] != "Service" || object_name.len() <= 63);
            for value in object["metadata"]["labels"].as_object().unwrap().values() {
                prop_assert!(value.as_str().unwrap().len() <= 63);
            }
        }
    }
}

#[test]
fn by_default_no_pod_is_restarted_in_the_first_five_minutes_without_a_vm() {
    let pod = build(&crate::validate::tests::valid_instance()).deployment.spec.unwrap().template.spec.unwrap();
    let liveness = pod.containers[0].liveness_probe.clone().unwrap();
    // The first failure may come at once; each further one takes a period.
    let seconds = (liveness.failure_threshold.unwrap() - 1) * liveness.period_seconds.unwrap();
    assert!(seconds >= 300, "restarted after {seconds} s");
}
