//! Specs that must be refused at the door, and what the refusal has to name. Shared by the test of the rules alone and the
//! test against an API server.

#![allow(dead_code, reason = "each test binary uses a part")]

/// Who refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A rule with a message of ours.
    Rule,
    /// The schema: a missing field, a wrong type, a bound. Only an API server checks these.
    Schema,
}

/// Name of the case, name of the instance, spec as YAML, who refuses, and what the message has to contain.
pub const REFUSALS: &[(&str, &str, &str, By, &str)] = &[
    ("no spec.ssh", "x", "{}", By::Schema, "spec.ssh: Required value"),
    ("no host", "x", "{ssh: {user: dev}}", By::Schema, "spec.ssh.host: Required value"),
    ("no user", "x", "{ssh: {host: vm}}", By::Schema, "spec.ssh.user: Required value"),
    ("host with port", "x", "{ssh: {host: 'vm:22', user: dev}}", By::Rule, "ssh.host must be"),
    ("host with user", "x", "{ssh: {host: dev@vm, user: dev}}", By::Rule, "ssh.host must be"),
    ("mistyped address", "x", "{ssh: {host: 192.168.1.300, user: dev}}", By::Rule, "ssh.host must be"),
    ("empty host", "x", "{ssh: {host: '', user: dev}}", By::Rule, "ssh.host must be"),
    ("user with space", "x", "{ssh: {host: vm, user: a b}}", By::Rule, "ssh.user must be"),
    ("port 0", "x", "{ssh: {host: vm, user: dev, port: 0}}", By::Rule, "ssh.port must be a port from 1 to 65535"),
    (
        "port 70000",
        "x",
        "{ssh: {host: vm, user: dev, port: 70000}}",
        By::Rule,
        "ssh.port must be a port from 1 to 65535",
    ),
    (
        "port in words",
        "x",
        "{ssh: {host: vm, user: dev, port: ssh}}",
        By::Rule,
        "ssh.port must be a port from 1 to 65535",
    ),
    ("port as text, too large", "x", "{ssh: {host: vm, user: dev, port: '65536'}}", By::Rule, "ssh.port must be"),
    ("port as truth value", "x", "{ssh: {host: vm, user: dev, port: true}}", By::Schema, "spec.ssh.port"),
    (
        "relative folder",
        "x",
        "{ssh: {host: vm, user: dev, ideasBasePath: ideas}}",
        By::Rule,
        "ssh.ideasBasePath must be",
    ),
    ("relative key path", "x", "{ssh: {host: vm, user: dev, keyPath: id_ed25519}}", By::Rule, "ssh.keyPath must be"),
    ("key path that climbs", "x", "{ssh: {host: vm, user: dev, keyPath: /a/../b}}", By::Rule, "ssh.keyPath must be"),
    (
        "key Secret's name",
        "x",
        "{ssh: {host: vm, user: dev, existingKeySecret: A_b}}",
        By::Rule,
        "ssh.existingKeySecret must be",
    ),
    (
        "both kinds of Secret",
        "x",
        "{ssh: {host: vm, user: dev}, secrets: {useExisting: false, existingSecret: a}}",
        By::Rule,
        "secrets.existingSecret",
    ),
    (
        "tag and digest",
        "x",
        "{ssh: {host: vm, user: dev}, image: {tag: a, digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}}",
        By::Rule,
        "image.tag and image.digest exclude each other",
    ),
    (
        "tag in the repository",
        "x",
        "{ssh: {host: vm, user: dev}, image: {repository: 'a/b:1'}}",
        By::Rule,
        "image.repository must be",
    ),
    (
        "short digest",
        "x",
        "{ssh: {host: vm, user: dev}, image: {digest: 'sha256:00'}}",
        By::Rule,
        "image.digest must be",
    ),
    (
        "wrong pull policy",
        "x",
        "{ssh: {host: vm, user: dev}, image: {pullPolicy: Often}}",
        By::Schema,
        "spec.image.pullPolicy",
    ),
    (
        "address without length",
        "x",
        "{ssh: {host: vm, user: dev}, networkPolicy: {sshEgressCidr: 10.0.0.1}}",
        By::Rule,
        "networkPolicy.sshEgressCidr must be",
    ),
    (
        "length too long",
        "x",
        "{ssh: {host: vm, user: dev}, networkPolicy: {sshEgressCidr: 10.0.0.1/33}}",
        By::Rule,
        "networkPolicy.sshEgressCidr must be",
    ),
    (
        "no address range",
        "x",
        "{ssh: {host: vm, user: dev}, networkPolicy: {ingressCidrs: [nodes]}}",
        By::Rule,
        "networkPolicy.ingressCidrs must be",
    ),
    (
        "no DNS range",
        "x",
        "{ssh: {host: vm, user: dev}, networkPolicy: {dnsCidrs: [dns]}}",
        By::Rule,
        "networkPolicy.dnsCidrs must be",
    ),
    (
        "proxy that is no range",
        "x",
        "{ssh: {host: vm, user: dev}, trustedProxies: [10.244.0.0]}",
        By::Rule,
        "trustedProxies must be",
    ),
    (
        "namespace with dot",
        "x",
        "{ssh: {host: vm, user: dev}, networkPolicy: {ingressNamespace: a.b}}",
        By::Rule,
        "networkPolicy.ingressNamespace must be",
    ),
    (
        "ingress without host",
        "x",
        "{ssh: {host: vm, user: dev}, ingress: {enabled: true}}",
        By::Rule,
        "ingress.host is required when ingress.enabled",
    ),
    (
        "TLS without host",
        "x",
        "{ssh: {host: vm, user: dev}, ingress: {tls: {secretName: a}}}",
        By::Rule,
        "ingress.host is required when ingress.tls",
    ),
    (
        "TLS of nothing",
        "x",
        "{ssh: {host: vm, user: dev}, ingress: {host: a.b, tls: {}}}",
        By::Rule,
        "ingress.tls needs secretName",
    ),
    (
        "host with scheme",
        "x",
        "{ssh: {host: vm, user: dev}, ingress: {host: 'https://a'}}",
        By::Rule,
        "ingress.host must be a host name",
    ),
    (
        "host that is an address",
        "x",
        "{ssh: {host: vm, user: dev}, ingress: {host: 1.2.3.4}}",
        By::Rule,
        "ingress.host must be a host name",
    ),
    ("URL with path", "x", "{ssh: {host: vm, user: dev}, publicUrl: 'https://a/b'}", By::Rule, "publicUrl must be"),
    ("URL without scheme", "x", "{ssh: {host: vm, user: dev}, publicUrl: a.b}", By::Rule, "publicUrl must be"),
    ("negative replicas", "x", "{ssh: {host: vm, user: dev}, replicas: -1}", By::Schema, "spec.replicas"),
    ("Service port 0", "x", "{ssh: {host: vm, user: dev}, service: {port: 0}}", By::Schema, "spec.service.port"),
    (
        "amount of nothing",
        "x",
        "{ssh: {host: vm, user: dev}, resources: {limits: {cpu: much}}}",
        By::Schema,
        "spec.resources.limits.cpu",
    ),
    (
        "probe of another port",
        "x",
        "{ssh: {host: vm, user: dev}, livenessProbe: {httpGet: {port: 80}}}",
        By::Rule,
        "httpGet.port must be 3001",
    ),
    (
        "probe of no path",
        "x",
        "{ssh: {host: vm, user: dev}, readinessProbe: {httpGet: {path: health}}}",
        By::Rule,
        "httpGet.path must begin with /",
    ),
    (
        "label of ours",
        "x",
        "{ssh: {host: vm, user: dev}, podLabels: {catalyst.dev/instance: other}}",
        By::Rule,
        "podLabels must not contain",
    ),
    (
        "annotation of ours",
        "x",
        "{ssh: {host: vm, user: dev}, podAnnotations: {catalyst.dev/config-checksum: other}}",
        By::Rule,
        "podAnnotations must not contain",
    ),
    (
        "root",
        "x",
        "{ssh: {host: vm, user: dev}, securityContext: {runAsUser: 0}}",
        By::Rule,
        "securityContext.runAsUser must be",
    ),
    (
        "variable of ours",
        "x",
        "{ssh: {host: vm, user: dev}, extraEnv: [{name: SSH_HOST, value: other}]}",
        By::Rule,
        "extraEnv must not set",
    ),
    (
        "variable with space",
        "x",
        "{ssh: {host: vm, user: dev}, extraEnv: [{name: a b, value: c}]}",
        By::Rule,
        "extraEnv[].name must be",
    ),
    (
        "toleration's operator",
        "x",
        "{ssh: {host: vm, user: dev}, tolerations: [{operator: Maybe}]}",
        By::Rule,
        "operator must be Exists or Equal",
    ),
    ("name that is no label", "1a", "{ssh: {host: vm, user: dev}}", By::Rule, "metadata.name must be at most 52"),
    (
        "name of 53 characters",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "{ssh: {host: vm, user: dev}}",
        By::Rule,
        "metadata.name must be at most 52",
    ),
];

/// Specs that must be taken: the edges of what is allowed.
pub const ACCEPTED: &[(&str, &str)] = &[
    ("the least", "{ssh: {host: vm, user: dev}}"),
    ("port as text", "{ssh: {host: vm, user: dev, port: '2222'}}"),
    ("IPv6", "{ssh: {host: 'fd00::1', user: dev}, publicUrl: 'http://[fd00::1]:8080'}"),
    ("ingress switched off, host kept", "{ssh: {host: vm, user: dev}, ingress: {enabled: false, host: a.b}}"),
    ("ingress without host, not wanted", "{ssh: {host: vm, user: dev}, ingress: {className: nginx}}"),
    ("name in capitals", "{ssh: {host: Dev-VM.Example.com, user: svc.deploy}}"),
    ("folder of the home", "{ssh: {host: vm, user: dev, ideasBasePath: '~'}}"),
    ("amounts as numbers", "{ssh: {host: vm, user: dev}, resources: {limits: {cpu: 1, memory: 1Gi}}}"),
    (
        "probe as in Helm values",
        "{ssh: {host: vm, user: dev}, livenessProbe: {httpGet: {path: /api/health, port: 3001}, periodSeconds: 30}}",
    ),
    (
        "everything unset by null",
        "{ssh: {host: vm, user: dev, port: null}, image: null, ingress: null, resources: null}",
    ),
    ("OpenShift", "{ssh: {host: vm, user: dev}, securityContext: {runAsUser: -1, runAsGroup: -1, fsGroup: -1}}"),
];

/// The manifest of a case.
pub fn manifest(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: catalyst.dev/v1alpha1\nkind: CatalystInstance\nmetadata: {{name: {name:?}, namespace: default}}\nspec: {spec}\n"
    )
}
