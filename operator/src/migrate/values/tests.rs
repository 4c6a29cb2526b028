use super::*;

/// The values file of the chart's own documentation.
const SEED: &str = r#"
image:
  repository: ghcr.io/your-org/catalyst
  tag: main
  pullPolicy: Always

ingress:
  enabled: true
  className: nginx
  host: catalyst.yourdomain.com

ssh:
  host: "192.168.1.100"
  port: "22"
  user: "vagrant"
  ideasBasePath: "~/catalyst/ideas"
  existingKeySecret: "catalyst-ssh-key"

secrets:
  useExisting: true
"#;

fn migrated(text: &str) -> Migrated {
    migrate(text, "values.yaml", &Options::default()).unwrap()
}

fn notes(migrated: &Migrated) -> Vec<&str> {
    migrated.notes.iter().map(|note| note.key.as_str()).collect()
}

fn spec(migrated: &Migrated) -> &Value {
    &migrated.manifest["spec"]
}

#[test]
fn the_documented_values_are_taken_over_whole() {
    let migrated = migrated(SEED);
    assert_eq!(notes(&migrated), Vec::<&str>::new());
    let values: Value = serde_yaml::from_str(SEED).unwrap();
    assert_eq!(spec(&migrated), &values, "every value keeps its place");
    assert_eq!(migrated.instance.metadata.name.as_deref(), Some("catalyst"));
}

#[test]
fn every_value_of_the_chart_has_its_place() {
    let all = format!(
        "{SEED}\nreplicaCount: 2\ncontainerPort: 3001\nservice: {{type: ClusterIP, port: 80}}\nnetworkPolicy: {{enabled: true, \
         ingressNamespace: ingress-nginx, sshEgressCidr: 192.168.1.0/24}}\nresources: {{limits: {{cpu: 500m, memory: 512Mi}}}}\n\
         livenessProbe: {{httpGet: {{path: /api/health, port: 3001}}, initialDelaySeconds: 10, periodSeconds: 30}}\n\
         readinessProbe: {{httpGet: {{path: /api/health, port: 3001}}, initialDelaySeconds: 5, periodSeconds: 10}}\n"
    );
    let migrated = migrated(&all);
    assert_eq!(notes(&migrated), Vec::<&str>::new());
    assert_eq!(spec(&migrated)["replicas"], 2);
    assert_eq!(migrated.instance.spec.resources.unwrap().limits.unwrap().len(), 2);
}

#[test]
fn the_charts_annotations_go_where_the_operator_sets_them_itself_and_others_stay() {
    let annotations = "  annotations:\n    nginx.ingress.kubernetes.io/proxy-read-timeout: \"3600\"\n    \
        nginx.ingress.kubernetes.io/proxy-send-timeout: 7200\n    nginx.ingress.kubernetes.io/websocket-services: catalyst\n    \
        nginx.ingress.kubernetes.io/configuration-snippet: |\n      proxy_set_header Upgrade $http_upgrade;\n      \
        proxy_set_header Connection \"upgrade\";\n";
    let text = SEED.replace("  className: nginx\n", &format!("  className: nginx\n{annotations}"));
    let migrated = migrated(&text);
    let kept = json!({"nginx.ingress.kubernetes.io/proxy-send-timeout": "7200"});
    assert_eq!(spec(&migrated)["ingress"]["annotations"], kept);
    assert_eq!(notes(&migrated), ["ingress.annotations[nginx.ingress.kubernetes.io/configuration-snippet]"]);
}

#[test]
fn unknown_keys_and_wrong_values_are_listed_and_the_rest_still_stands() {
    let text = format!(
        "{SEED}\npersistence: {{size: 1Gi}}\nautoscaling: {{enabled: true, maxReplicas: 5}}\nreplicaCount: many\n\
         nodeSelector: {{disk: ssd}}\naffinityy: {{x: 1}}\nserviceAccount: {{create: true}}\nextraEnv:\n- {{name: CLAUDE_TIMEOUT_MS, value: 5}}\n\
         - {{name: SSH_HOST, value: x}}\n- {{name: T, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}\n"
    );
    let migrated = migrated(&text);
    let notes = notes(&migrated);
    for key in ["persistence", "autoscaling", "replicaCount", "affinityy", "extraEnv.T"] {
        assert!(notes.contains(&key), "{key}: {notes:?}");
    }
    // The variable that the operator sets itself takes its list with it, and is named.
    assert!(
        migrated.notes.iter().any(|note| note.key.starts_with("extraEnv") && note.reason.contains("SSH_HOST")),
        "{notes:?}"
    );
    assert_eq!(spec(&migrated)["nodeSelector"], json!({"disk": "ssd"}));
    assert!(migrated.notes.iter().all(|note| !note.reason.is_empty() && !note.remedy.is_empty()), "{notes:?}");
}

#[test]
fn secrets_are_never_copied_and_those_of_a_running_release_are_kept() {
    let text = SEED
        .replace("useExisting: true", "useExisting: false\n  catalystSecret: hunter2hunter2hunter2\n  cookieSecret: s");
    for adopting in [false, true] {
        let migrated = migrate(&text, "v", &Options { adopting, ..Options::default() }).unwrap();
        let all = format!("{} {:?}", migrated.manifest, migrated.notes);
        assert!(!all.contains("hunter2"), "{all}");
        assert_eq!(spec(&migrated)["secrets"]["useExisting"] == true, adopting, "{all}");
        assert!(notes(&migrated).contains(&"secrets.useExisting"));
    }
}

#[test]
fn what_the_chart_takes_by_default_is_taken_and_told() {
    let text =
        SEED.replace("secrets:\n  useExisting: true\n", "").replace("  existingKeySecret: \"catalyst-ssh-key\"\n", "");
    let migrated = migrate(&text, "v", &Options { name: Some("web".into()), ..Options::default() }).unwrap();
    assert_eq!(notes(&migrated), ["secrets.useExisting", "ssh.existingKeySecret"]);
    assert_eq!(spec(&migrated)["secrets"], json!({"useExisting": true, "existingSecret": "catalyst-secrets"}));
    assert_eq!(spec(&migrated)["ssh"]["existingKeySecret"], "catalyst-ssh-key");
}

#[test]
fn numbers_and_texts_become_what_the_field_takes() {
    let text = SEED.replace("tag: main", "tag: 1.5").replace("port: \"22\"", "port: 2222");
    let migrated = migrated(&format!("{text}\nreplicaCount: \"3\"\npodAnnotations: {{a: 1, b: true}}\n"));
    assert_eq!(spec(&migrated)["image"]["tag"], "1.5");
    assert_eq!(spec(&migrated)["replicas"], 3);
    assert_eq!(spec(&migrated)["podAnnotations"], json!({"a": "1", "b": "true"}));
}

#[test]
fn other_charts_ways_of_writing_are_understood() {
    let text = format!(
        "{SEED}\nimagePullSecrets: [{{name: a}}, b]\npodSecurityContext: {{fsGroup: 1000, runAsNonRoot: true}}\n\
         securityContext: {{readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}\n"
    )
    .replace(
        "  host: catalyst.yourdomain.com",
        "  hosts: [{host: a.example}, {host: b.example}]\n  tls: [{secretName: t, hosts: [a.example]}]",
    );
    let migrated = migrated(&text);
    assert_eq!(spec(&migrated)["image"]["pullSecrets"], json!([{"name": "a"}, {"name": "b"}]));
    assert_eq!(spec(&migrated)["securityContext"], json!({"fsGroup": 1000, "readOnlyRootFilesystem": true}));
    assert_eq!(spec(&migrated)["ingress"]["tls"], json!({"secretName": "t"}));
    assert_eq!(notes(&migrated), ["ingress.hosts"], "{:?}", migrated.notes);
}

#[test]
fn without_the_vm_there_is_no_instance_and_the_way_to_all_values_is_named() {
    let error = migrate("image: {tag: x}", "values.yaml", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("spec.ssh") && error.contains("helm get values"), "{error}");
    let error = migrate("- a\n", "values.yaml", &Options::default()).unwrap_err().to_string();
    assert!(error.contains("no mapping"), "{error}");
    let error =
        migrate(SEED, "v", &Options { name: Some("A_b".into()), ..Options::default() }).unwrap_err().to_string();
    assert!(error.contains("--name"), "{error}");
}
