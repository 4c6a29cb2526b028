//! Replacing the generated SSH key on request: carried out when the VM accepts the new one, or refused in words.

mod secrets;

use catalyst_operator::crd::{CatalystInstance, CatalystInstanceStatus};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::{Value, json};

use crate::world::{
    World, until,
    vm::{at, authorize, pods_become_ready, sshd},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ssh_key_takes_the_old_ones_place_only_when_the_vm_accepts_it() {
    let sshd = sshd().await;
    let world = World::with_operator("rotation").await;
    world.apply("x", at(&sshd)).await;
    authorize(&sshd, &world.reason("x", "SSHAuthRejected").await);
    pods_become_ready(&world).await;
    let before = world.reason("x", "Available").await.status.unwrap();
    let secret = async |name: &str| world.api::<Secret>().get_opt(name).await;
    let old = secret("x-ssh-key").await.unwrap().unwrap().data;

    let ask = |value: Value| json!({"metadata": {"annotations": {"catalyst.dev/rotate-ssh-key": value}}});
    let status = || async { world.api::<CatalystInstance>().get("x").await.unwrap().status.unwrap() };
    world.edit::<CatalystInstance>("x", ask(json!("1"))).await;
    let next = until("the next line", || async { status().await.next_authorized_keys_line }).await;
    assert!(
        next.starts_with("restrict,pty ssh-ed25519 ") && Some(&next) != before.authorized_keys_line.as_ref(),
        "{next}"
    );
    assert!(world.events("SSHKeyPrepared").await[0].contains(&next));
    assert_eq!(secret("x-ssh-key").await.unwrap().unwrap().data, old, "replaced before the VM accepts the new key");
    let writes = world.writes().len();
    assert!(world.writes()[writes - 3..].iter().all(|write| !write.starts_with("delete")));

    let path = sshd.authorized_keys_path();
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{lines}{next}\n")).unwrap();
    let after = until("the new key is in use", || async {
        let now = status().await;
        (now.authorized_keys_line.as_ref() == Some(&next) && now.ssh_key_rotation.as_deref() == Some("1"))
            .then_some(now)
    })
    .await;
    assert_eq!((after.next_authorized_keys_line, after.last_rollout), (None, before.last_rollout));
    assert!(secret("x-ssh-key-next").await.unwrap().is_none());
    let new = secret("x-ssh-key").await.unwrap().unwrap().data;
    assert_ne!(new, old);
    // Their nodes mount it at once, and whoever takes the old line away is told to leave them the time.
    let pods = world.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
    assert!(pods.iter().all(|pod| pod.annotations().contains_key("catalyst.dev/ssh-key")), "the pods were not touched");
    until("the end is told", || async {
        world.events("SSHKeyRotated").await.iter().any(|note| note.contains("In two minutes")).then_some(())
    })
    .await;

    // Taken back, it leaves everything as it was.
    world.edit::<CatalystInstance>("x", ask(json!("2"))).await;
    world.exists::<Secret>("x-ssh-key-next").await;
    world.edit::<CatalystInstance>("x", ask(Value::Null)).await;
    until("the next key goes", || async { secret("x-ssh-key-next").await.unwrap().is_none().then_some(()) }).await;
    assert_eq!(secret("x-ssh-key").await.unwrap().unwrap().data, new);

    // Whoever dies after the old one was deleted has left the new one, and no third is made.
    world.edit::<CatalystInstance>("x", ask(json!("3"))).await;
    let third = world.exists::<Secret>("x-ssh-key-next").await.data;
    world.api::<Secret>().delete("x-ssh-key", &DeleteParams::default()).await.unwrap();
    let promoted = until("the key is there again", || async { secret("x-ssh-key").await.unwrap() }).await;
    assert_eq!(promoted.data, third);
    assert_eq!(promoted.owner_references().len(), 1);
}

const HOST_KEY: &str = "192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

/// Asks for a new key of the instance.
async fn request(world: &World, name: &str) {
    let annotations = json!({"metadata": {"annotations": {"catalyst.dev/rotate-ssh-key": "1"}}});
    world.edit::<CatalystInstance>(name, annotations).await;
}

/// Awaits that the request is refused in words with `word` in them; the status then.
async fn refused(world: &World, name: &str, word: &str) -> CatalystInstanceStatus {
    until("the refusal is told", || async {
        world.events("SSHKeyRotationRefused").await.iter().any(|note| note.contains(word)).then_some(())
    })
    .await;
    until("the request counts as answered", || async {
        let status = world.api::<CatalystInstance>().get(name).await.unwrap().status.unwrap();
        (status.ssh_key_rotation.as_deref() == Some("1")).then_some(status)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_could_end_is_refused_in_words_before_a_key_is_made() {
    let world = World::with_operator("unrotatable").await;
    let ssh = json!({"host": "192.0.2.1", "user": "dev", "knownHosts": HOST_KEY});
    let mut through = ssh.clone();
    through["jump"] = json!({"host": "192.0.2.2"});
    world.apply("jumping", json!({"ssh": through})).await;
    world.exists::<Secret>("jumping-ssh-key").await;
    request(&world, "jumping").await;
    let status = refused(&world, "jumping", "ssh.jump").await;
    assert_eq!(status.next_authorized_keys_line, None);
    assert_eq!(world.api::<Secret>().get_opt("jumping-ssh-key-next").await.unwrap(), None);
    assert!(!world.writes().iter().any(|write| write.ends_with("jumping-ssh-key-next")), "{:#?}", world.writes());

    let theirs: Secret = serde_json::from_value(json!({"metadata": {"name": "x-ssh-key-next"}})).unwrap();
    let theirs = world.api::<Secret>().create(&PostParams::default(), &theirs).await.unwrap();
    world.apply("x", json!({"ssh": ssh})).await;
    world.exists::<Secret>("x-ssh-key").await;
    request(&world, "x").await;
    refused(&world, "x", "Secret x-ssh-key-next, in which the new key would lie, was not made for this instance").await;
    assert_eq!(world.api::<Secret>().get("x-ssh-key-next").await.unwrap(), theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_a_persons_own_key_overtakes_leaves_no_key_behind() {
    let world = World::with_operator("overtaken").await;
    let mut spec = json!({"ssh": {"host": "192.0.2.1", "user": "dev", "knownHosts": HOST_KEY}});
    world.apply("x", spec.clone()).await;
    let generated: Secret = world.exists("x-ssh-key").await;
    request(&world, "x").await;
    world.exists::<Secret>("x-ssh-key-next").await;

    let metadata = kube::api::ObjectMeta { name: Some("mine".to_owned()), ..Default::default() };
    let mine = Secret { metadata, data: generated.data, ..Secret::default() };
    world.api::<Secret>().create(&PostParams::default(), &mine).await.unwrap();
    spec["ssh"]["existingKeySecret"] = json!("mine");
    world.apply("x", spec).await;
    let status = refused(&world, "x", "The key in Secret mine is yours to replace").await;
    assert_eq!(status.next_authorized_keys_line, None);
    assert!(world.api::<Secret>().get_opt("x-ssh-key-next").await.unwrap().is_none(), "nobody uses it any more");
    world.exists::<Secret>("mine").await;
}
