//! What was generated stands in its Secret alone: nowhere in what the operator has said, nor in what else it has written.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::ListParams;

use crate::world::World;

/// `said` by the process, each with where.
pub(super) async fn no_secret_is_told(world: &World, said: &[(&str, &str)]) {
    let written = world.kubectl(&["get", "cati,events,configmaps,deployments,pods", "-o", "json"]).await;
    let secrets = world.api::<Secret>().list(&ListParams::default()).await.unwrap().items;
    let mut looked_for = BTreeSet::new();
    for (entry, ByteString(value)) in secrets.into_iter().flat_map(|secret| secret.data.unwrap_or_default()) {
        let text = String::from_utf8(value).unwrap();
        if entry == "id_ed25519.pub" {
            // The public half is told, so that people can authorise it.
            let key = text.split_whitespace().nth(1).unwrap();
            assert!(written.contains(key), "what is told is not seen here: {key}");
            continue;
        }
        looked_for.insert((entry.clone(), BASE64_STANDARD.encode(&text)));
        if entry == "id_ed25519" {
            // Of a key its whole lines: in the first all keys are alike, the last is little more than the comment.
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("-----")).collect();
            let body = &lines[1..lines.len() - 1];
            looked_for.extend(body.iter().map(|line| (entry.clone(), (*line).to_owned())));
        } else {
            looked_for.insert((entry, text));
        }
    }
    let kinds: BTreeSet<&str> = looked_for.iter().map(|(entry, _)| entry.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["CATALYST_SECRET", "COOKIE_SECRET", "id_ed25519"]));
    for (place, text) in said.iter().chain(&[("an object", written.as_str())]) {
        for (entry, value) in &looked_for {
            assert!(value.len() >= 16 && !text.contains(value), "{entry} is in {place}");
        }
    }
}
