use super::*;

/// `values-prod.yaml` of the chart's own documentation.
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
fn the_charts_own_values_prod_yaml_is_taken_over_whole_and_nothing_is_left_to_say() {
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
fn of_a_list_only_the_entries_that_cannot_be_used_are_left_out_and_each_is_named() {
    let migrated = migrated(&format!(
        "{SEED}\nextraEnv: [{{name: GOOD, value: y}}, {{name: my.var, value: x}}, {{name: 1x, value: x}}, {{name: ALSO, value: y}}]\n\
         tolerations: [{{key: pool, operator: Equals}}, {{key: ok, operator: Exists}}]\n"
    ));
    let kept = json!([{"name": "GOOD", "value": "y"}, {"name": "ALSO", "value": "y"}]);
    assert_eq!(spec(&migrated)["extraEnv"], kept);
    assert_eq!(spec(&migrated)["tolerations"], json!([{"key": "ok", "operator": "Exists"}]));
    let mut told = notes(&migrated);
    told.sort_unstable();
    assert_eq!(told, ["extraEnv (1x)", "extraEnv (my.var)", "tolerations (pool)"]);
}

#[test]
fn unknown_keys_and_wrong_values_are_listed_and_the_rest_still_stands() {
    let text = format!(
        "{SEED}\npersistence: {{size: 1Gi}}\nautoscaling: {{enabled: true, maxReplicas: 5}}\nreplicaCount: many\n\
         nodeSelector: {{disk: ssd}}\naffinityy: {{x: 1}}\nserviceAccount: {{create: true}}\nextraEnv:\n- {{name: CLAUDE_TIMEOUT_MS, value: 5}}\n\
         - {{name: SSH_HOST, value: x}}\n- {{name: T, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}\n\
         - {{name: S, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}\n"
    );
    let migrated = migrated(&text);
    let notes = notes(&migrated);
    for key in ["persistence", "autoscaling", "replicaCount", "affinityy", "extraEnv.T"] {
        assert!(notes.contains(&key), "{key}: {notes:?}");
    }
    // The variable that the operator sets itself is named, and the others stay.
    assert!(notes.contains(&"extraEnv.SSH_HOST"), "{notes:?}");
    let from_secret = json!({"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
    assert_eq!(spec(&migrated)["extraEnv"], json!([{"name": "CLAUDE_TIMEOUT_MS", "value": "5"}, from_secret]));
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
fn a_placeholder_is_told_whether_the_release_is_taken_over_or_not_with_a_command_for_its_namespace() {
    let text = SEED.replace("useExisting: true", "useExisting: false\n  catalystSecret: CHANGE_ME_PLEASE_NOW");
    for adopting in [false, true] {
        let options = Options { adopting, namespace: Some("ideas".into()), ..Options::default() };
        let migrated = migrate(&text, "v", &options).unwrap();
        let note = migrated.notes.iter().find(|note| note.key == "secrets.catalystSecret").expect("told").to_string();
        assert!(note.contains("still has the placeholder CHANGE_ME"), "{note}");
        assert!(note.contains("kubectl patch secret -n ideas catalyst-secrets -p '{\"stringData\""), "{note}");
    }
}

#[test]
fn the_annotation_for_cert_manager_becomes_the_issuer() {
    let with = |annotations: &str, tls: &str| {
        let ingress = format!("  className: nginx\n  annotations: {{{annotations}}}\n{tls}");
        migrated(&SEED.replace("  className: nginx\n", &ingress))
    };
    let tls = "  tls: [{secretName: web-tls}]\n";
    let both = with("cert-manager.io/cluster-issuer: letsencrypt, a: b", tls);
    let issuer = json!({"name": "letsencrypt", "kind": "ClusterIssuer"});
    assert_eq!(spec(&both)["ingress"]["tls"], json!({"secretName": "web-tls", "issuer": issuer}));
    assert_eq!(spec(&both)["ingress"]["annotations"], json!({"a": "b"}));
    assert_eq!(notes(&both), Vec::<&str>::new());
    // Where the chart had no certificate made, that there will be one is news.
    let alone = with("cert-manager.io/issuer: own", "");
    assert_eq!(spec(&alone)["ingress"]["tls"], json!({"issuer": {"name": "own", "kind": "Issuer"}}));
    assert_eq!(spec(&alone)["ingress"].get("annotations"), None);
    assert_eq!(notes(&alone), ["ingress.annotations[cert-manager.io/issuer]"]);
    let foreign = with("cert-manager.io/issuer: own, cert-manager.io/issuer-kind: AWSPCAIssuer", tls);
    assert_eq!(spec(&foreign)["ingress"]["tls"], json!({"secretName": "web-tls"}));
    assert_eq!(spec(&foreign)["ingress"]["annotations"].as_object().unwrap().len(), 2);
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

fn refused(text: &str) -> String {
    migrate(text, "values.yaml", &Options::default()).unwrap_err().to_string()
}

#[test]
fn without_the_vm_there_is_no_instance_and_the_way_to_all_values_is_named() {
    let told = refused("image: {tag: x}");
    assert!(told.starts_with("values.yaml: ssh.host: it is required and is not there. ssh.user: it is"), "{told}");
    assert!(told.contains("helm get values RELEASE -n NAMESPACE --all"), "{told}");
    let error =
        migrate(SEED, "v", &Options { name: Some("A_b".into()), ..Options::default() }).unwrap_err().to_string();
    assert!(error.contains("--name"), "{error}");
}

#[test]
fn a_key_that_is_written_wrong_is_told_where_the_value_is_missed() {
    let told = refused(&SEED.replace("  host: \"192.168.1.100\"", "  hots: \"192.168.1.100\""));
    assert!(told.contains("ssh.host: it is required"), "{told}");
    assert!(told.contains("\n  ssh.hots: no field of the instance corresponds to it. If ssh.host is meant"), "{told}");
}

#[test]
fn a_value_that_cannot_be_left_out_and_is_wrong_is_to_be_corrected_there() {
    for port in ["ssh", "99999"] {
        let told = refused(&SEED.replace("\"22\"", port));
        assert!(told.contains("ssh.port must be a port from 1 to 65535. Correct it there."), "{told}");
    }
    for port in ["2222", "\"2222\""] {
        assert_eq!(
            spec(&migrated(&SEED.replace("\"22\"", port)))["ssh"]["port"],
            serde_yaml::from_str::<Value>(port).unwrap()
        );
    }
}

#[test]
fn what_is_no_values_file_is_told_for_what_it_is() {
    for (text, expected) in [
        ("", "it is empty"),
        ("# nothing\n---\n", "it is empty"),
        ("- a\n", "it is no mapping"),
        ("a: [b\nc: 1", "it is not YAML (did not find"),
        ("image: {tag: a}\nimage: {tag: b}", "duplicate entry with key \"image\""),
        ("ssh: {host: h, user: u}\n---\nimage: {tag: x}\n", "it holds 2 YAML documents"),
        ("apiVersion: catalyst.dev/v1alpha1\nkind: CatalystInstance\nspec: {}", "it is a manifest (CatalystInstance)"),
    ] {
        let told = refused(text);
        assert!(told.starts_with("values.yaml cannot be read as Helm values: "), "{told}");
        assert!(told.contains(expected) && told.contains("helm get values"), "{expected}: {told}");
    }
    // What Helm prints before the values is no value.
    let printed = migrated(&format!("USER-SUPPLIED VALUES:\n{SEED}"));
    assert_eq!((notes(&printed), spec(&printed)), (vec![], spec(&migrated(SEED))));
}

#[test]
fn a_placeholder_that_the_chart_made_its_secret_of_is_told_before_the_release_is_taken_over() {
    let text =
        SEED.replace("useExisting: true", "useExisting: false\n  catalystSecret: CHANGE_ME\n  cookieSecret: short");
    let adopted = migrate(&text, "v", &Options { adopting: true, ..Options::default() }).unwrap();
    assert_eq!(notes(&adopted), ["secrets.useExisting", "secrets.catalystSecret", "secrets.cookieSecret"]);
    let told = adopted.notes[1].to_string();
    assert!(told.contains("placeholder CHANGE_ME") && told.contains("kubectl patch secret catalyst-secrets"), "{told}");
    // Without the release a new one is generated; that whoever guesses it signs in to the old one is told all the same.
    assert_eq!(notes(&migrated(&text)), ["secrets.useExisting", "secrets.catalystSecret", "secrets.cookieSecret"]);
}

#[test]
fn nobody_is_told_to_set_a_probes_port_which_has_one_right_value() {
    let text = format!("{SEED}\nlivenessProbe: {{httpGet: {{path: /api/health, port: 8080}}}}\n");
    let told = migrated(&text).notes[0].to_string();
    let words = "must be 3001, the only port that the server has. It is left out, and that port is asked.";
    assert!(told.ends_with(words), "{told}");
}

#[test]
fn a_probe_of_what_the_server_does_not_answer_for_asks_whether_it_runs_and_no_more() {
    let text = format!(
        "{SEED}\nlivenessProbe: {{httpGet: {{path: /, port: 3001}}, periodSeconds: 7}}\nreadinessProbe: {{tcpSocket: {{port: 3001}}}}\n"
    );
    let other = migrated(&text);
    assert_eq!(notes(&other), ["livenessProbe.httpGet.path", "readinessProbe.tcpSocket"]);
    assert!(other.notes[0].to_string().contains("/livez is asked instead; /api/health would fail while the VM"));
    let path = |migrated: &Migrated, probe: &str| spec(migrated)[probe]["httpGet"]["path"].clone();
    assert_eq!(path(&other, "livenessProbe"), "/livez");
    assert_eq!(path(&other, "readinessProbe"), "/readyz");
    assert_eq!(spec(&other)["livenessProbe"]["periodSeconds"], 7);
    let kept = migrated(&format!(
        "{SEED}\nlivenessProbe: {{httpGet: {{path: /livez}}}}\nreadinessProbe: {{httpGet: {{path: /api/health}}}}\n"
    ));
    assert_eq!((notes(&kept), path(&kept, "livenessProbe")), (vec![], json!("/livez")));
    assert_eq!(path(&kept, "readinessProbe"), "/api/health");
}

#[test]
fn of_a_list_only_the_entry_that_cannot_be_taken_over_is_left_out() {
    let text = format!(
        "{SEED}\ntolerations:\n- {{key: gpu, operator: Exists}}\n- {{key: slow, tolerationSeconds: soon}}\n- always\n- [a]\n"
    );
    let migrated = migrated(&text);
    assert_eq!(notes(&migrated), ["tolerations (slow)", "tolerations (always)", "tolerations (number 4)"]);
    assert_eq!(spec(&migrated)["tolerations"], json!([{"key": "gpu", "operator": "Exists"}]));
    let told = migrated.notes[0].to_string();
    assert!(
        told.ends_with("Only this entry is left out; add it to spec.tolerations by hand if it is needed."),
        "{told}"
    );
}

#[test]
fn the_charts_defaults_with_a_vm_are_taken_over_but_for_what_the_instance_refuses() {
    let text = format!(
        "{SEED}replicaCount: 1\nnameOverride: \"\"\nimagePullSecrets: []\nservice: {{type: ClusterIP, port: 80}}\nnodeSelector: {{}}\n\
         networkPolicy: {{enabled: true, ingressNamespace: ingress-nginx, sshEgressCidr: 0.0.0.0/0}}\n"
    )
    .replace("  user: \"vagrant\"", "  user: \"vagrant\"\n  keyPath: /etc/catalyst/ssh/id_ed25519");
    let migrated = migrated(&text);
    assert_eq!(notes(&migrated), ["ssh.keyPath"]);
    let told = migrated.notes[0].to_string();
    let expected = "ssh.keyPath: it must be an absolute path of a file in a folder of its own, such as /secrets/ssh/id_ed25519. It is left \
                    out; set spec.ssh.keyPath by hand if it is needed.";
    assert_eq!(told, expected);
}
