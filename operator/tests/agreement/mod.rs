//! Specs that are bent at random, as the API server judges them by schema and rules, and as the operator does: what one refuses
//! the other refuses, so that nobody is told at the door what is not so, nor afterwards what the door could have told.
//! `RANDOM_SPECS` has it try more of them.

use catalyst_operator::{crd::CatalystInstance, offline};
use futures::{StreamExt, stream};
use kube::{Api, Client, api::ApiResource, api::DynamicObject, api::Patch};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{dry_run, install, shapes};
use catalyst_lab::{ControlPlane, ControlPlaneOptions};

const SPECS: usize = 300;

/// What only code can see, by the beginning of the field that is told: rules are not written for the keys of maps, do not compare
/// amounts and ranges, and do not read keys.
const CODE_ALONE: [&str; 12] = [
    "podLabels",
    "podAnnotations",
    "nodeSelector",
    "service.annotations",
    "ingress.annotations",
    "networkPolicy.ingressPodLabels",
    "networkPolicy.sshEgressCidr",
    "topologySpreadConstraints",
    "resources",
    "extraEnv",
    "ssh.keyPath",
    "ssh.knownHosts",
];

/// Who refuses a spec, and with which words; empty: it is taken.
struct Judged {
    spec: Value,
    /// The API server: schema and rules.
    door: String,
    /// The rules as the operator's binary judges them without a cluster.
    offline: String,
    /// Validation alone, of what the API server stores, or would have under another schema: field and words.
    code: Vec<(String, String)>,
}

impl Judged {
    fn line(&self) -> String {
        let Judged { spec, door, offline, code } = self;
        let short = |text: &str| text.chars().take(300).collect::<String>();
        format!("door: {}; offline: {}; code: {}; {spec}", short(door), short(offline), short(&format!("{code:?}")))
    }
}

fn code(document: Value) -> Vec<(String, String)> {
    match serde_json::from_value::<CatalystInstance>(document) {
        Err(error) => vec![(String::new(), error.to_string())],
        Ok(instance) => {
            let found = offline::acceptable(&instance).err().unwrap_or_default();
            found.into_iter().map(|(field, words)| (field.unwrap_or_default(), words)).collect()
        }
    }
}

async fn judged(client: Client, spec: Value) -> Judged {
    let document = json!({"apiVersion": "catalyst.dev/v1alpha1", "kind": "CatalystInstance",
        "metadata": {"name": "x", "namespace": "default"}, "spec": spec});
    let api: Api<DynamicObject> = Api::namespaced_with(client, "default", &ApiResource::erase::<CatalystInstance>(&()));
    let (door, stored) = match api.patch("x", &dry_run(), &Patch::Apply(&document)).await {
        Ok(stored) => (String::new(), serde_json::to_value(stored).unwrap()),
        Err(error) => (error.to_string(), document.clone()),
    };
    let look = move || {
        let offline = offline::check(document).err().map(|found| format!("{found:?}"));
        (offline.unwrap_or_default(), code(stored))
    };
    let (offline, code) = tokio::task::spawn_blocking(look).await.unwrap();
    Judged { spec, door, offline, code }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses_of_random_specs_is_what_the_operator_refuses() {
    let plane = ControlPlane::start(ControlPlaneOptions { controllers: false, ..Default::default() }).await.unwrap();
    let client = plane.client().await.unwrap();
    install(&client).await;
    let count = std::env::var("RANDOM_SPECS").map_or(SPECS, |count| count.parse().unwrap());
    let mut random = StdRng::seed_from_u64(23);
    let specs: Vec<Value> = (0..count)
        .map(|number| {
            let spec = shapes::valid(&mut random, number);
            shapes::bent(&mut random, spec)
        })
        .collect();
    let judge = |spec| judged(client.clone(), spec);
    let all: Vec<Judged> = stream::iter(specs).map(judge).buffer_unordered(16).collect().await;

    let refused = all.iter().filter(|one| !one.door.is_empty()).count();
    assert!(refused > count / 4 && refused < count * 9 / 10, "{refused} of {count} are refused");
    let of = |which: fn(&Judged) -> bool| all.iter().filter(|one| which(one)).map(Judged::line).collect::<Vec<_>>();
    // What neither the schema nor the rules refuse must not be called wrong by those who only read them again.
    let by_rules_offline = of(|one| one.door.is_empty() && !one.offline.is_empty());
    let by_code_alone = of(|one| {
        let known = |field: &str| CODE_ALONE.iter().any(|known| field.starts_with(known));
        one.door.is_empty() && !one.code.iter().all(|(field, _)| known(field))
    });
    // An instance may have come in under an older schema: fields that there are not are dropped then, and one that is an object
    // never was an empty list, which is read as one without fields.
    let by_the_door_alone = of(|one| {
        let told = |words: &str| one.door.contains(words);
        !one.door.is_empty()
            && one.code.is_empty()
            && !told("not declared in schema")
            && !told("expected map, got &{[]}")
    });
    assert!(
        by_rules_offline.is_empty() && by_code_alone.is_empty() && by_the_door_alone.is_empty(),
        "taken by the API server, refused by render: {by_rules_offline:#?}\n taken by the API server, refused by the operator: \
         {by_code_alone:#?}\nrefused by the API server, taken by the operator: {by_the_door_alone:#?}"
    );
}
