//! Specs at random: valid ones of every shape, and such with something in them that may be wrong.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test binary uses a part, and a test ends where something is not as it must be"
)]

use rand::{Rng, rngs::StdRng};
use serde_json::{Map, Value, json};

const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// One of these.
fn one(random: &mut StdRng, of: &[Value]) -> Value {
    of[random.random_range(0..of.len())].clone()
}

/// Each field with one of its values, or without, as often.
fn some(random: &mut StdRng, fields: &[(&str, &[Value])]) -> Map<String, Value> {
    let mut chosen = Map::new();
    for (name, values) in fields {
        if random.random_bool(0.5) {
            chosen.insert((*name).to_owned(), one(random, values));
        }
    }
    chosen
}

/// A valid spec; what has to be one of its kind in the cluster carries `number`.
pub fn valid(random: &mut StdRng, number: usize) -> Value {
    let mut ssh = some(
        random,
        &[
            ("ideasBasePath", &[json!("~/ideas"), json!("/srv/ideas"), json!("~")]),
            ("keyPath", &[json!("/secrets/ssh/id_ed25519"), json!("/keys/id")]),
        ],
    );
    ssh.insert("host".into(), json!("127.0.0.1"));
    ssh.insert("user".into(), one(random, &[json!("dev"), json!("root"), json!("ubuntu")]));
    ssh.insert("port".into(), one(random, &[json!(9), json!("9")]));
    ssh.insert("knownHosts".into(), json!(format!("[127.0.0.1]:9 {HOST_KEY}")));
    let host = format!("i{number}.example.com");
    let labels = json!({"example.com/team": "a", "tier": "web"});
    let mut spec = some(
        random,
        &[
            ("replicas", &[json!(0), json!(1), json!(2), json!(3)]),
            ("suspend", &[json!(false), json!(true)]),
            ("publicUrl", &[json!(format!("https://{host}")), json!(format!("http://{host}:8080"))]),
            ("trustedProxies", &[json!([]), json!(["10.0.0.0/8", "fd00::/8"])]),
            (
                "image",
                &[
                    json!({"repository": "registry.example.com/a/catalyst", "tag": "v1.2"}),
                    json!({"tag": "v3", "pullPolicy": "Always"}),
                    json!({"digest": format!("sha256:{}", "0a".repeat(32)), "pullSecrets": [{"name": "pull"}]}),
                ],
            ),
            (
                "service",
                &[
                    json!({}),
                    json!({"port": 8080, "annotations": {"example.com/a": "b"}}),
                    json!({"type": "NodePort"}),
                    json!({"type": "LoadBalancer", "port": 443}),
                ],
            ),
            (
                "ingress",
                &[
                    json!({"host": host}),
                    json!({"enabled": false, "host": host}),
                    json!({"host": host, "className": "other", "annotations": {"example.com/a": "b"}}),
                    json!({"host": host, "tls": {"secretName": "tls"}, "configurationSnippet": true}),
                    json!({"host": host, "tls": {"issuer": {"name": "letsencrypt", "kind": "ClusterIssuer"}}}),
                ],
            ),
            (
                "networkPolicy",
                &[
                    json!({"enabled": false}),
                    json!({"ingressNamespaces": ["a", "b"], "ingressPodLabels": {"app": "ingress"}}),
                    json!({"sshEgressCidr": "0.0.0.0/0", "ingressNamespace": "traefik"}),
                    json!({"ingressCidrs": ["192.168.1.0/24", "fd00::/64"], "metricsNamespaces": ["monitoring"]}),
                    json!({"dnsCidrs": ["169.254.20.10/32"], "extraEgress": [{"cidr": "10.0.0.0/8"},
                        {"cidr": "10.1.0.1/32", "port": 53, "protocol": "UDP"}]}),
                ],
            ),
            (
                "resources",
                &[
                    json!({"requests": {"cpu": "0.5", "memory": "1024Ki"}, "limits": {"cpu": 2, "memory": "1.5Gi"}}),
                    json!({"limits": {"memory": "300000000", "ephemeral-storage": "1G"}}),
                    json!({"requests": {"cpu": "1000m"}}),
                ],
            ),
            (
                "livenessProbe",
                &[json!({"periodSeconds": 7}), json!({"httpGet": {"path": "/api/health", "port": "http"}})],
            ),
            ("readinessProbe", &[json!({"initialDelaySeconds": 0, "failureThreshold": 9, "timeoutSeconds": 2})]),
            ("podAnnotations", &[labels.clone(), json!({})]),
            ("podLabels", &[labels.clone(), json!({})]),
            ("nodeSelector", &[json!({"kubernetes.io/os": "linux"}), json!({})]),
            (
                "tolerations",
                &[
                    json!([]),
                    json!([{"operator": "Exists"}]),
                    json!([{"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}]),
                ],
            ),
            (
                "affinity",
                &[json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]}})],
            ),
            (
                "topologySpreadConstraints",
                &[json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": {"a": "b"}}}])],
            ),
            (
                "securityContext",
                &[
                    json!({"runAsUser": 1000, "runAsGroup": 0}),
                    json!({"fsGroup": -1, "runAsUser": -1}),
                    json!({"readOnlyRootFilesystem": false}),
                ],
            ),
            (
                "extraEnv",
                &[
                    json!([]),
                    json!([{"name": "TZ", "value": "UTC"}, {"name": "empty", "value": ""}]),
                    json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "a.b"}}},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "mine", "key": "B", "optional": true}}}]),
                ],
            ),
        ],
    );
    spec.insert("ssh".into(), Value::Object(ssh));
    exclusive(random, number, &mut spec);
    Value::Object(spec)
}

/// What is right or wrong beside something else.
fn exclusive(random: &mut StdRng, number: usize, spec: &mut Map<String, Value>) {
    let claims = spec.get("ingress").is_some_and(|ingress| ingress["enabled"] != json!(false));
    if !claims && random.random_bool(0.3) {
        let parents = json!([{"name": "public"}, {"name": "inner", "namespace": "gateways", "sectionName": "web"}]);
        let names = [format!("g{number}.example.com"), format!("h{number}.example.com")];
        spec.insert(
            "gateway".into(),
            json!({"parentRefs": parents, "hostnames": names, "tls": random.random_bool(0.5)}),
        );
    }
    let shut = spec.get("networkPolicy").is_none_or(|policy| policy["enabled"] != json!(false));
    let proxied = spec.get("trustedProxies").is_some_and(|proxies| proxies != &json!([]));
    if shut && proxied && random.random_bool(0.5) {
        spec.insert("identityHeader".into(), one(random, &[json!("Remote-User"), json!("X-Forwarded-Email")]));
    }
    if random.random_bool(0.3) {
        spec.insert(
            "secrets".into(),
            one(random, &[json!({}), json!({"useExisting": false}), json!({"generation": 3})]),
        );
    }
    if random.random_bool(0.2) {
        let ssh = &mut spec["ssh"];
        let known = ssh["knownHosts"].as_str().unwrap_or_default().to_owned();
        ssh["knownHosts"] = json!(format!("{known}\n192.0.2.7 {HOST_KEY}"));
        ssh["jump"] =
            one(random, &[json!({"host": "192.0.2.7"}), json!({"host": "192.0.2.7", "user": "door", "port": 22})]);
    }
}

/// Text that is right at one place and wrong at most.
const WORDS: [&str; 52] = [
    "",
    " ",
    "a",
    "A_b",
    "-a",
    "a-",
    "a..b",
    "a.b",
    "a/b",
    "a/b/c",
    "a b",
    "x=y",
    "ä",
    "300.1.1.1",
    "192.168.1.100",
    "192.168.001.1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "10.0.0.0/8",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "010.0.0.0/8",
    "::/0",
    "fd00::/129",
    "0",
    "22",
    "022",
    "65536",
    "~",
    "~/x",
    "~x",
    "/",
    "/a/../b",
    "/a/./b",
    "/a//b",
    "/tmp/x",
    "relative/x",
    "http://a",
    "https://A.b:443",
    "https://a.b/",
    "https://a.b/c",
    "https://[::1]:1",
    "https://user@a.b",
    "a:1/b",
    "v1.2",
    "sha256:00",
    "1Gi",
    "-1",
    "1e3",
    "100m",
    "Exists",
];

/// Numbers at the edges of something.
const NUMBERS: [i64; 14] =
    [-2, -1, 0, 1, 20, 21, 22, 443, 65535, 65536, 100_000, 2_147_483_647, 2_147_483_648, 1 << 40];

fn word(random: &mut StdRng) -> String {
    match random.random_range(0..10) {
        0 => "a".repeat(random.random_range(50..70)),
        1 => "a".repeat(random.random_range(240..260)),
        2 => format!("/{}", "a".repeat(random.random_range(240..5000))),
        3 => "a.".repeat(random.random_range(20..130)) + "b",
        _ => WORDS[random.random_range(0..WORDS.len())].to_owned(),
    }
}

/// An apply patch is YAML, which has no longer keys.
fn short_word(random: &mut StdRng) -> String {
    word(random).chars().take(1000).collect()
}

/// The same with one thing or two in it that may be wrong: a value, a key, something that is missing or there twice.
pub fn bent(random: &mut StdRng, mut spec: Value) -> Value {
    for _ in 0..if random.random_bool(0.2) { 2 } else { 1 } {
        let mut places = Vec::new();
        collect("", &spec, &mut places);
        let place = places[random.random_range(0..places.len())].clone();
        bend(random, spec.pointer_mut(&place).unwrap());
    }
    spec
}

/// JSON pointers of everything in it.
fn collect(at: &str, value: &Value, places: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in below {
        let place = format!("{at}/{key}");
        collect(&place, value, places);
        places.push(place);
    }
}

fn bend(random: &mut StdRng, value: &mut Value) {
    if random.random_bool(0.05) {
        *value = one(random, &[json!(null), json!("text"), json!(7), json!(1.5), json!([]), json!({}), json!(true)]);
        return;
    }
    match value {
        Value::String(_) => *value = json!(word(random)),
        Value::Number(_) => *value = json!(NUMBERS[random.random_range(0..NUMBERS.len())]),
        Value::Bool(is) => *is = !*is,
        Value::Array(items) => match items.first().cloned() {
            Some(first) if random.random_bool(0.5) => items.push(first),
            _ => items.clear(),
        },
        Value::Object(members) => {
            let keys: Vec<String> = members.keys().cloned().collect();
            if keys.is_empty() {
                members.insert(short_word(random), json!("x"));
                return;
            }
            let key = &keys[random.random_range(0..keys.len())];
            let removed = members.remove(key).unwrap();
            if random.random_bool(0.5) {
                members.insert(short_word(random), removed);
            }
        }
        Value::Null => {}
    }
}
