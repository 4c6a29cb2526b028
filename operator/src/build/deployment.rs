//! Deployment `NAME`: the server's pods. A rollout never takes a serving pod away before another serves.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapKeySelector, ConfigMapVolumeSource, Container, ContainerPort,
    EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction, KeyToPath, Lifecycle, LifecycleHandler,
    LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe as ContainerProbe, ResourceRequirements,
    SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext, SleepAction, Toleration, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{known_hosts, labels, metadata, non_empty, selector};
use crate::container::{
    CATALYST_SECRET, COOKIE_SECRET, COOKIE_SECRET_PREVIOUS, HTTP_PORT, KNOWN_HOSTS_FOLDER, METRICS_PORT,
};
use crate::crd::{EntryRefSpec, TolerationSpec};
use crate::hex::hex;
use crate::names::CONTAINER;
use crate::validated::{AppSecretState, EnvValue, Probe, Resources, ValidatedInstance};

/// Annotation of the pod template: checksum of the ConfigMap whose entries are environment.
pub const CONFIG_CHECKSUM: &str = "catalyst.dev/config-checksum";
/// Annotation of the pod template: keyed checksum of the application Secret, whose entries are environment.
pub const SECRET_CHECKSUM: &str = "catalyst.dev/secret-checksum";

/// How long a stopping pod goes on serving before it is told: until every proxy has taken it out of rotation.
const LINGER_SECONDS: i64 = 5;
/// How long it has in all: the above, and time to tell viewers to reconnect and to close what is open.
const GRACE_SECONDS: i64 = 45;

pub(super) fn build(instance: &ValidatedInstance, config: &ConfigMap) -> Deployment {
    Deployment {
        metadata: metadata(instance, instance.name.to_string()),
        spec: Some(DeploymentSpec {
            replicas: Some(instance.replicas),
            selector: LabelSelector { match_labels: Some(selector(&instance.name)), ..LabelSelector::default() },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: template(instance, config),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn template(instance: &ValidatedInstance, config: &ConfigMap) -> PodTemplateSpec {
    let mut pod_labels = instance.pod.labels.clone();
    pod_labels.extend(labels(&instance.name));
    let mut annotations = instance.pod.annotations.clone();
    annotations.insert(CONFIG_CHECKSUM.to_owned(), config_checksum(config));
    if let AppSecretState::Present { checksum } = &instance.app_secret.state {
        annotations.insert(SECRET_CHECKSUM.to_owned(), checksum.clone());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(instance, config)),
    }
}

fn config_checksum(config: &ConfigMap) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (key, value) in config.data.iter().flatten() {
        for part in [key, value] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    hex(context.finish().as_ref())
}

fn pod(instance: &ValidatedInstance, config: &ConfigMap) -> PodSpec {
    let pod = &instance.pod;
    let pull_secrets: Vec<LocalObjectReference> =
        instance.image.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    let tolerations: Vec<Toleration> = pod.tolerations.iter().map(toleration).collect();
    PodSpec {
        automount_service_account_token: Some(false),
        // Else the Service's own name would put CATALYST_PORT and the like into the environment.
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: non_empty(pod.node_selector.clone()),
        affinity: pod.affinity.clone(),
        topology_spread_constraints: (!pod.spread.is_empty()).then(|| pod.spread.clone()),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        priority_class_name: pod.priority_class.clone(),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: pod.run_as_user,
            run_as_group: pod.run_as_group,
            fs_group: pod.fs_group,
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() }),
            ..PodSecurityContext::default()
        }),
        containers: vec![container(instance, config)],
        volumes: Some(volumes(instance)),
        ..PodSpec::default()
    }
}

fn container(instance: &ValidatedInstance, config: &ConfigMap) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(instance.image.reference.clone()),
        image_pull_policy: instance.image.pull_policy.map(|policy| policy.as_str().to_owned()),
        ports: Some(vec![port("http", HTTP_PORT), port("metrics", METRICS_PORT)]),
        env: Some(environment(instance, config)),
        resources: resources(&instance.resources),
        liveness_probe: Some(probe(&instance.liveness)),
        readiness_probe: Some(probe(&instance.readiness)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LINGER_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
            read_only_root_filesystem: Some(instance.pod.read_only_root),
            ..SecurityContext::default()
        }),
        // A container that dies without a termination message leaves the end of its log as its last words.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            mount("ssh-key", &instance.ssh.key.folder, true),
            mount("known-hosts", KNOWN_HOSTS_FOLDER, true),
            mount("tmp", "/tmp", false),
        ]),
        ..Container::default()
    }
}

/// Each variable by name, also those that come from a ConfigMap or a Secret as a whole: what is in `env` wins over `envFrom`,
/// so a variable that somebody else puts there would go before ours, and be no field of ours that could be put back.
fn environment(instance: &ValidatedInstance, config: &ConfigMap) -> Vec<EnvVar> {
    let key = &instance.ssh.key;
    let mut variables = vec![
        variable("NODE_ENV", "production"),
        variable("PORT", HTTP_PORT.to_string()),
        variable("METRICS_PORT", METRICS_PORT.to_string()),
        secret_variable(CATALYST_SECRET, &instance.app_secret.secret, None),
        secret_variable(COOKIE_SECRET, &instance.app_secret.secret, None),
        secret_variable(COOKIE_SECRET_PREVIOUS, &instance.app_secret.secret, Some(true)),
        variable("SSH_KEY_PATH", format!("{}/{}", key.folder, key.entry)),
        variable("SSH_KNOWN_HOSTS", format!("{KNOWN_HOSTS_FOLDER}/{}", known_hosts::ENTRY)),
        variable("SSH_HOST_KEY_CHECK", "strict"),
    ];
    variables.extend(config.data.iter().flatten().map(|(name, _)| config_variable(name, &instance.name.config())));
    // Without a URL the app is opened by port-forward, on a port that nobody knows: the server then goes by what the
    // browser says of the request's own site.
    if let Some(url) = &instance.public_url {
        variables.push(variable("PUBLIC_URL", url.origin()));
        variables.push(variable("ALLOWED_ORIGINS", instance.origins().join(",")));
    }
    if let Some(generation) = instance.app_secret.generation {
        variables.push(variable("SESSION_GENERATION", generation.to_string()));
    }
    if !instance.trusted_proxies.is_empty() {
        let ranges: Vec<String> = instance.trusted_proxies.iter().map(ToString::to_string).collect();
        variables.push(variable("TRUSTED_PROXIES", ranges.join(",")));
    }
    if let Some(header) = &instance.identity_header {
        variables.push(variable("IDENTITY_HEADER", header));
    }
    variables.extend(instance.pod.extra_env.iter().map(|(name, value)| given_variable(name, value)));
    variables
}

fn volumes(instance: &ValidatedInstance) -> Vec<Volume> {
    let key = &instance.ssh.key;
    vec![
        Volume {
            name: "ssh-key".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(key.secret.clone()),
                default_mode: Some(0o400),
                items: Some(vec![KeyToPath { key: key.entry.clone(), path: key.entry.clone(), mode: None }]),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume {
            name: "known-hosts".to_owned(),
            config_map: Some(ConfigMapVolumeSource {
                name: instance.name.known_hosts(),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        },
        Volume { name: "tmp".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() },
    ]
}

fn probe(wanted: &Probe) -> ContainerProbe {
    ContainerProbe {
        http_get: Some(HTTPGetAction {
            path: Some(wanted.path.clone()),
            port: IntOrString::Int(i32::from(HTTP_PORT)),
            ..HTTPGetAction::default()
        }),
        // The API server drops a zero, and an apply would then never find its own field again.
        initial_delay_seconds: Some(wanted.initial_delay_seconds).filter(|seconds| *seconds != 0),
        period_seconds: Some(wanted.period_seconds),
        timeout_seconds: Some(wanted.timeout_seconds),
        failure_threshold: Some(wanted.failure_threshold),
        ..ContainerProbe::default()
    }
}

fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        // Part of the list's key.
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    // The API server drops an empty value.
    EnvVar { name: name.to_owned(), value: Some(value.into()).filter(|value| !value.is_empty()), value_from: None }
}

fn given_variable(name: &str, value: &EnvValue) -> EnvVar {
    match value {
        EnvValue::Text(value) => variable(name, value),
        EnvValue::Secret(entry) => from_secret(name, entry.clone()),
        EnvValue::ConfigMap(entry) => from_config_map(name, entry.clone()),
    }
}

fn secret_variable(name: &str, secret: &str, optional: Option<bool>) -> EnvVar {
    from_secret(name, EntryRefSpec { name: secret.to_owned(), key: name.to_owned(), optional })
}

fn config_variable(name: &str, config_map: &str) -> EnvVar {
    from_config_map(name, EntryRefSpec { name: config_map.to_owned(), key: name.to_owned(), optional: None })
}

fn from_secret(variable: &str, entry: EntryRefSpec) -> EnvVar {
    let EntryRefSpec { name, key, optional } = entry;
    let secret_key_ref = Some(SecretKeySelector { name, key, optional });
    from_source(variable, EnvVarSource { secret_key_ref, ..EnvVarSource::default() })
}

fn from_config_map(variable: &str, entry: EntryRefSpec) -> EnvVar {
    let EntryRefSpec { name, key, optional } = entry;
    let config_map_key_ref = Some(ConfigMapKeySelector { name, key, optional });
    from_source(variable, EnvVarSource { config_map_key_ref, ..EnvVarSource::default() })
}

fn from_source(variable: &str, source: EnvVarSource) -> EnvVar {
    EnvVar { name: variable.to_owned(), value: None, value_from: Some(source) }
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn resources(wanted: &Resources) -> Option<ResourceRequirements> {
    let (requests, limits) = (quantities(&wanted.requests), quantities(&wanted.limits));
    let any = requests.is_some() || limits.is_some();
    any.then(|| ResourceRequirements { requests, limits, ..ResourceRequirements::default() })
}

fn quantities(amounts: &BTreeMap<String, String>) -> Option<BTreeMap<String, Quantity>> {
    non_empty(amounts.iter().map(|(name, amount)| (name.clone(), Quantity(amount.clone()))).collect())
}

fn toleration(wanted: &TolerationSpec) -> Toleration {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Toleration {
        key: given(&wanted.key),
        operator: given(&wanted.operator),
        value: given(&wanted.value),
        effect: given(&wanted.effect),
        toleration_seconds: wanted.toleration_seconds,
    }
}
