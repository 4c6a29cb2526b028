//! The examples for Flux and Argo CD install `config/` with the images that they name, and never take the CRD away. Neither tool runs
//! here: what each would write into the kustomization before it builds it, the test writes there, and kubectl builds it.

use std::path::Path;
use std::process::Command;

use catalyst_lab::Progress;
use catalyst_lab::parts::{self, Part};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::read;

fn documents(text: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// What becomes of the kustomization in `path` with these images and patches.
async fn built(path: &str, images: &[Value], patches: &Value) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let copied =
        Command::new("cp").arg("-r").args([root.join("config"), root.join("crds")]).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let place = folder.path().join(path);
    let file = place.join("kustomization.yaml");
    let mut kustomization: Value = serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    for image in images {
        let of_name =
            kustomization["images"].as_array_mut().unwrap().iter_mut().find(|one| one["name"] == image["name"]);
        *of_name.unwrap_or_else(|| panic!("{path} has no image {image}")) = image.clone();
    }
    kustomization["patches"] = patches.clone();
    std::fs::write(&file, serde_yaml::to_string(&kustomization).unwrap()).unwrap();
    let kubectl = parts::ensure(Part::Kubectl, &Progress::stderr()).await.unwrap();
    let output = Command::new(kubectl.program()).arg("kustomize").arg(place).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&String::from_utf8(output.stdout).unwrap())
}

/// The images of the examples are what runs, and this annotation keeps the CRD.
fn assert_installs(objects: &[Value], kept_by: (&str, &str)) {
    let version = env!("CARGO_PKG_VERSION");
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let (crd, deployment) = (of_kind("CustomResourceDefinition"), of_kind("Deployment"));
    assert_eq!(crd["metadata"]["name"], "catalystinstances.catalyst.dev");
    assert_eq!(crd["metadata"]["annotations"][kept_by.0], kept_by.1);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], format!("registry.example.com/catalyst-operator:{version}"));
    let variables = container["env"].as_array().unwrap();
    let proxy = variables.iter().find(|variable| variable["name"] == "PROXY_IMAGE").unwrap();
    assert_eq!(proxy["value"], format!("registry.example.com/catalyst-proxy:{version}"));
}

#[tokio::test]
async fn the_example_for_flux_installs_the_operator_and_keeps_the_crd() {
    let [source, kustomization] = <[Value; 2]>::try_from(documents(&read("gitops/flux.yaml"))).unwrap();
    assert_eq!(source["spec"]["ref"]["tag"], concat!("v", env!("CARGO_PKG_VERSION")));
    let spec = &kustomization["spec"];
    for member in ["kind", "name"] {
        let wanted = if member == "kind" { &source["kind"] } else { &source["metadata"]["name"] };
        assert_eq!(spec["sourceRef"][member], *wanted);
    }
    let objects = built(spec["path"].as_str().unwrap(), spec["images"].as_array().unwrap(), &spec["patches"]).await;
    assert_installs(&objects, ("kustomize.toolkit.fluxcd.io/prune", "disabled"));
}

#[tokio::test]
async fn the_example_for_argo_cd_installs_the_operator_server_side_and_keeps_the_crd() {
    let [application] = <[Value; 1]>::try_from(documents(&read("gitops/argocd.yaml"))).unwrap();
    let (spec, source) = (&application["spec"], &application["spec"]["source"]);
    assert_eq!(source["targetRevision"], concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(spec["syncPolicy"]["syncOptions"], json!(["ServerSideApply=true"]));
    // As in `kustomize edit set image`.
    let image = |text: &Value| {
        let (name, image) = text.as_str().unwrap().split_once('=').unwrap();
        let (new_name, tag) = image.rsplit_once(':').unwrap();
        json!({"name": name, "newName": new_name, "newTag": tag})
    };
    let images: Vec<Value> = source["kustomize"]["images"].as_array().unwrap().iter().map(image).collect();
    let objects = built(source["path"].as_str().unwrap(), &images, &source["kustomize"]["patches"]).await;
    assert_installs(&objects, ("argocd.argoproj.io/sync-options", "Prune=false,Delete=false"));
    let namespace = spec["destination"]["namespace"].as_str();
    assert!(
        objects.iter().any(|object| object["kind"] == "Namespace" && object["metadata"]["name"].as_str() == namespace)
    );
}
