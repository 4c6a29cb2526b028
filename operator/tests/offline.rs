//! The commands that look: the objects of a manifest, what applying it would change, whose pods an upgrade would restart.
//! Then what takes a Helm release over. All against one real API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where something is not as it must be"
)]

mod adopt;
mod world;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use catalyst_operator::{args::MigrateArgs, migrate::command::convert};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::api::{Patch, PatchParams};
use serde::Deserialize;
use serde_json::{Value, json};
use world::{World, plane};

/// The image of the world's operator.
const IMAGE: &str = "catalyst-proxy:test";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_catalyst-operator"));
    command.args(arguments).env_clear().env("KUBECONFIG", "/nowhere/kubeconfig");
    command
}

fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that refuses its arguments reads no input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Exit code, standard output, standard error.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn on_plane(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = command(arguments);
    command.env("KUBECONFIG", plane().kubeconfig()).env("PROXY_IMAGE", IMAGE);
    told(&run(command, input))
}

fn manifest(name: &str, spec: Value) -> String {
    let object = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance", "metadata": {"name": name}, "spec": spec});
    serde_yaml::to_string(&object).unwrap()
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn every_example_is_rendered_without_a_cluster_and_twice_the_same() {
    for path in examples() {
        let file = path.to_str().unwrap();
        let (code, text, errors) = told(&run(command(&["render", "-f", file, "-n", "team"]), ""));
        assert_eq!((code, errors.as_str()), (0, ""), "{file}");
        let again = told(&run(command(&["render", "-f", file, "-n", "team"]), ""));
        assert_eq!(text, again.1, "{file}");
        let documents: Vec<Value> =
            serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap()).collect();
        let objects: Vec<_> = documents.iter().filter(|object| !object.is_null()).collect();
        assert!(objects.len() >= 5, "{file}: {text}");
        for object in objects {
            assert_eq!(object["metadata"]["namespace"], "team", "{file}");
            assert!(object["metadata"].get("ownerReferences").is_none(), "an apply of it would be collected: {object}");
        }
    }
}

#[test]
fn what_is_generated_is_a_placeholder_and_what_is_yours_is_not_among_the_objects() {
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}});
    let (_, text, _) = told(&run(command(&["render", "-f", "-"]), &manifest("x", spec)));
    assert!(text.contains("# Secret x-secrets: generated at run time"), "{text}");
    assert_eq!(text.matches("(generated at run time)").count(), 4, "{text}");
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev", "existingKeySecret": "mine", "keyPath": "/k/id_rsa"},
        "secrets": {"useExisting": true}});
    let (code, text, _) = told(&run(command(&["render", "-f", "-"]), &manifest("x", spec)));
    assert_eq!(code, 0);
    assert!(text.contains("# Secret mine: yours") && !text.contains("kind: Secret"), "{text}");
}

#[test]
fn bad_input_ends_with_two_and_names_place_field_and_remedy() {
    let good = manifest("x", json!({"ssh": {"host": "192.0.2.1", "user": "dev"}}));
    let bad = manifest("y", json!({"ssh": {"host": "192.0.2.1", "usr": "dev"}, "replicas": "two"}));
    for verb in ["render", "diff"] {
        let (code, text, errors) = told(&run(command(&[verb, "-f", "-"]), &format!("{good}---\n{bad}")));
        assert_eq!((code, text.as_str()), (2, ""), "{errors}");
        for line in [
            "standard input, document 2: spec.ssh.usr is not a field; did you mean spec.ssh.user?",
            "standard input, document 2: spec.ssh.user is required and is not there",
            "standard input, document 2: spec.replicas must be a whole number, not a string",
        ] {
            assert!(errors.contains(line), "{verb}: {line}: {errors}");
        }
    }
    // What only validation finds.
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": "nonsense"}});
    let (code, _, errors) = told(&run(command(&["render", "-f", "-"]), &manifest("x", spec)));
    assert!(code == 2 && errors.contains("ssh.knownHosts cannot be read"), "{errors}");
    // No cluster.
    let (code, _, errors) = told(&run(command(&["diff", "-f", "-"]), &good));
    assert!(code == 2 && errors.contains("no cluster to talk to") && errors.contains("--kubeconfig"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_the_cluster_has_no_kind_for_is_shown_as_one_that_is_not_applied() {
    let _world = World::without_operator("routeless").await;
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev"},
        "gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["routeless.example.com"]}});
    let (code, text, errors) = on_plane(&["diff", "-n", "routeless", "-f", "-"], &manifest("x", spec));
    assert_eq!(code, 1, "{errors}");
    assert!(text.contains("+# not applied: the cluster knows no HTTPRoute of gateway.networking.k8s.io"), "{text}");
    assert!(!text.contains("+kind: HTTPRoute"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_told_beside_what_would_be_made_in_it() {
    let _world = World::without_operator("somewhere").await;
    let spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev"}});
    let (code, text, errors) = on_plane(&["diff", "-n", "nowhere", "-f", "-"], &manifest("x", spec));
    assert_eq!(code, 1, "{errors}");
    assert!(text.starts_with("# the cluster has no namespace nowhere: kubectl create namespace nowhere"), "{text}");
    assert!(text.contains("+++ wanted/Deployment/nowhere/x"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_shows_what_applying_would_change_and_nothing_that_others_added() {
    let world = World::with_operator("diff").await;
    // No VM answers there, so the pods come without a look at it.
    let spec = |tag: &str| {
        json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": format!("192.0.2.1 {}", host_key())},
            "image": {"repository": "proxy", "tag": tag}, "ingress": {"host": "diff.example.com"}})
    };
    let diff = |input: &str| on_plane(&["diff", "-f", "-", "-n", "diff"], input);

    let (code, text, errors) = diff(&manifest("x", spec("v1")));
    assert_eq!((code, errors.as_str()), (1, ""));
    for line in
        ["+++ wanted/CatalystInstance/diff/x", "+++ wanted/Deployment/diff/x", "+++ wanted/Secret/diff/x-secrets"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.lines().any(|line| line.starts_with('-') && !line.starts_with("---")), "{text}");

    world.apply("x", spec("v1")).await;
    world.exists::<Deployment>("x").await;
    world.settled().await;
    // Others add what is theirs.
    world.edit::<Service>("x", json!({"metadata": {"annotations": {"example.com/mine": "1"}}})).await;
    world.edit::<ConfigMap>("x-config", json!({"data": {"MORE": "1"}})).await;
    let scale = json!({"spec": {"replicas": 3}});
    let params = PatchParams { field_manager: Some("hpa".into()), ..PatchParams::default() };
    world.api::<Deployment>().patch_scale("x", &params, &Patch::Merge(&scale)).await.unwrap();
    assert_eq!(diff(&manifest("x", spec("v1"))), (0, String::new(), String::new()));

    let versions = || async {
        // Its controllers write a Deployment's status whenever they like.
        let deployment =
            world.exists::<Deployment>("x").await.metadata.generation.map(|generation| generation.to_string());
        let config = world.exists::<ConfigMap>("x-config").await.metadata.resource_version;
        [deployment, config, world.exists::<Service>("x").await.metadata.resource_version]
    };
    let before = versions().await;
    let mut changed = spec("v2");
    changed["networkPolicy"] = json!({"enabled": false});
    let (code, text, errors) = diff(&manifest("x", changed));
    assert_eq!((code, errors.as_str()), (1, ""));
    for line in ["-        image: proxy:v1", "+        image: proxy:v2", "-kind: NetworkPolicy", "+    tag: v2"] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
    let changed = |line: &str| line.starts_with(['+', '-']) && line.contains("replicas");
    assert!(!text.lines().any(changed), "the scaler's number is no difference: {text}");
    assert_eq!(versions().await, before, "a diff writes nothing");

    // What the operator would refuse is no difference but an error.
    let (code, _, errors) = diff(&manifest(
        "x",
        json!({"ssh": {"host": "192.0.2.1", "user": "dev"}, "secrets": {"existingSecret": "none"}}),
    ));
    assert!(code == 2 && errors.contains("Secret none does not exist"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_preview_names_the_pods_that_would_restart_and_why() {
    let world = World::with_operator("upgrade").await;
    let known = format!("192.0.2.1 {}", host_key());
    world.apply("same", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": known}, "image": {"repository": "own", "tag": "v1"}})).await;
    world.apply("follows", json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": known}})).await;
    world.exists::<Deployment>("same").await;
    world.exists::<Deployment>("follows").await;
    world.settled().await;
    let preview = |arguments: &[&str]| on_plane(&[&["upgrade-preview", "-n", "upgrade"], arguments].concat(), "");
    let (code, text, errors) = preview(&[]);
    assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    assert!(text.contains("the pods of 0 of 2 instances would restart"), "{text}");
    let (code, text, errors) = preview(&["--proxy-image", "catalyst-proxy:next", "-o", "json"]);
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    let previews: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&previews[0]["name"], &previews[0]["fate"]), (&json!("follows"), &json!("restart")));
    assert_eq!(
        previews[0]["why"],
        json!(["spec.containers[catalyst].image: catalyst-proxy:test → catalyst-proxy:next"])
    );
    assert_eq!((&previews[1]["name"], &previews[1]["fate"]), (&json!("same"), &json!("stay")));
}

/// So does `kubectl catalyst migrate`, as the plugin's own test says.
#[test]
fn migrate_prints_the_manifest_and_beside_it_what_was_not_taken_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ssh: {host: 192.0.2.1, user: dev}\nsecrets: {catalystSecret: guess-me}\n").unwrap();
    let namespace = Some("team".to_owned());
    let values = file.path().to_owned();
    let given = MigrateArgs { values, name: None, namespace, adopt: None, yes: false, timeout: 600, drain: 15 };
    let made = convert(&given).unwrap();
    assert!(made.yaml.contains("kind: CatalystInstance") && !made.notes.is_empty(), "{made:?}");
    let arguments = ["migrate", "--values", file.path().to_str().unwrap(), "-n", "team"];
    assert_eq!(told(&run(command(&arguments), "")), (0, made.yaml, made.notes));
    let (code, text, errors) = told(&run(command(&["migrate", "--values", "/nowhere/values"]), ""));
    assert!(code == 2 && text.is_empty() && errors.contains("/nowhere/values cannot be read"), "{errors}");
}

/// One for the whole run: a manifest that is written twice is the same.
fn host_key() -> String {
    static KEY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let fresh = || catalyst_ssh::generate_ed25519("host").unwrap().public_openssh;
    KEY.get_or_init(|| fresh().trim().rsplit_once(' ').unwrap().0.to_owned()).clone()
}
